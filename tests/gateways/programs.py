"""Programs that a run starts, and the ports that they get."""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path


def free_port():
    """A port that nobody listens on, and that no connection from here is given: out of that range
    one that waits for a listener can end up connected to itself."""
    for _ in range(100):
        port = random.randint(10_000, 30_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


def listens(port):
    """Whether somebody does."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(what, holds, seconds=20):
    """Waits for a condition; an error if it does not come about."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Process:
    """A program in the foreground, killed whatever happens. What it says is in a file."""

    def __init__(self, name, command, folder, env=None, logs=None):
        self.log = Path(logs or folder) / f"{name}.log"
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: nginx, HAProxy and Apache have children.
                start_new_session=True,
            )

    def wait_for(self, port):
        """Until it listens."""
        wait_until(f"{self.log.stem} listens", lambda: self.ended() or listens(port))
        if self.ended():
            raise RuntimeError(f"{self.log.stem} ended:\n{self.log.read_text()[-3000:]}")

    def ended(self):
        return self.child.poll() is not None

    def kill(self, how=signal.SIGKILL):
        """Ends it and its children."""
        try:
            os.killpg(self.child.pid, how)
            self.child.wait(timeout=20)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()
