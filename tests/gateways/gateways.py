"""The table of cases through every gateway: `gateways.py BINARY [GATEWAY…] [--case TEXT]`.

Prints gateways × cases. Exit status 1 when a cell is not as it should be."""

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import signal
import sys
import time
import tomllib
import traceback
import uuid
from urllib.parse import unquote_to_bytes

from client import Load, message, once, once_http2, showing
from started import GATEWAYS, Gateway, is_installed
from world import HERE, ROOT, World

HOST = "shop.example"
# How long traffic goes on before and after what is done in its middle, answers.
AROUND = 200

# What targets are made up from; harmless ones too, so that some pass.
PIECES = [
    *["7", "a", "order", "x-y", "~", "%41", "%c3%a9", "a,b", "(c)", "@", ":", "'", "*", "+", "!"],
    *["/", "//", "/.", "/..", "/../", "/./", ".", "..", "...", "%2e", "%2E%2e", ".%2e/", "%00"],
    *["%2f", "%2F", "%5c", "\\", ";", ";a=b", "%3b", "%", "%25", "%252f", "%25252f", "%zz", "%u002f"],
    *["%20", "%09", "%0a", "%0d%0a", "%7f", "%80", "%ff", "%c0%af", "%e0%80%af", "%ef%bc%8f"],
    *["?", "?a=b", "&", "#", "%23", "%3f", "|", "^", "`", "<", '"', "{", "}", "[", "]"],
]
class Failed(Exception):
    """A step did not end as the table says."""


class Run:
    """One gateway before one world."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.gateway = Gateway(world, name)
        # Its name in `[gateway.callers]` is that of its key.
        self.key = world.key(self.gateway.key_name, "gateway")

    def do(self, what):
        if what == "gateway with-a-wrong-key":
            self.gateway.stop()
            self.gateway.start("sk_" + "0" * 16 + "." + "0" * 43)
        elif what == "gateway with-a-broken-script":
            self.gateway.stop()
            self.gateway.break_scripts()
            self.gateway.start(self.key)
        elif what == "gateway with-certificates":
            self.gateway.stop()
            self.gateway.secure()
            self.gateway.start(self.key)
        elif what == "gateway whole":
            self.gateway.stop()
            self.gateway.copy()
            self.gateway.start(self.key)
        else:
            self.world.do(what)

    def lines(self, step, case_id):
        lines = [f"X-Case: {case_id}", *step.get("headers", [])]
        lines += [f"{name}: root" for name in reserved(step.get("reserved", []))]
        lines += [f"{name}: root" for name in of_the_way(step.get("way", []))]
        lines += [f"X-More-{number}: more" for number in range(step.get("more", 0))]
        if "long" in step:
            lines.append(f"Ssl-Client-{'a' * step['long']}: x")
        if "answers" in step:
            lines.append(f"X-Answers: {step['answers']}")
        if "as" in step:
            lines.append(self.world.credential(step["as"]))
        if "proof" in step:
            lines.append(f"DPoP: {self.world.proof(step['proof'])}")
        return lines

    async def step(self, step):
        """Does one step and holds it against the table."""
        if "do" in step:
            await asyncio.to_thread(self.do, step["do"])
            return
        if "log" in step:
            await self.logged(step["log"])
            return
        step = {**step, **step.get("on", {}).get(self.name, {})}
        if "made-up" in step:
            await self.made_up(step)
            return
        lines = step.get("each") or [step["send"]]
        hosts = step.get("hosts") or [step.get("host", HOST)]
        for line, host in itertools.product(lines, hosts):
            try:
                await self.request(step, *line.split(" ", 1), host)
            except Failed as why:
                raise Failed(f"{line} at {host}: {why}") from None

    async def request(self, step, method, target, host):
        """Sends one, or what the step has of its kind."""
        case_id = uuid.uuid4().hex
        body = step.get("body", "")
        body = b"w" * body if isinstance(body, int) else body.encode()
        raw = message(method, target, host, self.lines(step, case_id), body)
        if "load" in step:
            await self.load(step, raw)
            return
        if "during" in step:
            await self.during(step, raw)
            return
        if step.get("http2"):
            lines = self.lines(step, case_id)
            answer = await once_http2(self.gateway.port, method, target, host, lines, body)
        else:
            seconds = step.get("seconds", 20)
            tls = None
            if self.gateway.is_secure:
                chain = [ROOT / "tests/certificates" / name for name in step.get("shows", [])]
                tls = showing(chain)
            answer = await once(self.gateway.port, raw, method, seconds, tls)
            if not answer.status and step.get("again"):
                case_id = uuid.uuid4().hex
                raw = message(method, target, host, self.lines(step, case_id), body)
                answer = await once(self.gateway.port, raw, method, seconds, tls)
        seen = await asyncio.to_thread(self.world.times_seen, case_id)
        check(step, answer, seen)
        if "never" in step and self.world.times_seen(step["never"]):
            raise Failed(f"the app saw {step['never']}")
        if "keeps" in step:
            self.world.keep(step["keeps"], answer.header("set-cookie"))

    async def logged(self, pattern):
        """What was decided is in the gateway's own log."""
        end = time.monotonic() + 15
        while not re.search(pattern, self.gateway.process.log.read_text()):
            if time.monotonic() > end:
                raise Failed(f"its log has no {pattern!r}")
            await asyncio.sleep(0.1)

    async def made_up(self, step):
        """Targets from nasty pieces, the same in each run. What the app sees has one reading, and
        is what was sent: no gateway may have the engine decide about another path than it serves."""
        chance = random.Random(8)
        passed, case_id = 0, uuid.uuid4().hex
        for _ in range(step["made-up"]):
            pieces = chance.choices(PIECES, k=chance.randint(1, 5))
            target = "/items/" + "".join(pieces)
            raw = message("GET", target, HOST, self.lines(step, case_id))
            answer = await once(self.gateway.port, raw)
            if answer.status == 200:
                passed += 1
                seen = json.loads(answer.body)["target"]
                if unquote_to_bytes(seen) != unquote_to_bytes(target) or not has_one_reading(seen):
                    raise Failed(f"{target} reached the app as {seen}")
            elif answer.status not in (400, 403, 404):
                raise Failed(f"{target}: {answer.status}")
        seen = await asyncio.to_thread(self.world.times_seen, case_id)
        if seen != passed:
            raise Failed(f"{passed} passed, the app saw {seen}")
        if not passed:
            raise Failed("nothing passed: the pieces are all nasty")
        self.told = f"{passed} of {step['made-up']}"

    async def load(self, step, raw):
        """So many requests over connections that stay open."""
        load = Load(self.gateway.port, raw)
        began = time.monotonic()
        await load.run(8, step["load"])
        self.told = f"{len(load.statuses) / (time.monotonic() - began):,.0f}/s"
        only(load.statuses, step["status"])
        # nginx hangs up after what it takes for an error.
        if step["status"] == 200 and load.connects > 8 + step["load"] // 100:
            raise Failed(f"{load.connects} connections: they are not kept open")

    async def during(self, step, raw):
        """Something happens in the middle of traffic."""
        until = step["during"]["until"]
        load = Load(self.gateway.port, raw)
        traffic = asyncio.create_task(load.run(8))
        try:
            await answers(load, AROUND)
            before = self.app_key(load) if isinstance(until, str) else None
            await asyncio.to_thread(self.do, step["during"]["do"])
            end = time.monotonic() + 15
            while True:
                if isinstance(until, str):
                    is_there = self.app_key(load) != before
                else:
                    is_there = load.statuses[-1] == until
                if is_there:
                    break
                if time.monotonic() > end:
                    raise Failed(f"not within 15 s: {until}; {counted(load.statuses)}")
                await asyncio.sleep(0.02)
            await answers(load, AROUND)
        finally:
            load.stopped = True
            await traffic
        only(load.statuses, step["status"])
        if not isinstance(until, str) and set(load.statuses[-50:]) != {until}:
            raise Failed(f"not {until} for good: {counted(load.statuses[-50:])}")

    def app_key(self, load):
        """The key that signed the last token which the app got."""
        body = next((body for body in reversed(load.bodies) if body), b"{}")
        headers = {n.lower(): v for n, v in json.loads(body).get("headers", [])}
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if not token:
            raise Failed("the app got no token")
        return self.world.token_key(token)

    async def case(self, case):
        """The word for its cell."""
        if why := case.get("cannot", {}).get(self.name):
            return f"cannot: {why}"
        if self.name not in case.get("only", [self.name]):
            return "cannot: it has none"
        self.told = None
        for number, step in enumerate(case["steps"], 1):
            if self.name in step.get("cannot", {}) or self.name not in step.get("only", [self.name]):
                continue
            try:
                await self.step(step)
            except Failed as why:
                return f"FAILED: step {number}: {why}"
            except Exception as error:
                traceback.print_exc()
                return f"FAILED: step {number}: {type(error).__name__}: {error}"
        if why := case.get("but", {}).get(self.name):
            return f"ok, but: {why}"
        return f"ok {self.told}" if self.told else "ok"


def check(step, answer, seen):
    """THE check: what the client got and what the app saw, against the table."""
    wanted = step["status"] if isinstance(step["status"], list) else [step["status"]]
    told = f"{answer.status} {answer.body[:200].decode(errors='replace')}"
    if answer.status not in wanted:
        raise Failed(f"wanted {step['status']}, got {told}")
    passes = answer.status in (101, 200, step.get("answers"))
    if seen != passes:
        raise Failed(f"got {told}; the app saw it {seen} times")
    for name, pattern in step.get("says", {}).items():
        matches(name, answer.header(name), pattern)
    if isinstance(step.get("body"), int) and answer.body.count(b"w" * step["body"]) != 1:
        raise Failed(f"the app got another body: {told}")
    if step.get("text", "") not in answer.body.decode(errors="replace"):
        raise Failed(f"no {step['text']!r} in {told}")
    if answer.status == 200 and ("app" in step or "reserved" in step or "way" in step):
        got = json.loads(answer.body)["headers"]
        nothing = {name: "" for name in reserved(step.get("reserved", []))}
        # Of these the gateway may set some itself.
        nothing |= {name: "(?!.*root).*" for name in of_the_way(step.get("way", []))}
        for name, pattern in {**nothing, **step.get("app", {})}.items():
            values = ", ".join(v for n, v in got if n.lower() == name.lower())
            matches(f"{name} at the app", values, pattern)


def reserved(examples):
    """What the engine knows for identity, from its source: each name, and for each beginning one of
    the examples at least."""
    if not examples:
        return []
    prefixes = known("PREFIXES")
    for prefix in prefixes:
        if not any(name.lower().startswith(prefix) for name in examples):
            raise Failed(f"the table has no example of {prefix}")
    return [*examples, *known("WELL_KNOWN")]


def of_the_way(examples):
    """What the engine knows for the way of a request, from its source, and these examples of what
    begins with `X-Original-`. `Host` is the request's own, and `Via` no proxy's alone."""
    if not examples:
        return []
    return [*examples, *(name for name in known("OF_THE_WAY") if name not in ("host", "via"))]


def known(name):
    """A list of names in the engine's source."""
    source = (ROOT / "engine/gateway/src/identity/names.rs").read_text()
    return re.findall('"(.+?)"', re.search(rf"{name}: .*?= \[(.*?)\]", source, re.S)[1])


def has_one_reading(target):
    """Whether every server finds the same item in it: one segment, decoded once, nothing hidden."""
    path = target.partition("?")[0]
    segments = path.removeprefix("/items/").removesuffix("/").split("/")
    try:
        item = unquote_to_bytes(segments[0]).decode()
    except UnicodeDecodeError:
        return False
    is_plain = item == item.strip() and item not in ("", ".", "..") and item.isprintable()
    is_hidden = re.search(r"[/\\;#\uff0f]|%[0-9A-Fa-f]{2}|%u", item)
    return len(segments) == 1 and is_plain and not is_hidden


def matches(name, value, pattern):
    if not re.fullmatch(pattern, value):
        raise Failed(f"{name} is {value!r}, wanted {pattern!r}")


def only(statuses, wanted):
    """Nothing but these statuses."""
    wanted = wanted if isinstance(wanted, list) else [wanted]
    if not set(statuses) <= set(wanted):
        raise Failed(f"wanted {wanted}, got {counted(statuses)}")


def counted(statuses):
    return {status: statuses.count(status) for status in sorted(set(statuses))}


async def answers(load, more):
    """Waits for so many more answers."""
    goal, end = len(load.statuses) + more, time.monotonic() + 30
    while len(load.statuses) < goal:
        if time.monotonic() > end:
            raise Failed(f"no {more} answers within 30 s: {counted(load.statuses)}")
        await asyncio.sleep(0.01)


def through(world, name, cases):
    """All cases through one gateway; the words for its column."""
    world.start_engine()
    world.opened.clear()
    run = Run(world, name)
    try:
        run.gateway.start(run.key)
        column = []
        for case in cases:
            began = time.monotonic()
            word = asyncio.run(run.case(case))
            column.append(word)
            print(f"{name}: {case['name']} ... {word} ({time.monotonic() - began:.1f} s)", flush=True)
            if word.startswith("FAILED"):
                # Whatever it left behind: the next case is not to suffer for it.
                world.mend()
        if any(word.startswith("FAILED") for word in column):
            print(f"--- {name} said:\n{run.gateway.process.log.read_text()[-2000:]}")
        return column
    finally:
        run.gateway.close()
        world.stop_engine()


def table(names, cases, cells):
    """Gateways × cases, for people."""
    width = max(len(case["name"]) for case in cases)
    widths = [max(len(w.split(":")[0]) for w in [name, *cells[name]]) for name in names]
    lines = [" | ".join([" " * width, *(n.ljust(w) for n, w in zip(names, widths))])]
    lines.append("-|-".join(["-" * width, *("-" * w for w in widths)]))
    for number, case in enumerate(cases):
        words = [cells[name][number] for name in names]
        words = [w.split(":")[0] for w in words]
        row = [case["name"].ljust(width), *(w.ljust(n) for w, n in zip(words, widths))]
        lines.append(" | ".join(row))
    for name in names:
        for case, word in zip(cases, cells[name]):
            if ":" in word:
                lines.append(f"{name}, {case['name']}: {word}")
    return "\n".join(lines)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("binary")
    arguments.add_argument("gateways", nargs="*", default=[])
    arguments.add_argument("--case", default="")
    asked = arguments.parse_args()
    with open(HERE / "cases.toml", "rb") as file:
        cases = [c for c in tomllib.load(file)["case"] if asked.case in c["name"]]
    names = asked.gateways or list(GATEWAYS)
    cells = {}
    # Ends as an error does, so that everything that was started is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    world = World(os.path.abspath(asked.binary))
    try:
        world.open()
        for name in names:
            if not is_installed(name):
                print(f"SKIPPED: {name}: its program is not installed", flush=True)
                word = "FAILED: not installed" if os.environ.get("CI") else "absent: not installed"
                cells[name] = [word] * len(cases)
                continue
            try:
                cells[name] = through(world, name, cases)
            except Exception as error:
                traceback.print_exc()
                cells[name] = [f"FAILED: {type(error).__name__}: {error}"] * len(cases)
    finally:
        world.close()
    print("\n" + table(names, cases, cells))
    words = [re.split("[:, ]", word)[0] for column in cells.values() for word in column]
    failed, skipped = words.count("FAILED"), words.count("absent") + words.count("cannot")
    print(f"\n{words.count('ok')} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
