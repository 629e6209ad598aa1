"""An HTTP/1.1 client that sends exactly what it is told to: paths are not repaired."""

import asyncio
import socket
import ssl
import tempfile
import time
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError


@dataclass
class Answer:
    """What came back. `status` 0: the connection ended without an answer."""

    status: int = 0
    headers: list = field(default_factory=list)
    body: bytes = b""
    seconds: float = 0.0

    def header(self, name):
        """All values of a header, between commas."""
        return ", ".join(v for n, v in self.headers if n.lower() == name.lower())


def showing(certificates):
    """TLS with a gateway whose certificate does not matter, showing one of one's own: the files of
    a chain, the first beside its key; or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificates:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as chain:
            chain.write("".join(path.read_text() for path in certificates))
            chain.flush()
            context.load_cert_chain(chain.name, certificates[0].with_suffix(".key"))
    return context


def message(method, target, host, headers, body=b""):
    """The bytes of a request."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def parse_head(head):
    """Status and headers."""
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = [(n, v.strip()) for n, _, v in (line.partition(":") for line in rest)]
    return int(line.split(" ")[1]), headers


async def read(reader, method):
    """One answer, or None."""
    try:
        status, headers = parse_head((await reader.readuntil(b"\r\n\r\n"))[:-4])
        answer = Answer(status, headers)
        if method == "HEAD" or status in (101, 204, 304):
            return answer
        if answer.header("transfer-encoding").lower() == "chunked":
            while size := int((await reader.readline()).strip(), 16):
                answer.body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        elif length := answer.header("content-length"):
            answer.body = await reader.readexactly(int(length))
        else:
            answer.body = await reader.read()
        return answer
    except (asyncio.IncompleteReadError, ConnectionError, ValueError, IndexError):
        return None


async def once(port, raw, method="GET", seconds=60, tls=None):
    """Sends bytes over a connection of their own."""
    began = time.monotonic()
    writer = None
    try:
        name = "shop.example" if tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname=name
        )
        writer.write(raw)
        answer = await asyncio.wait_for(read(reader, method), seconds) or Answer()
    except (TimeoutError, ConnectionError, ssl.SSLError):
        answer = Answer()
    finally:
        if writer:
            writer.close()
    answer.seconds = time.monotonic() - began
    return answer


async def once_http2(port, method, target, host, lines, body=b"", seconds=20):
    """One request over HTTP/2, by a connection of its own. Nothing is repaired here either."""
    loose = {"validate_outbound_headers": False, "normalize_outbound_headers": False}
    connection = H2Connection(H2Configuration(header_encoding="latin-1", **loose))
    connection.initiate_connection()
    pseudo = [(":method", method), (":scheme", "http"), (":authority", host), (":path", target)]
    headers = [(n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines)]
    connection.send_headers(1, pseudo + headers, end_stream=not body)
    if body:
        connection.send_data(1, body, end_stream=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = Answer()
    try:
        async with asyncio.timeout(seconds):
            ended = False
            while not ended:
                writer.write(connection.data_to_send())
                if not (data := await reader.read(65536)):
                    break
                for event in connection.receive_data(data):
                    if isinstance(event, ResponseReceived):
                        answer.headers = [(n, v) for n, v in event.headers if n != ":status"]
                        answer.status = int(dict(event.headers)[":status"])
                    elif isinstance(event, DataReceived):
                        answer.body += event.data
                    ended |= isinstance(event, (StreamEnded, StreamReset, ConnectionTerminated))
    except (TimeoutError, ConnectionError, ProtocolError):
        pass
    finally:
        writer.close()
    return answer


class Load:
    """Many requests over connections that stay open; tells each status, in order of the answers."""

    def __init__(self, port, raw):
        self.port, self.raw = port, raw
        self.statuses, self.bodies, self.connects = [], [], 0
        self.stopped = False

    async def run(self, connections, most=None):
        """Until `most` answers are there, or it is stopped."""
        self.left = most
        await asyncio.gather(*(self.connection() for _ in range(connections)))

    async def connection(self):
        reader = writer = None
        while not self.stopped and (self.left is None or self.left > 0):
            if self.left is not None:
                self.left -= 1
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connects += 1
            writer.write(self.raw)
            answer = await read(reader, "GET")
            self.statuses.append(answer.status if answer else 0)
            self.bodies.append(answer.body if answer else b"")
            if answer is None or answer.header("connection").lower() == "close":
                writer.close()
                writer = None
        if writer is not None:
            writer.close()
