"""Somebody else where the engine was: `impostor.py PORT MANNER`.

`says-yes` answers everything with a 200 that is no allow; `drips` begins the head of an answer, and
sends a bit more of it every half second, for ever.
"""

import asyncio
import sys


async def says_yes(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nX-Portreeve-Outcome: deny\r\nContent-Length: 0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def drips(reader, writer):
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            await asyncio.sleep(0.5)
            writer.write(b"X-Drop: a\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    manner = {"says-yes": says_yes, "drips": drips}[sys.argv[2]]
    server = await asyncio.start_server(manner, "127.0.0.1", int(sys.argv[1]))
    async with server:
        await server.serve_forever()


asyncio.run(main())
