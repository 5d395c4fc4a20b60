"""A proxy that tunnels to one server, whatever host it is asked for, and notes what it was asked."""

from __future__ import annotations

import asyncio


class Tunnel:
    """The handler of its connections (`asyncio.start_server`); `asked` has the first line of each."""

    def __init__(self, host: str) -> None:
        self._port = int(host.rpartition(":")[2])
        self.asked: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).splitlines()[0])
        inner = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_pump(reader, inner[1]), _pump(inner[0], writer), return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
