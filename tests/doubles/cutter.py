"""A proxy that hands bytes on to one server, and breaks connections after so many bytes of what it is sent."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Cutter:
    """One proxy. `cuts` has after how many bytes of a connection the next ones are broken; it is used up."""

    def __init__(self, host: str, *cuts: int) -> None:
        self.cuts = list(cuts)
        self.host = ""
        self._port = int(host.rpartition(":")[2])
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.host = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection("127.0.0.1", self._port)
        both = (writer, inner[1])
        await asyncio.gather(
            self._hand_on(reader, inner[1], both), self._hand_on(inner[0], writer, ()), return_exceptions=True
        )

    async def _hand_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: tuple[asyncio.StreamWriter, ...]
    ) -> None:
        count = 0
        while data := await reader.read(65536):
            count += len(data)
            if cut and self.cuts and count > self.cuts[0]:
                del self.cuts[0]
                for each in cut:
                    each.transport.abort()
                return
            writer.write(data)
            await writer.drain()
        writer.close()
