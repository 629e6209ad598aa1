"""The app behind the gateways: answers with what it was sent, as JSON. `upstream.py PORT`.

`X-Answers: 404` is another status for it. `GET /-/seen/ID` tells whether a request with `X-Case: ID` has come, and how often: what a gateway
refused must not have been sent on as well.
"""

import asyncio
import base64
import collections
import hashlib
import json
import sys

seen = collections.Counter()


class Upstream(asyncio.Protocol):
    """One connection; HTTP/1.1 with `Content-Length` or chunks, kept open."""

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""

    def data_received(self, data):
        self.buffer += data
        while (used := self.one()) is not None:
            self.buffer = self.buffer[used:]

    def one(self):
        """Answers the first request in the buffer; how long it was, or None if it is not whole."""
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        line, *rest = self.buffer[:end].decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        headers = [[name, value.strip()] for name, _, value in (line.partition(":") for line in rest)]
        named = {name.lower(): value for name, value in headers}
        body, used, trailers = b"", end + 4, ""
        if named.get("transfer-encoding", "").lower() == "chunked":
            while True:
                line_end = self.buffer.find(b"\r\n", used)
                if line_end < 0:
                    return None
                size = int(self.buffer[used:line_end], 16)
                if size == 0:
                    break
                used = line_end + 2 + size + 2
                if len(self.buffer) < used:
                    return None
                body += self.buffer[line_end + 2 : used - 2]
            # What follows the last chunk, until an empty line.
            trailers_end = self.buffer.find(b"\r\n\r\n", line_end)
            if trailers_end < 0:
                return None
            trailers = self.buffer[line_end + 2 : trailers_end].decode("latin-1")
            used = trailers_end + 4
        else:
            length = int(named.get("content-length", "0"))
            body, used = self.buffer[used : used + length], used + length
            if len(self.buffer) < used:
                return None
        if target.startswith("/-/seen/"):
            told = {"times": seen[target.removeprefix("/-/seen/")]}
        else:
            seen[named.get("x-case")] += 1
            told = {
                "method": method,
                "target": target,
                "headers": headers,
                "body": body.decode("latin-1"),
                "trailers": trailers,
            }
        # Takes every upgrade, and says so: what comes after that, no gateway has asked about.
        if protocol := named.get("upgrade"):
            key = named.get("sec-websocket-key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            head = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            self.transport.write(head.encode())
            return used
        answer = json.dumps(told).encode()
        status = named.get("x-answers", "200")
        head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nX-App: shop\r\nCache-Control: public, max-age=60\r\nContent-Length: {len(answer)}\r\n\r\n"
        self.transport.write(head.encode() + (b"" if method == "HEAD" else answer))
        return used


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", int(sys.argv[1]))
    async with server:
        await server.serve_forever()


asyncio.run(main())
