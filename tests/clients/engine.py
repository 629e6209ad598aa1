"""The real binary, started for the clients and stopped with them."""

import json
import os
import subprocess
import tempfile
import threading
from dataclasses import dataclass


@dataclass
class Client:
    """An API key as OAuth sees it."""

    id: str
    secret: str
    key: str


class Engine:
    """Serves the shipped policies on a free port, with data of its own."""

    def __init__(self, binary):
        self.binary = binary
        self.folder = tempfile.TemporaryDirectory()
        self.config = os.path.join(self.folder.name, "portreeve.toml")
        data = os.path.join(self.folder.name, "var")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(
                f'listen = "127.0.0.1:0"\ndata_dir = "{data}"\n[geo]\n'
                'city = "data/geo/demo.mmdb"\nasn = "data/geo/demo.mmdb"\n'
                'anonymous = "data/geo/demo.mmdb"\n'
            )

    def command(self, *args):
        """Runs a command beside the engine; what it printed, as JSON."""
        done = subprocess.run(
            [self.binary, "--config", self.config, "--json", *args],
            check=True,
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout)

    def client(self, name, role, *more):
        """Makes a key for a service of this name."""
        made = self.command("keys", "create", "--name", name, "--role", role, *more)
        secret = made["key"].split(".", 1)[1]
        return Client(made["key_id"], secret, made["key"])

    def __enter__(self):
        self.process = subprocess.Popen(
            [self.binary, "--config", self.config, "serve"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        log = []
        for line in self.process.stderr:
            log.append(line)
            if line.startswith("listening on http://"):
                self.issuer = line.split("listening on ", 1)[1].strip()
                break
        else:
            raise RuntimeError("the engine ended before it listened:\n" + "".join(log))
        # Somebody has to read on, or the engine would wait for room in the pipe.
        drain = threading.Thread(target=self.process.stderr.read, daemon=True)
        drain.start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=20)
        self.folder.cleanup()
