"""The order in which a registry is asked: its mirrors, then itself; at each without a login first, then with logins.

Anonymous, then site logins that are for all, then the identity's own, then site logins for listed users: what everybody
may read is found to be so before anything that is somebody's alone is used.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import structlog
from yarl import URL

from wavelet.config import Settings
from wavelet.errors import (
    AccessRefused,
    NotFound,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamError,
    UpstreamUnreachable,
    WaveletError,
)
from wavelet.image.reference import Repository
from wavelet.plan.identity import Identity, Login
from wavelet.upstream.answer import Answer
from wavelet.upstream.auth import LoginError
from wavelet.upstream.credentials import Logins
from wavelet.upstream.endpoints import Endpoint, mirrors_of, settings_for
from wavelet.upstream.retry import ATTEMPTS
from wavelet.upstream.session import Call, RegistrySession

MIRROR_REST = 30.0
"""Seconds for which a mirror that does not answer is left out."""

REFUSAL_MEMORY = 60.0
"""Seconds for which a repository that was refused without a login is asked with the logins there are at once."""

_REFUSALS_HELD = 4096

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Granted:
    """To whom an upstream has granted what it answered.

    Attributes:
        public: readable anonymously, or by a site login that is for all; else only for the identity that asked.
        by: which login it was, for logs; never a secret.
    """

    public: bool
    by: str


@dataclass(frozen=True, slots=True)
class _Step:
    login: Login | None
    granted: Granted


_ANONYMOUS = _Step(None, Granted(public=True, by="anonymous"))


@dataclass(frozen=True, slots=True)
class Decider(Generic[_T]):
    """What is asked instead, with the same login, where a HEAD is answered by anything but yes or "not found".

    Some registries allow GET alone, and an address that one redirects to may be signed for GET alone.
    """

    call: Call
    read: Callable[[Answer, Granted], Awaitable[_T]]


class CredentialFallback:
    """Asks for something of a repository until a server and a login give it; `settings` may be set at any time."""

    def __init__(self, settings: Settings, logins: Logins, session: RegistrySession) -> None:
        self.settings = settings
        self._logins = logins
        self._session = session
        self._resting: dict[URL, float] = {}
        self._refused: dict[tuple[URL, str], float] = {}

    async def ask(
        self,
        repository: Repository,
        identity: Identity,
        call: Call,
        read: Callable[[Answer, Granted], Awaitable[_T]],
        decider: Decider[_T] | None = None,
    ) -> _T:
        """Return what `read` makes of the first answer that is no refusal. An answer it raises for is closed.

        At a mirror, whatever `read` raises (also "not found") passes on to the next server. With `mirrors_only` the
        mirrors' word is the last one.

        Raises:
            NotFound: a definite answer.
            AccessRefused: refused with each login there is.
            UpstreamError: see `RegistrySession.send`.
        """
        mirrors = mirrors_of(self.settings, repository.host)
        only = bool(mirrors) and self.settings.upstream.mirrors_only
        passed: list[WaveletError] = []
        for mirror in self._in_order(mirrors, all_of_them=only):
            try:
                return await self._try_credentials(
                    mirror, repository, identity, call, read, decider, ATTEMPTS if only else 1
                )
            except WaveletError as error:
                if isinstance(error, UpstreamUnreachable):
                    self.rest(mirror)
                _log.info("mirror passed over", mirror=mirror.host, registry=repository.host, because=error.message)
                passed.append(error)
        if only:
            raise verdict(passed, f"{repository.host} itself is not asked (upstream.mirrors_only)")
        try:
            endpoint = await self._session.endpoint(repository.host)
            return await self._try_credentials(endpoint, repository, identity, call, read, decider, ATTEMPTS)
        except UpstreamError as error:
            if not passed:
                raise
            raise verdict([error, *passed]) from None

    def _in_order(self, mirrors: Sequence[Endpoint], *, all_of_them: bool) -> list[Endpoint]:
        """Return the mirrors that are not left out for a while; where they are all there is, the others come last."""
        now = time.monotonic()
        resting = [each for each in mirrors if self._resting.get(each.base, 0.0) > now]
        return [each for each in mirrors if each not in resting] + (resting if all_of_them else [])

    def rest(self, endpoint: Endpoint) -> None:
        """Leave a mirror out for a while; it has failed."""
        if endpoint.is_mirror:
            self._resting[endpoint.base] = time.monotonic() + MIRROR_REST

    async def _try_credentials(
        self,
        endpoint: Endpoint,
        repository: Repository,
        identity: Identity,
        call: Call,
        read: Callable[[Answer, Granted], Awaitable[_T]],
        decider: Decider[_T] | None,
        attempts: int,
    ) -> _T:
        tried: list[str] = []
        declined = False
        busy: UpstreamBusy | None = None
        async with aclosing(self._steps(endpoint, repository, identity)) as steps:
            async for step in steps:
                if busy is not None and not step.granted.public:
                    break  # a login of one's own would make a public image that user's alone for this moment
                reading = read
                send = partial(self._session.send, endpoint, repository.path, login=step.login, attempts=attempts)
                try:
                    if decider is None:
                        answer = await send(call=call)
                    elif (decided := await _definite(send(call=call), step.login)) is not None:
                        answer = decided
                    else:
                        reading, answer = decider.read, await send(call=decider.call)
                except UpstreamBusy as error:
                    busy = error
                    continue
                except LoginError:
                    status = 401
                else:
                    status = answer.status
                    if status not in (401, 403) or not answer.is_own:
                        return await _read(answer, step.granted, reading)
                    answer.close()
                tried.append(step.granted.by)
                declined = status == 403
                if step.login is None:
                    self._remember_refusal(endpoint, repository)
        if busy is not None:
            raise busy
        problems = await self._logins.problems(repository, identity)
        raise AccessRefused(_refusal(endpoint, repository, identity, tried, problems), declined=declined)

    async def _steps(
        self, endpoint: Endpoint, repository: Repository, identity: Identity
    ) -> AsyncGenerator[_Step, None]:
        always = settings_for(self.settings, endpoint.host).credentials == "always"
        if not always and self._refused.get((endpoint.base, repository.path), 0.0) < time.monotonic():
            yield _ANONYMOUS
            anonymous_first = True
        else:
            anonymous_first = False
        some = False
        async for step in self._login_steps(endpoint, repository, identity):
            some = True
            yield step
        if not some and not anonymous_first:
            yield _ANONYMOUS

    async def _login_steps(
        self, endpoint: Endpoint, repository: Repository, identity: Identity
    ) -> AsyncIterator[_Step]:
        """Yield the logins in their order. A mirror gets none but the site's for the mirror itself."""
        where = Repository(endpoint.host, endpoint.path(repository.path)) if endpoint.is_mirror else repository
        site = await self._logins.site(where, identity)
        for login, public in site:
            if public:
                yield _Step(login, Granted(public=True, by=f"site login for {where.host}"))
        if not endpoint.is_mirror:
            by = "the client's own login" if identity.login is not None else f"login of uid {identity.uid}"
            for login in await self._logins.own(where, identity):
                yield _Step(login, Granted(public=False, by=by))
        for login, public in site:
            if not public:
                yield _Step(login, Granted(public=False, by=f"site login for {where.host}, for uid {identity.uid}"))

    def _remember_refusal(self, endpoint: Endpoint, repository: Repository) -> None:
        now = time.monotonic()
        if len(self._refused) >= _REFUSALS_HELD:
            self._refused = {key: until for key, until in self._refused.items() if until > now}
        if len(self._refused) < _REFUSALS_HELD:
            self._refused[endpoint.base, repository.path] = now + REFUSAL_MEMORY


async def _read(answer: Answer, granted: Granted, read: Callable[[Answer, Granted], Awaitable[_T]]) -> _T:
    try:
        return await read(answer, granted)
    except BaseException:
        answer.close()
        raise


def verdict(errors: Sequence[WaveletError], also: str = "") -> WaveletError:
    """Return one error for several servers that were asked for the same, in the words of all.

    It is "not found" only if each of them has said so, and may pass if one of them may.
    """
    chief = min(errors, key=lambda error: (isinstance(error, NotFound), not error.passing))
    words = [error.message for error in errors] + ([also] if also else [])
    return chief.with_message("; ".join(dict.fromkeys(words)))


async def _definite(sent: Awaitable[Answer], login: Login | None) -> Answer | None:
    """Return the answer to a HEAD if it says anything; None also where it was sent on to what is no address."""
    try:
        answer = await sent
    except UpstreamBroken:
        return None
    if _is_definite(answer, login):
        return answer
    answer.close()
    return None


def _is_definite(answer: Answer, login: Login | None) -> bool:
    if answer.status == 401 and login is not None:
        return answer.is_own  # a login that is wrong is not shown twice: some registries lock an account over it
    return answer.status == 200 or (answer.status in (404, 410) and answer.is_own)


def _refusal(
    endpoint: Endpoint, repository: Repository, identity: Identity, tried: list[str], problems: list[str]
) -> str:
    asked = ", ".join(tried)
    is_user = identity.login is None and identity.uid is not None
    command = f"wavelet login {repository.host}" if is_user else f"docker login {repository.host}"
    unused = f". Logins that could not be used: {'; '.join(problems)}" if problems else ""
    return (
        f"{endpoint.host} refuses access to {repository} (asked as: {asked}); it is private or not there{unused}. "
        f"Log in with `{command}`, or let the site add a login to upstream.credentials"
    )
