"""A daemon's route of SIF files, with faults that a real one cannot be told to show: it breaks off, and says no.

It stands beside a `GrpcDaemon`, which says where it is. Where a real daemon will do, use that one.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from doubles.grpc_daemon import GrpcDaemon
from wavelet.v1.daemon_pb2 import StatusResponse

AUTHORITY = "127.0.0.1:9090"


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    path: str
    range: str | None
    if_range: str | None


@dataclass(frozen=True)
class Refusal:
    """An answer that is none."""

    status: int
    body: bytes
    retry_after: str = ""


@dataclass
class SifDoor:
    """The route. Used as a context.

    Attributes:
        files: what it has, by path.
        seen: what it was asked, in order.
        refusals: answered first, each once.
        cuts: after so many bytes of a body the connection ends, for one answer each.
        stalls: whether it sends no more after a cut, and keeps the connection.
        wrong: whether one byte of every body is another.
        digests: whether it says them.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    refusals: deque[Refusal] = field(default_factory=deque)
    cuts: deque[int] = field(default_factory=deque)
    stalls: bool = False
    wrong: bool = False
    digests: bool = True
    ended: threading.Event = field(default_factory=threading.Event, repr=False)

    def __enter__(self) -> Self:
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                door.seen.append(Seen(self.path, self.headers["Range"], self.headers["If-Range"]))
                if door.refusals:
                    self._refuse(door.refusals.popleft())
                elif self.path in door.files:
                    self._send(door.files[self.path])
                else:
                    self._refuse(Refusal(404, b'{"message": "no such image"}'))

            def _refuse(self, refusal: Refusal) -> None:
                self.send_response(refusal.status)
                if refusal.retry_after:
                    self.send_header("Retry-After", refusal.retry_after)
                self.end_headers()
                self.wfile.write(refusal.body)

            def _send(self, data: bytes) -> None:
                digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
                start, whole = 0, len(data)
                asked, condition = self.headers["Range"], self.headers["If-Range"]
                if asked and condition in (None, f'"{digest}"'):
                    start = int(asked.removeprefix("bytes=").removesuffix("-"))
                self.send_response(206 if start else 200)
                if door.digests:
                    self.send_header("ETag", f'"{digest}"')
                    self.send_header("Docker-Content-Digest", digest)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
                self.send_header("Content-Length", str(whole - start))
                self.end_headers()
                body = data[start:]
                if door.wrong:
                    body = body[:-1] + bytes([body[-1] ^ 1])
                whole = not door.cuts
                with contextlib.suppress(ConnectionError):  # whoever asked has gone
                    self.wfile.write(body if whole else body[: door.cuts.popleft()])
                if door.stalls and not whole:
                    door.ended.wait(20)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    def announce(self, daemon: GrpcDaemon) -> None:
        """Have a daemon say that its HTTP is here."""
        daemon.answers["Status"] = [[StatusResponse(address=self.address, authority=AUTHORITY)]]
