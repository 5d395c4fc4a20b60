"""The HTTP listener: sockets, connections, and what is decided before a request reaches the application."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import cast

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from wavelet import defects
from wavelet.config import Apply, Settings
from wavelet.errors import AccessRefused, InvalidRequest, TooLarge, WaitExpired, WaveletError
from wavelet.front.accept import Acceptor
from wavelet.front.connections import SILENT_LIMIT, WATCHERS, Connections
from wavelet.front.defects import defect
from wavelet.front.open_socket import open_plain, open_socket
from wavelet.front.stopping import wait_first
from wavelet.front.tls import Certificate, tls_context
from wavelet.host.descriptors import HTTP_PART, connections_for
from wavelet.host.peers import Peers
from wavelet.logs import Rarely

log = structlog.get_logger()

BODY_LIMIT = 32 * 1024 * 1024
"""Most bytes of a request's body; Nextflow sends up to some 20 MB. Larger ones are refused before they are read."""

HEADER_LIMIT = 64 * 1024
"""Bytes of one header or request line: tokens of clouds have many thousands."""

HEAD_LIMIT = 30.0
"""Seconds within which a request's head has to arrive once it has begun."""

KEEP_ALIVE = 300.0
"""Seconds for which a connection without a request is kept after one; clients keep theirs for 90 (Go) or 30 (Java)."""

LINGER = 5.0
"""Seconds for which the rest of a refused body is read and dropped, so that its sender gets to read the answer."""

BUSY_RETRY = 5.0
"""Seconds after which asking again makes sense where there are too many connections."""

LAST_WORDS = 0.5
"""Seconds that what is broken off has to end by itself."""

_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_UNREADABLE = Rarely("the owner of a connection cannot be looked up")
_TLS_HANDSHAKE = b"\x16"

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(web.RequestHandler):
    """A client's connection.

    Attributes:
        peer_uid: the local user at the other end, looked up when it was accepted; None: nobody in particular.
        refusal: why nobody on this connection is served: the kernel does not say who it is.
        is_spare: whether it came when all others were busy: it is for whoever watches the daemon.
    """

    __slots__ = (
        "_accepted",
        "_begun",
        "_connections",
        "_head_since",
        "_peers",
        "_quiet_since",
        "is_spare",
        "peer_uid",
        "refusal",
    )

    def __init__(self, server: web.Server, peers: Peers, connections: Connections, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        # No access log: aiohttp takes None for that, only its annotation does not.
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            lingering_time=LINGER,
            keepalive_timeout=KEEP_ALIVE,
        )
        self.peer_uid: int | None = None
        self.refusal: AccessRefused | None = None
        self.is_spare = False
        self._peers = peers
        self._connections = connections
        self._accepted = accepted
        self._begun = False
        self._quiet_since: float | None = time.monotonic()
        self._head_since: float | None = self._quiet_since

    @property
    def caller(self) -> Hashable:
        """Whose it is, for who has how many."""
        return self.peer_uid

    def quiet_since(self) -> float | None:
        """Return since when no request has been served; None while one is."""
        return self._quiet_since

    def is_overdue(self, now: float) -> bool:
        """Tell whether it is silent from the beginning, or has sent half a request, for too long."""
        limit = HEAD_LIMIT if self._begun else SILENT_LIMIT
        return self._quiet_since is not None and self._head_since is not None and now - self._head_since > limit

    def end(self, *, overdue: bool) -> None:
        """End it, with an answer where it is half a request that does not go on."""
        transport = self.transport
        if overdue and self._begun and transport is not None:
            transport.write(_TOO_LATE)
            self.force_close()
        elif transport is not None:
            self.force_close()
            transport.abort()
        else:  # a handshake of TLS goes on
            with contextlib.suppress(OSError):
                self._accepted.shutdown(socket.SHUT_RDWR)

    def began(self) -> None:
        """Note that a request is being served."""
        self._quiet_since = self._head_since = None

    def ended(self) -> None:
        """Note that it is answered."""
        self._quiet_since = time.monotonic()
        self._connections.note_quiet()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send what is left of an answer."""
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self.ended()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look up who connects."""
        try:
            self.peer_uid = self._peers.uid_of(transport)
        except AccessRefused as error:
            _UNREADABLE.warning(reason=error.message)
            self.refusal = error
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Make room for others."""
        self._connections.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in bytes; a TLS handshake where HTTP is spoken ends at once and unanswered.

        Engines try https first. No HTTP method begins with the byte that begins a TLS record.
        """
        if not self._begun and data:
            self._begun = True
            self._head_since = time.monotonic()
            if data.startswith(_TLS_HANDSHAKE):
                self.force_close()
                return
        elif self._head_since is None and self._quiet_since is not None:
            self._head_since = time.monotonic()
        super().data_received(data)

    def log_exception(self, *args: object, **kw: object) -> None:
        """Log what aiohttp meets outside of a handler; what the peer has done has one line and no traceback."""
        raised = kw.get("exc_info")
        if isinstance(raised, web.RequestPayloadError | HttpProcessingError | ConnectionError):
            log.info("a request's body cannot be read", because=" ".join(str(raised).split()))
        else:
            defects.defect("defect in a connection", said=str(args[0]) if args else "")

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer bytes that are not HTTP (status 400), or an exception that the application let through."""
        if status == 400:
            first = (message or str(exc)).strip().partition("\n")[0].rstrip(":")
            log.info("not an HTTP request", peer=request.remote, reason=ascii(first))
            return _answer(InvalidRequest(f"this is not a well-formed HTTP request: {first[:200]!a}"))
        if isinstance(exc, ConnectionError):
            raise exc  # the client has gone, or was cut off because of the upstream: no defect, and nobody to answer
        answer = _answer(defect(cast(web.Request, request)))
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun and cannot be another one now")
        return answer


@dataclass(slots=True)
class Listening:
    """Open doors.

    Attributes:
        address: host and port of the plain listener, the real port where 0 was asked for.
        tls_address: the same of the TLS listener, if there is one.
        grace_period: seconds that `close` waits for running requests.
    """

    address: tuple[str, int]
    tls_address: tuple[str, int] | None
    grace_period: float
    _runner: web.AppRunner
    _acceptors: tuple[Acceptor, ...]
    _connections: Connections
    _peers: Peers
    _certificate: Certificate | None

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: the certificate for new connections, and how long a stop waits.

        Raises:
            ConfigError: the certificate cannot be used.
        """
        context = None if settings.tls is None else tls_context(settings.tls)

        def apply() -> None:
            self.grace_period = settings.grace_period
            if self._certificate is not None and context is not None:
                self._certificate.context = context

        return apply

    async def close(self, hurry: asyncio.Event | None = None) -> None:
        """Accept no more, wait for running requests (at most the grace period), and end the application.

        `hurry` says that the rest of the grace period is not to be waited for.
        """
        hurry = hurry or asyncio.Event()
        for acceptor in self._acceptors:
            await acceptor.close()
        server = _server_of(self._runner)
        server.pre_shutdown()
        await wait_first(self._connections.wait_until_quiet(), hurry.wait(), seconds=self.grace_period)
        self._connections.close()
        # aiohttp would wait for handlers whose client has gone, too.
        await server.shutdown(LAST_WORDS)
        await self._runner.cleanup()
        self._peers.close()


async def listen(app: web.Application, settings: Settings, plain: socket.socket | None = None) -> Listening:
    """Start the application and open its listeners; `plain` is one that `open_plain` has opened.

    Raises:
        ConfigError: an address is in use (its owner is named) or not this machine's, or the certificate cannot be used.
    """
    certificate = None if settings.tls is None else Certificate(await asyncio.to_thread(tls_context, settings.tls))
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(plain or await open_plain(settings))]
        if settings.tls is not None:
            sockets.append(opened.enter_context(await open_socket(settings.tls.listen, "tls.listen")))
        runner = await _start(app)
        opened.pop_all()
    # AppRunner's sites make connections of aiohttp's own class. What accepts connections needs a protocol and nothing
    # of aiohttp's insides, so the sockets are served from here; the runner's server still knows every connection (each
    # reports to it) and ends them. The handler is wrapped there and not by a middleware, because aiohttp answers
    # `Expect: 100-continue` before middlewares run.
    server = _server_of(runner)
    server.request_handler = _refuse_early(server.request_handler)
    peers = Peers()
    connections = Connections("HTTP", connections_for(HTTP_PART))
    addresses = [each.getsockname()[:2] for each in sockets]
    acceptors = [
        Acceptor(each, _taker(server, peers, connections, secure), connections, "HTTP")
        for each, secure in zip(sockets, (None, certificate.door if certificate else None), strict=False)
    ]
    tls_address = addresses[1] if certificate else None
    return Listening(
        addresses[0], tls_address, settings.grace_period, runner, tuple(acceptors), connections, peers, certificate
    )


def _taker(
    server: web.Server, peers: Peers, connections: Connections, secure: ssl.SSLContext | None
) -> Callable[[socket.socket], Coroutine[object, None, None]]:
    """Return what makes a connection of an accepted socket."""
    loop = asyncio.get_running_loop()
    limits = {} if secure is None else {"ssl_handshake_timeout": SILENT_LIMIT}

    async def take(accepted: socket.socket) -> None:
        connection = Connection(server, peers, connections, accepted)
        connection.is_spare = not connections.add(connection)
        try:
            await loop.connect_accepted_socket(lambda: connection, accepted, ssl=secure, **limits)
        except OSError:
            # It has gone before it began, or does not speak TLS as this one does.
            connections.remove(connection)
            accepted.close()

    return take


def _server_of(runner: web.AppRunner) -> web.Server:
    assert runner.server is not None, "it was set up"
    return runner.server


async def _start(app: web.Application) -> web.AppRunner:
    runner = web.AppRunner(app)
    try:
        await runner.setup()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


def _refuse_early(handler: _Handler) -> _Handler:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        if not isinstance(connection, Connection):
            return await decide(request)
        connection.began()
        if connection.is_spare and request.path not in WATCHERS:
            return _answer(WaitExpired("there are too many connections; ask again", retry_after=BUSY_RETRY))
        return await decide(request)

    async def decide(request: web.BaseRequest) -> web.StreamResponse:
        if (request.content_length or 0) > BODY_LIMIT and not _is_streamed(request):
            return _answer(
                TooLarge(f"a request's body has at most {BODY_LIMIT} bytes, this has {request.content_length}")
            )
        expected = request.headers.get(hdrs.EXPECT)
        if expected is not None and expected.lower() != "100-continue":
            return _answer(InvalidRequest(f"Expect: {expected[:40]!a} is unknown; leave it out, or send 100-continue"))
        return await handler(request)

    return handle


def _is_streamed(request: web.BaseRequest) -> bool:
    """Tell whether a body is taken as it comes, whatever its size: that of an upload to the registry."""
    return request.path.startswith("/v2/") and "/blobs/uploads" in request.path


def _answer(error: WaveletError) -> web.Response:
    """Answer in a form that both doors' clients read: Wave's `message`, the distribution-spec's `errors`."""
    errors = [{"code": error.code, "message": error.message}]
    answer = web.json_response({"message": error.message, "errors": errors}, status=error.status)
    answer.force_close()
    return answer
