"""The HTTP listener: sockets, connections, and what is decided before a request reaches the application."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import structlog
from aiohttp import hdrs, web

from wavelet.config import ConfigError, Settings, Tls, is_loopback, join_address, split_address
from wavelet.errors import AccessRefused, InvalidRequest, TooLarge, WaveletError
from wavelet.front.defects import defect
from wavelet.front.peers import Peers
from wavelet.front.port_owner import describe_owner

log = structlog.get_logger()

BODY_LIMIT = 32 * 1024 * 1024
"""Most bytes of a request's body; Nextflow sends up to some 20 MB. Larger ones are refused before they are read."""

HEADER_LIMIT = 64 * 1024
"""Bytes of one header or request line: tokens of clouds have many thousands."""

LINGER = 5.0
"""Seconds for which the rest of a refused body is read and dropped, so that its sender gets to read the answer."""

BACKLOG = 1024
"""Connections that wait to be accepted."""

_TLS_HANDSHAKE = b"\x16"
_PROTOCOL = "http/1.1"

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(web.RequestHandler):
    """A client's connection.

    Attributes:
        peer_uid: the local user at the other end, looked up when it was accepted; None: nobody in particular.
        refusal: why nobody on this connection is served: the kernel does not say who it is.
    """

    __slots__ = ("_begun", "_peers", "peer_uid", "refusal")

    def __init__(self, server: web.Server, peers: Peers) -> None:
        loop = asyncio.get_running_loop()
        # No access log: aiohttp takes None for that, only its annotation does not.
        super().__init__(
            server, loop=loop, access_log=None, lingering_time=LINGER,  # type: ignore[arg-type]
            max_line_size=HEADER_LIMIT, max_field_size=HEADER_LIMIT,
        )  # fmt: skip
        self.peer_uid: int | None = None
        self.refusal: AccessRefused | None = None
        self._peers = peers
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look up who connects."""
        try:
            self.peer_uid = self._peers.uid_of(transport)
        except AccessRefused as error:
            log.warning("the owner of a connection cannot be looked up", reason=error.message)
            self.refusal = error
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take in bytes; a TLS handshake where HTTP is spoken ends at once and unanswered.

        Engines try https first. No HTTP method begins with the byte that begins a TLS record.
        """
        if not self._begun and data:
            self._begun = True
            if data.startswith(_TLS_HANDSHAKE):
                self.force_close()
                return
        super().data_received(data)

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
        grace_period: seconds that `close` waits for running requests; may be set at any time.
    """

    address: tuple[str, int]
    tls_address: tuple[str, int] | None
    grace_period: float
    _runner: web.AppRunner
    _servers: tuple[asyncio.Server, ...]
    _peers: Peers
    _certificate: _Certificate | None

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Read the certificate that settings name, and return what makes them count for new connections. Blocking.

        Raises:
            ConfigError: the certificate cannot be used.
        """
        context = None if settings.tls is None else tls_context(settings.tls)

        def adopt() -> None:
            self.grace_period = settings.grace_period
            if self._certificate is not None and context is not None:
                self._certificate.context = context

        return adopt

    async def close(self) -> None:
        """Accept no more, wait for running requests (at most the grace period), and end the application."""
        for server in self._servers:
            server.close()
        connections = cast(web.Server, self._runner.server)
        connections.pre_shutdown()
        await connections.shutdown(self.grace_period)
        await self._runner.cleanup()
        self._peers.close()


async def open_plain(settings: Settings, handed: socket.socket | None = None) -> socket.socket:
    """Open the plain listener's socket, so that its port is known before anything is named after it.

    `handed` is one that a service manager has opened: its unit then decides on the address, and not the settings.

    Raises:
        ConfigError: the address is in use (its owner is named) or not this machine's, or one that other machines reach.
    """
    if handed is None:
        return await _open(settings.listen, "listen")
    address = join_address(*handed.getsockname()[:2])
    if not (is_loopback(address, "listen") or settings.allow_remote):
        raise ConfigError(
            f"listen: the service manager hands over a socket on {address}, which other machines reach; have it listen"
            " on a loopback address, or say `allow_remote: true`",
            field="listen",
        )
    if address != settings.listen:
        log.warning("the service manager decides where to listen", address=address, listen=settings.listen)
    return handed


async def listen(app: web.Application, settings: Settings, plain: socket.socket | None = None) -> Listening:
    """Start the application and open its listeners; `plain` is one that `open_plain` has opened.

    Raises:
        ConfigError: an address is in use (its owner is named) or not this machine's, or the certificate cannot be used.
    """
    certificate = None if settings.tls is None else _Certificate(await asyncio.to_thread(tls_context, settings.tls))
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(plain or await open_plain(settings))]
        if settings.tls is not None:
            sockets.append(opened.enter_context(await _open(settings.tls.listen, "tls.listen")))
        runner = await _start(app)
        opened.pop_all()
    # AppRunner's sites make connections of aiohttp's own class. What accepts connections needs a factory and nothing
    # of aiohttp's insides, so the sockets are served from here; the runner's server still knows every connection (each
    # reports to it) and ends them. The handler is wrapped there and not by a middleware, because aiohttp answers
    # `Expect: 100-continue` before middlewares run.
    server = cast(web.Server, runner.server)
    server.request_handler = _refuse_early(server.request_handler)
    peers = Peers()
    factory = functools.partial(Connection, server, peers)
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(factory, sock=each, ssl=secure, backlog=BACKLOG)
        for each, secure in zip(sockets, (None, certificate.door if certificate else None), strict=False)
    ]
    addresses = [each.getsockname()[:2] for each in sockets]
    tls_address = addresses[1] if certificate else None
    return Listening(addresses[0], tls_address, settings.grace_period, runner, tuple(servers), peers, certificate)


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
        if (request.content_length or 0) > BODY_LIMIT:
            return _answer(
                TooLarge(f"a request's body has at most {BODY_LIMIT} bytes, this has {request.content_length}")
            )
        expected = request.headers.get(hdrs.EXPECT)
        if expected is not None and expected.lower() != "100-continue":
            return _answer(InvalidRequest(f"Expect: {expected[:40]!a} is unknown; leave it out, or send 100-continue"))
        return await handler(request)

    return handle


def _answer(error: WaveletError) -> web.Response:
    """Answer in a form that both doors' clients read: Wave's `message`, the distribution-spec's `errors`."""
    errors = [{"code": error.code, "message": error.message}]
    answer = web.json_response({"message": error.message, "errors": errors}, status=error.status)
    answer.force_close()
    return answer


async def _open(address: str, key: str) -> socket.socket:
    host, port = split_address(address, key)
    try:
        return _listening_socket("127.0.0.1" if host == "localhost" else host, port)
    except OSError as error:
        raise ConfigError(await _why(error, address, port, key), field=key) from None


def _listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address; `::` serves IPv4 too."""
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if opened.family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        opened.bind((host, port))
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


async def _why(error: OSError, address: str, port: int, key: str) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            owner = await asyncio.to_thread(describe_owner, port)
            return f"{key}: {address} is in use by {owner}; stop it, or set `{key}` to another port"
        case errno.EADDRNOTAVAIL:
            return f"{key}: {address} is not an address of this machine"
        case errno.EACCES:
            return f"{key}: {address} is not open to this user; ports below 1024 are root's"
        case _:
            return f"{key}: cannot listen on {address}: {error.strerror}"


class _Certificate:
    """The certificate that new connections are shown. A server keeps its context, and that hands over to this one.

    Attributes:
        context: the certificate's; may be set at any time.
        door: the server's.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.door = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.door.set_alpn_protocols([_PROTOCOL])
        # Asked at each handshake, also where the client names no server.
        self.door.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str, _door: ssl.SSLContext) -> None:
        connection.context = self.context


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Read a listener's certificate and key. Blocking.

    Raises:
        ConfigError: they cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols([_PROTOCOL])
    try:
        # Without a password given, OpenSSL would ask the terminal for that of a key that has one.
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        message = (
            f"tls: {tls.certificate} with {tls.key} cannot be used: {reason}; both are PEM files, the key unencrypted"
        )
        raise ConfigError(message, field="tls") from None
    return context
