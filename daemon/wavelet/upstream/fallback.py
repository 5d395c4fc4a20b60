"""The order in which a registry is asked: its mirrors, then itself; at each without a login first, then with logins.

Anonymous first, then the logins in the order of their chain (`credentials`): what everybody may read is found to be so
before anything that is somebody's alone is used.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
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
from wavelet.plan.tokens import Identity, Login
from wavelet.upstream.auth import LoginError
from wavelet.upstream.credential_sources import ANONYMOUS, Granted, OfferedLogin
from wavelet.upstream.credentials import Logins
from wavelet.upstream.endpoints import Endpoint, mirrors_of, settings_for
from wavelet.upstream.retry import ATTEMPTS, ExpiringSet
from wavelet.upstream.session import Call, RegistrySession
from wavelet.upstream.streams import Answer, server_words

MIRROR_REST = 30.0
"""Seconds for which a mirror that does not answer is left out."""

REFUSAL_MEMORY = 60.0
"""Seconds for which a repository that was refused without a login is asked with the logins there are at once."""

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)

Read = Callable[[Answer, Granted], Awaitable[_T]]
"""Makes something of an answer, and of whom it was granted to."""


@dataclass(frozen=True, slots=True)
class Decider(Generic[_T]):
    """What is asked instead, with the same login, where a HEAD is answered by anything but yes or "not found".

    Some registries allow GET alone, and an address that one redirects to may be signed for GET alone.
    """

    call: Call
    read: Read[_T]


@dataclass(frozen=True, slots=True)
class Question(Generic[_T]):
    """What is asked of a repository, for whom, and what is made of an answer that is no refusal."""

    repository: Repository
    identity: Identity
    call: Call
    read: Read[_T]
    decider: Decider[_T] | None = None


@dataclass(frozen=True, slots=True)
class PushLogin:
    """A registry, and the login with which it takes what is pushed."""

    endpoint: Endpoint
    offered: OfferedLogin


@dataclass(slots=True)
class _Refusals:
    """What one server has said no to.

    Attributes:
        tried: the logins.
        declined: whether the last no was that it is not granted to these.
        words: what it said with the last no to a push, in parentheses, or nothing.
    """

    tried: list[str] = field(default_factory=list)
    declined: bool = False
    words: str = ""

    def add(self, offered: OfferedLogin, status: int) -> None:
        self.tried.append(offered.granted.by)
        self.declined = status == 403


class CredentialFallback:
    """Asks for something of a repository until a server and a login give it; `settings` may be set at any time."""

    def __init__(self, settings: Settings, logins: Logins, session: RegistrySession) -> None:
        self.settings = settings
        self._logins = logins
        self._session = session
        self._resting: ExpiringSet[URL] = ExpiringSet()
        self._refused: ExpiringSet[tuple[URL, str]] = ExpiringSet()
        self._cannot_push: ExpiringSet[tuple[URL, str, OfferedLogin]] = ExpiringSet()

    async def ask(self, question: Question[_T]) -> _T:
        """Return what is made of the first answer that is no refusal. An answer whose reading raises is closed.

        At a mirror, whatever is raised (also "not found") passes on to the next server. With `mirrors_only` the
        mirrors' word is the last one.

        Raises:
            NotFound: a definite answer.
            AccessRefused: refused with each login there is.
            UpstreamError: see `RegistrySession.send`.
        """
        host = question.repository.host
        mirrors = mirrors_of(self.settings, host)
        only = bool(mirrors) and self.settings.upstream.mirrors_only
        passed: list[WaveletError] = []
        for mirror in self._in_order(mirrors, all_of_them=only):
            try:
                return await self._try_credentials(mirror, question, ATTEMPTS if only else 1)
            except WaveletError as error:
                if isinstance(error, UpstreamUnreachable):
                    self.rest(mirror)
                _log.info("mirror passed over", mirror=mirror.host, registry=host, because=error.message)
                passed.append(error)
        if only:
            raise verdict(passed, f"{host} itself is not asked (upstream.mirrors_only)")
        try:
            return await self._try_credentials(await self._session.endpoint(host), question, ATTEMPTS)
        except UpstreamError as error:
            if not passed:
                raise
            raise verdict([error, *passed]) from None

    def _in_order(self, mirrors: Sequence[Endpoint], *, all_of_them: bool) -> list[Endpoint]:
        """Return the mirrors that are not left out for a while; where they are all there is, the others come last."""
        resting = [each for each in mirrors if each.base in self._resting]
        return [each for each in mirrors if each not in resting] + (resting if all_of_them else [])

    def rest(self, endpoint: Endpoint) -> None:
        """Leave a mirror out for a while; it has failed."""
        if endpoint.is_mirror:
            self._resting.add(endpoint.base, MIRROR_REST)

    async def ask_to_push(self, repository: Repository, identity: Identity, call: Call) -> tuple[Answer, PushLogin]:
        """Return the answer of the registry itself to what is part of a push, and the login that brought it.

        No mirror is asked. The caller's own logins go before the site's, so that what is pushed is the caller's.

        Raises:
            AccessRefused: refused with each login there is.
            UpstreamError: see `RegistrySession.send`.
        """
        endpoint = await self._session.endpoint(repository.host)
        question = Question(repository, identity, call, _unread)
        answer, offered, _ = await self._first_granted(endpoint, question, ATTEMPTS)
        return answer, PushLogin(endpoint, offered)

    async def _try_credentials(self, endpoint: Endpoint, question: Question[_T], attempts: int) -> _T:
        """Ask one server, with one login after the other."""
        answer, offered, read = await self._first_granted(endpoint, question, attempts)
        return await _read(answer, offered.granted, read)

    async def _first_granted(
        self, endpoint: Endpoint, question: Question[_T], attempts: int
    ) -> tuple[Answer, OfferedLogin, Read[_T]]:
        refusals = _Refusals()
        busy: UpstreamBusy | None = None
        async with aclosing(self._offers(endpoint, question)) as offers:
            async for offered in offers:
                if busy is not None and not offered.granted.public:
                    break  # a login of one's own would make a public image that user's alone for this moment
                try:
                    answer, read = await self._ask_with(offered.login, endpoint, question, attempts)
                except UpstreamBusy as error:
                    if question.call.is_push:
                        raise  # nothing is pushed as the site for the caller's own login came at a bad moment
                    busy = error
                    continue
                except LoginError:
                    status = 401
                else:
                    status = answer.status
                    if status not in (401, 403) or not answer.is_own:
                        return answer, offered, read
                    if question.call.is_push:
                        refusals.words = (await server_words(answer)).text
                    answer.close()
                refusals.add(offered, status)
                if question.call.is_push and not question.call.mounts:
                    self._cannot_push.add((endpoint.base, question.repository.path, offered), REFUSAL_MEMORY)
                elif offered is ANONYMOUS:
                    self._refused.add((endpoint.base, question.repository.path), REFUSAL_MEMORY)
        if busy is not None:
            raise busy
        problems = await self._logins.problems(question.repository, question.identity, for_push=question.call.is_push)
        raise AccessRefused(_refusal(endpoint, question, refusals, problems), declined=refusals.declined)

    async def _ask_with(
        self, login: Login | None, endpoint: Endpoint, question: Question[_T], attempts: int
    ) -> tuple[Answer, Read[_T]]:
        """Ask with one login, by the question's other call where its first one is not answered definitely."""
        path = question.repository.path
        send = partial(self._session.send, endpoint, path, login=login, attempts=attempts)
        decider = question.decider
        if decider is None:
            return await send(call=question.call), question.read
        decided = await _definite(send(call=question.call), login)
        return (await send(call=decider.call), decider.read) if decided is None else (decided, question.read)

    async def _offers(self, endpoint: Endpoint, question: Question[_T]) -> AsyncGenerator[OfferedLogin, None]:
        """Yield what to ask a server with. A mirror gets no logins but the site's for the mirror itself."""
        repository = question.repository
        always = settings_for(self.settings, endpoint.host).credentials == "always"
        pushes = question.call.is_push
        anonymous_first = not always and not pushes and (endpoint.base, repository.path) not in self._refused
        if anonymous_first:
            yield ANONYMOUS
        mirror = endpoint.is_mirror
        where = Repository(endpoint.host, endpoint.path(repository.path)) if mirror else repository
        some = False
        unlikely: list[OfferedLogin] = []
        offers = self._logins.offers(where, question.identity, personal=not mirror, for_push=pushes)
        async with aclosing(offers):
            async for offered in offers:
                some = True
                if (endpoint.base, repository.path, offered) in self._cannot_push and pushes:
                    unlikely.append(offered)
                else:
                    yield offered
        for offered in unlikely:
            yield offered
        if not some and not anonymous_first:
            yield ANONYMOUS


async def _unread(answer: Answer, _: Granted) -> Answer:
    return answer


async def _read(answer: Answer, granted: Granted, read: Read[_T]) -> _T:
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


def _refusal(endpoint: Endpoint, question: Question[_T], refusals: _Refusals, problems: list[str]) -> str:
    repository, identity = question.repository, question.identity
    asked = ", ".join(refusals.tried)
    is_user = identity.login is None and identity.uid is not None
    command = f"wavelet login {repository.host}" if is_user else f"docker login {repository.host}"
    unused = f". Logins that could not be used: {'; '.join(problems)}" if problems else ""
    if question.call.is_push:
        return (
            f"{endpoint.host} refuses a push to {repository} (asked as: {asked}){refusals.words}{unused}. It takes a"
            f" login with the right to push to {repository}: log in with `{command}`, or let the site add one to"
            " upstream.credentials"
        )
    return (
        f"{endpoint.host} refuses access to {repository} (asked as: {asked}); it is private or not there{unused}. "
        f"Log in with `{command}`, or let the site add a login to upstream.credentials"
    )
