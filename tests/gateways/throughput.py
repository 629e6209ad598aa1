"""What the engine costs behind real gateways, by wrk: `run BINARY --throughput HTTP GRPC`, the ports
of a stub that always says yes. `cargo bench -p pdp --bench gateway` brings that stub."""

import re
import shutil
import subprocess
from types import SimpleNamespace

from started import Gateway, is_installed
from world import Process, World, free_port

# Quick, and the three ways to ask.
NAMES = ["nginx", "Envoy HTTP", "Envoy gRPC"]
CONNECTIONS = 16
WARM_SECONDS = 2

APP = """daemon off;
pid app.pid;
error_log stderr crit;
events {{}}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 100000000;
        return 200 ok;
    }}
}}
"""


def milliseconds(text):
    """wrk's own way to write a time."""
    number, unit = re.fullmatch(r"([0-9.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def wrk(port, header, seconds):
    """Requests a second, and p50 and p99 in milliseconds; an error if one was not let through."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    command += ["-H", "Host: shop.example", "-H", header, f"http://127.0.0.1:{port}/orders/7"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        raise RuntimeError(f"not all were let through:\n{told}")
    rate = float(re.search(r"Requests/sec:\s+([0-9.]+)", told)[1])
    p50, p99 = (milliseconds(re.search(rf"{p}%\s+(\S+)", told)[1]) for p in (50, 99))
    return rate, p50, p99


def behind(place, name, key, header, seconds):
    """A gateway with what answers it at `place`."""
    gateway = Gateway(place, name)
    try:
        gateway.start(key)
        wrk(gateway.port, header, WARM_SECONDS)
        return wrk(gateway.port, header, seconds)
    finally:
        gateway.close()


def measure(binary, http, grpc, seconds):
    """Prints the table."""
    for program in ("wrk", "nginx"):
        if shutil.which(program) is None:
            print(f"SKIPPED: throughput: {program} is not installed")
            return
    world = World(binary, {"PORTREEVE_SESSIONS__ROTATE_HANDLE_EVERY": "1h"})
    app = None
    try:
        # Instead of the one that says what it saw: quick enough not to be what is measured.
        world.app.kill()
        folder = world.folder / "app"
        folder.mkdir()
        world.folder.chmod(0o755)
        world.app_port = free_port()
        (folder / "nginx.conf").write_text(APP.format(port=world.app_port))
        app = Process("app", ["nginx", "-p", ".", "-c", "nginx.conf"], folder)
        app.wait_for(world.app_port)
        world.start_engine()
        header = world.credential("alice")
        stub = SimpleNamespace(port=http, grpc_port=grpc, app_port=world.app_port)
        print(f"{CONNECTIONS} connections, {seconds} s each, all on this machine\n")
        print("gateway    | answers by | req/s   | p50 ms | p99 ms | of the stub's")
        print("-----------|------------|---------|--------|--------|--------------")
        for name in NAMES:
            if not is_installed(name):
                print(f"{name.ljust(10)} | SKIPPED: it is not installed")
                continue
            key = world.key(name.lower().replace(" ", "-"), "gateway")
            of_stub = behind(stub, name, key, header, seconds)
            of_engine = behind(world, name, key, header, seconds)
            for who, (rate, p50, p99) in (("stub", of_stub), ("engine", of_engine)):
                ratio = f"{rate / of_stub[0]:.0%}, +{p50 - of_stub[1]:.2f} and +{p99 - of_stub[2]:.2f} ms"
                ratio = ratio if who == "engine" else ""
                line = f"{name.ljust(10)} | {who.ljust(10)} | {rate:7,.0f} | {p50:6.2f} | {p99:6.2f} | {ratio}"
                print(line.rstrip(), flush=True)
    finally:
        if app:
            app.kill()
        world.close()
