"""An engine decides, the power goes, and what was answered has to be on record: `power_cut.py
BINARY DISK MOUNTED`, as `run` calls it."""

import fcntl
import http.client
import json
import os
import random
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

BINARY, DISK, MOUNTED = sys.argv[1:]
ROUNDS = 3
CLIENTS = 12
# EXT4_IOC_SHUTDOWN, and its flag to write nothing more, the file system's own journal included.
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2

LISTENING = "listening on http://"

DATA = Path(MOUNTED) / "var"
FILLER = Path(MOUNTED) / "filler"
QUESTION = {
    "subject": {"type": "User", "id": "alice"},
    "action": {"name": "read"},
    "resource": {"type": "Document", "id": "handbook"},
}


def portreeve(*words):
    """A command of the binary about this disk."""
    environment = dict(os.environ, PORTREEVE_DATA_DIR=str(DATA), PORTREEVE_LISTEN="127.0.0.1:0")
    return [BINARY, *words], environment


def told(*words):
    """What such a command says."""
    command, environment = portreeve(*words, "--json")
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    try:
        return json.loads(ran.stdout)
    except ValueError:
        sys.exit(f"{' '.join(words)}: {ran.stderr or ran.stdout}")


class Engine:
    """One that runs, its log beside the disk."""

    running = None

    def __init__(self):
        self.log = Path(DISK).with_name("log")
        command, environment = portreeve("serve")
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        Engine.running = self.process
        for _ in range(300):
            for line in self.told().splitlines():
                if line.startswith(LISTENING):
                    self.address = line.removeprefix(LISTENING)
                    return
            time.sleep(0.1)
        sys.exit(f"it does not start: {self.told()}")

    def connect(self):
        return http.client.HTTPConnection(self.address, timeout=5)

    def told(self):
        return self.log.read_text(encoding="utf-8")

    def end(self, how):
        getattr(self.process, how)()
        self.process.wait()


class Load:
    """Clients that ask until nobody answers, and what they were answered."""

    def __init__(self, engine, headers):
        self.engine, self.headers, self.answered, self.last = engine, headers, [], None
        self.threads = [threading.Thread(target=self.ask) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def ask(self):
        connection, body = self.engine.connect(), json.dumps(QUESTION)
        try:
            while True:
                connection.request("POST", "/access/v1/evaluation", body, self.headers)
                answer = connection.getresponse()
                decided = json.loads(answer.read())
                if answer.status == 200:
                    self.answered.append(decided["context"]["decision_id"])
                else:
                    self.last = answer.status, decided
        except (OSError, ValueError, http.client.HTTPException):
            return

    def ends(self):
        for thread in self.threads:
            thread.join()


def cut_the_power():
    handle = os.open(MOUNTED, os.O_RDONLY)
    fcntl.ioctl(handle, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    os.close(handle)


def fill_the_disk():
    """Until nothing more fits on it, for a moment."""
    with FILLER.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 10):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    time.sleep(0.5)
    FILLER.unlink()


def comes_back():
    subprocess.run(["umount", MOUNTED], check=True)
    subprocess.run(["mount", "-o", "loop", DISK, MOUNTED], check=True)
    # Its removal may not have been on the disk either.
    FILLER.unlink(missing_ok=True)


def on_record():
    for segment in sorted((DATA / "journal").glob("*.log")):
        for line in segment.read_text(encoding="utf-8").splitlines()[1:]:
            yield json.loads(line.split(" ", 2)[2]).get("decision_id")


def main():
    key = told("keys", "create", "--name", "power-cut", "--role", "admin")["key"]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    answered, put_back = set(), 0
    for number in range(1, ROUNDS + 1):
        engine = Engine()
        load = Load(engine, headers)
        time.sleep(1 + random.random())
        if number == ROUNDS:
            fill_the_disk()
            full = len(load.answered)
            assert load.last and load.last[0] == 503, f"a full disk refuses nothing: {load.last}"
            for _ in range(100):
                if len(load.answered) > full + 100:
                    break
                time.sleep(0.1)
            else:
                sys.exit(f"it does not go on after the disk was full: {load.last}")
        cut_the_power()
        # Nothing can be answered any more but what is durable.
        time.sleep(0.2)
        engine.end("kill")
        load.ends()
        answered.update(load.answered)
        comes_back()
        report = told("audit", "verify")
        assert report["ok"], f"before a start: {report}"
        put_back += report["ahead_bytes"]

        engine = Engine()
        connection = engine.connect()
        for decision in load.answered[-20:]:
            for _ in range(100):
                connection.request("GET", f"/v1/decisions/{decision}", headers=headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    break
                time.sleep(0.1)
            assert answer.status == 200, f"{decision}: {answer.status}\n{engine.told()}"
        engine.end("terminate")
        assert told("audit", "verify")["ok"], "after a start"
        lost = answered.difference(on_record())
        assert not lost, f"{len(lost)} of {len(answered)} answered decisions are lost"
        print(f"power cut {number}: {len(load.answered)} decisions answered, none lost")
    # Otherwise the file system had written all by itself, and nothing was shown.
    assert len(answered) > 100 and put_back > 0, (len(answered), put_back)
    print(f"power cuts: {len(answered)} decisions, {put_back} bytes put back, none lost")


try:
    main()
finally:
    # Otherwise the disk stays in use.
    if Engine.running:
        Engine.running.kill()
        Engine.running.wait()
