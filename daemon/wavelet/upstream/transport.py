"""The transport to other servers: connections under an address policy, time limits, bodies, causes in plain words.

It sends one request and returns the answer, whatever its status. Logins are headers here; they never cross to another
origin. Netrc files are not read: what is sent without a login has to be anonymous.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import structlog
from prometheus_client import Counter
from yarl import URL

from wavelet import __version__
from wavelet.errors import InvalidRequest, Stopping, UpstreamBroken, UpstreamError, UpstreamUnreachable
from wavelet.upstream import endpoints
from wavelet.upstream.addresses import AddressError, AddressPolicy
from wavelet.upstream.file_ranges import STALL_TIMEOUT
from wavelet.upstream.request_body import WHOLE_ANSWER_TIMEOUT, Body, BodyPayload
from wavelet.upstream.retry import ConnectionBroke, is_passing
from wavelet.upstream.trust import trusting

HOST_LIMIT = 64
"""Hosts that are counted by name; the names come from requests, so those after are counted together as `other`."""

REQUESTS = Counter(
    "wavelet_upstream_requests_total",
    "Requests to registries and other servers",
    ("host", "kind", "outcome"),
)

_named: set[str] = set()


def count(host: str, kind: str, outcome: str) -> None:
    """Count one request: `kind` is what was asked for, `outcome` how it ended (`ok`, `refused`, `busy`...)."""
    REQUESTS.labels(label_of(host), kind, outcome).inc()


def label_of(host: str) -> str:
    """Return the label under which a host is counted."""
    if host not in _named:
        if len(_named) >= HOST_LIMIT:
            return "other"
        _named.add(host)
    return host


def outcome_of(status: int) -> str:
    """Name the outcome that an HTTP status stands for."""
    if status < 400:
        return "ok"
    return {401: "refused", 403: "refused", 404: "not_found", 408: "busy", 429: "busy"}.get(
        status, "busy" if status >= 500 else "broken"
    )


_LONGEST_EXCERPT = 200
_CONDA_TOKEN = re.compile(r"/t/[^/]+")


def server_of(url: URL) -> str:
    """Return host and port, the port only where it is not the scheme's own."""
    return url.host_port_subcomponent or ""


def shown(url: URL) -> str:
    """Return `url` as it may be shown: without query, fragment and login, and without a conda token in its path."""
    return _CONDA_TOKEN.sub("/t/…", str(url.with_user(None).with_query(None).with_fragment(None)))


def printable(text: str) -> str:
    """Return another server's words fit for a message: one line, no control characters, not long."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= _LONGEST_EXCERPT else words[: _LONGEST_EXCERPT - 1] + "…"


CONNECT_TIMEOUT = 10.0
"""Seconds for name, connection and TLS handshake together."""

FIRST_BYTE_TIMEOUT = 60.0
"""Seconds until an answer begins; proxies that fetch before they answer need long."""

READ_BUFFER = 1024 * 1024
"""Bytes of a body that wait to be taken before its connection is read no further."""

HEADER_LIMIT = 64 * 1024
"""Bytes of one header or status line: content security policies and signed addresses have many thousands."""

HEADERS_LIMIT = 256
"""Headers of one answer."""

REDIRECT_LIMIT = 10
"""Redirects that one request follows."""

PSEUDONYM = "wavelet"
"""The name in `Via` (RFC 9110, 7.6.3) of every request that is sent, by which a daemon knows one of wavelet's own."""

_KEEP_ALIVE = 30.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAFE = frozenset({"GET", "HEAD"})
_SAME_AGAIN = frozenset({307, 308})

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        kind: what is asked for, for metrics and logs.
        authorization: the `Authorization` header, sent to this URL's origin only.
        tls: the context for https; True for the system's authorities.
        form: members of a form to POST instead.
        body: what is sent otherwise. After a redirect it is sent again, where that says so (307, 308).
        redirects: whether redirects to another origin are followed; those of a form never are.
        plain_redirects: whether a redirect from https to plain http is followed, without the login.
        setting: the key of the settings that would allow that, for the message; empty if there is none.
        elsewhere: the policy at other hosts than this URL's, where redirects lead, if it is another one.
    """

    kind: str
    method: str
    url: URL
    policy: AddressPolicy
    headers: Mapping[str, str] = field(default_factory=dict)
    authorization: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | bool = True
    form: Mapping[str, str] | None = field(default=None, repr=False)
    body: Body | None = None
    redirects: bool = True
    plain_redirects: bool = False
    setting: str = ""
    elsewhere: AddressPolicy | None = None

    def policy_at(self, url: URL) -> AddressPolicy:
        """Return the policy for an address that it is sent to."""
        return self.policy if self.elsewhere is None or url.host == self.url.host else self.elsewhere


class Transport:
    """Sessions to other servers, one for each address policy, and one for what goes through a proxy."""

    def __init__(self) -> None:
        self._sessions: dict[AddressPolicy | None, aiohttp.ClientSession] = {}
        self._closed = False

    async def close(self) -> None:
        """Close all connections; whoever sends later, as a fetch does that is cut off, is refused."""
        self._closed = True
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()

    async def send(self, request: Request) -> aiohttp.ClientResponse:
        """Send `request`, follow its redirects, and return the answer with its body unread. The caller closes it.

        Raises:
            UpstreamUnreachable: no connection or no answer in time; the sentence names the host and the cause.
            UpstreamBroken: not HTTP, or redirects that are not followed.
            InvalidRequest: the address policy forbids the address.
            Stopping: it is closed.
        """
        url, authorization = request.url, request.authorization
        for _ in range(REDIRECT_LIMIT + 1):
            response = await self._send_once(request, url, authorization)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                return response
            response.release()
            target = _redirect_target(request, url, location)
            if target.origin() != url.origin():
                authorization = None
                if not request.redirects:
                    raise UpstreamBroken(
                        f"{server_of(url)} redirects to another host ({server_of(target)}) for a token"
                    )
            if request.form is not None:
                raise UpstreamBroken(f"{server_of(url)} redirects a request that carries a login; it is not followed")
            if request.method not in _SAFE and response.status not in _SAME_AGAIN:
                raise UpstreamBroken(
                    f"{server_of(url)} redirects a {request.method} with {response.status}, by which what is sent is"
                    " lost; it is followed with 307 or 308 only"
                )
            url = target
        raise UpstreamBroken(f"{server_of(request.url)} redirects more than {REDIRECT_LIMIT} times ({shown(url)})")

    async def _send_once(self, request: Request, url: URL, authorization: str | None) -> aiohttp.ClientResponse:
        started = time.monotonic()
        outcome = "unreachable"
        payload = None if request.body is None else BodyPayload(request.body)
        try:
            proxy = endpoints.chosen().proxy_for(url)
            policy = request.policy_at(url)
            if proxy is not None:
                policy.check_host(url.host or "")
            session = self._session(policy if proxy is None else None)
            headers = {**request.headers, **({} if authorization is None else {"Authorization": authorization})}
            response = await session.request(
                request.method, url, headers=headers, allow_redirects=False, proxy=proxy, ssl=request.tls,
                data=request.form if payload is None else payload, timeout=_timeout(request),
            )  # fmt: skip
            outcome = outcome_of(response.status)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise (None if payload is None else _unsent(url, payload, error)) or explain(url, error) from None
        finally:
            count(server_of(url), request.kind, outcome)
            took = round(time.monotonic() - started, 4)
            _log.debug("upstream request", method=request.method, url=shown(url), outcome=outcome, seconds=took)
        return response

    def _session(self, policy: AddressPolicy | None) -> aiohttp.ClientSession:
        if self._closed:
            raise Stopping
        if policy not in self._sessions:
            self._sessions[policy] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=trusting(),
                    limit=0,  # the number of connections is bounded per host, where requests are made
                    keepalive_timeout=_KEEP_ALIVE,
                    socket_factory=None if policy is None else policy.open_socket,
                ),
                headers={
                    "User-Agent": f"wavelet/{__version__}",
                    "Accept-Encoding": "identity",
                    "Via": f"1.1 {PSEUDONYM}",
                },
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # bytes are kept as they came
                read_bufsize=READ_BUFFER,
                max_line_size=HEADER_LIMIT,
                max_field_size=HEADER_LIMIT,
                max_headers=HEADERS_LIMIT,
            )
        return self._sessions[policy]


def _timeout(request: Request) -> aiohttp.ClientTimeout:
    first_byte = FIRST_BYTE_TIMEOUT if request.body is None else WHOLE_ANSWER_TIMEOUT
    return aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT, sock_read=first_byte)


def _unsent(url: URL, payload: BodyPayload, error: Exception) -> Exception | None:
    """Return why a body was not sent, or not answered, in better words than the connection's end has; None without."""
    host, name = server_of(url), payload.body.name
    if payload.failure is not None or not payload.begun or isinstance(error, aiohttp.ClientResponseError):
        return payload.failure
    if payload.stalled:
        return ConnectionBroke(f"{host} took no byte of {name} for {STALL_TIMEOUT:g} s")
    if payload.sent < payload.body.size:
        return ConnectionBroke(f"{host} broke the connection after {payload.sent} bytes of {name}")
    if isinstance(error, TimeoutError):
        return UpstreamUnreachable(f"{host} got {name}, and did not answer within {WHOLE_ANSWER_TIMEOUT:g} s")
    return ConnectionBroke(f"{host} got {name}, and closed the connection without an answer")


def _redirect_target(request: Request, url: URL, location: str) -> URL:
    try:
        # A signed address has to stay byte for byte; one with other characters is quoted.
        exact = location.isascii() and location.isprintable() and " " not in location
        target = url.join(URL(location, encoded=exact))
        usable = target.scheme in ("http", "https") and bool(target.host) and target.user is None
    except ValueError:
        usable = False
    if not usable:
        raise UpstreamBroken(f"{server_of(url)} redirects to something that is not an http address")
    if url.scheme == "https" and target.scheme == "http" and not request.plain_redirects:
        unless = f", unless {request.setting} is set" if request.setting else ""
        message = f"{server_of(url)} redirects from https to plain http ({server_of(target)}); not followed{unless}"
        raise UpstreamBroken(message)
    return target


def explain(url: URL, error: Exception, after: int | None = None) -> UpstreamError | InvalidRequest:
    """Turn what went wrong, `after` so many bytes of a body, into the sentence that names the host and the cause."""
    host = server_of(url)
    cause = getattr(error, "os_error", None) or error
    broke = "before the end of its answer" if after is None else f"after {after} bytes"
    found: UpstreamError | InvalidRequest
    if isinstance(cause, AddressError):
        found = InvalidRequest(f"{host} is not asked: {cause.why}")
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        found = UpstreamUnreachable(f"cannot reach {host}: the proxy answers {error.status}")
        found.passing = is_passing(error.status)
    elif isinstance(error, aiohttp.ClientResponseError):
        found = UpstreamBroken(f"{host} answers something that is not HTTP")
    elif isinstance(error, ValueError) and not isinstance(error, OSError):
        found = UpstreamBroken(f"{host} cannot be asked: its address is malformed")
    elif after is not None or isinstance(error, aiohttp.ClientPayloadError):
        found = ConnectionBroke(f"{host} broke the connection {broke}")
    else:
        kind = ConnectionBroke if _is_momentary(error, cause) else UpstreamUnreachable
        proxy = "its proxy: " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
        found = kind(f"cannot reach {host}: {proxy}{_cause(error, cause)}")
        found.passing = not _is_definite(cause)
    return found


def _is_momentary(error: Exception, cause: object) -> bool:
    if isinstance(cause, socket.gaierror):
        return cause.errno == socket.EAI_AGAIN
    return isinstance(error, aiohttp.ServerDisconnectedError) or isinstance(
        cause, ConnectionResetError | ConnectionAbortedError | BrokenPipeError
    )


def _is_definite(cause: object) -> bool:
    """Tell whether nobody is there under that name or address, or nobody who can be trusted."""
    if isinstance(cause, socket.gaierror):
        return cause.errno != socket.EAI_AGAIN
    if isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return True
    return isinstance(cause, ConnectionRefusedError | ssl.SSLCertVerificationError)


def _cause(error: Exception, cause: object) -> str:
    """Say in plain words why there was no answer; the first kind that fits."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message}); set ca_file for it"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS connection ({cause.reason or 'handshake failed'})"
    for kind, words in (
        (aiohttp.ConnectionTimeoutError, f"no connection within {CONNECT_TIMEOUT:g} s"),
        (TimeoutError, f"no answer within {FIRST_BYTE_TIMEOUT:g} s"),
        (socket.gaierror, "its name cannot be resolved"),
        (aiohttp.ClientConnectorDNSError, "its name cannot be resolved"),
        (ConnectionRefusedError, "connection refused"),
        (aiohttp.ServerDisconnectedError, "it closed the connection without an answer"),
        (ConnectionResetError, "it closed the connection without an answer"),
    ):
        if isinstance(error, kind) or isinstance(cause, kind):
            return words
    return printable(getattr(cause, "strerror", None) or "the connection failed")
