"""The logins that users have in auth files on this machine, and in the helpers that these name.

The files are read as their user. A helper that they name runs only where the daemon is that user's own: a daemon of
root never runs what somebody else's file says.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from cachetools import LRUCache

from wavelet.image.reference import Repository
from wavelet.plan.identity import Identity, Login
from wavelet.single_flight import SingleFlight
from wavelet.upstream import auth_files, user_auth_files
from wavelet.upstream.auth_files import AskHelper, AuthFile, AuthFileError
from wavelet.upstream.credential_source import NOTHING, Offer, OfferedLogin, offered_to, user_of
from wavelet.upstream.helpers import HelperError, Helpers

THREADS = 32
"""Threads of their own for files: homes of some users that hang must not hold up others, nor the daemon's work."""

USERS_HELD = 1024
"""Users whose files are held as they were read last."""

_LATE = "\0"

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class _Read:
    """A user's files in one version, and the words on those that cannot be used."""

    version: str
    files: tuple[AuthFile, ...] = ()
    problems: tuple[str, ...] = ()


class AuthFileCredentials:
    """The logins in users' auth files; read again when the files have changed."""

    personal = True

    def __init__(self, helpers: Helpers) -> None:
        self._helpers = helpers
        self._threads = ThreadPoolExecutor(THREADS, "logins")
        self._held: LRUCache[int, _Read] = LRUCache(USERS_HELD)
        # What a thread does cannot be ended: whoever comes next waits for it too, and takes no other thread.
        self._looks: SingleFlight[int, str] = SingleFlight("look at the auth files of uid", keep=True)
        self._reads: SingleFlight[int, list[dict[str, str]]] = SingleFlight("read the auth files of uid", keep=True)

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def logins(self, repository: Repository, identity: Identity) -> Offer:
        """See `CredentialSource`."""
        uid = user_of(identity)
        if uid is None or not user_auth_files.is_readable(uid):
            return NOTHING
        read = await self._files(uid)
        logins: list[OfferedLogin] = []
        problems = list(read.problems)
        for file in read.files:
            try:
                login = await self._login(file.look_up(repository), uid)
            except HelperError as error:
                problems.append(str(error))
            else:
                logins += [] if login is None else [offered_to(uid, login)]
        return Offer(tuple(logins), tuple(problems))

    async def version(self, identity: Identity) -> str:
        """See `CredentialSource`."""
        uid = user_of(identity)
        if uid is None or not user_auth_files.is_readable(uid):
            return ""
        return await self._in_time(self._looks, uid, user_auth_files.fingerprint, "")

    async def _files(self, uid: int) -> _Read:
        version = await self._in_time(self._looks, uid, user_auth_files.fingerprint, _LATE)
        if version == _LATE:
            return _Read("", problems=(f"the auth files of uid {uid} cannot be looked at in time",))
        held = self._held.get(uid)
        if held is None or held.version != version:
            slow = [{"path": f"the auth files of uid {uid}", "error": "they cannot be read in time"}]
            entries = await self._in_time(self._reads, uid, user_auth_files.read, slow) if version else []
            held = self._held[uid] = _parsed(version, entries)
        return held

    async def _in_time(
        self, flights: SingleFlight[int, _Value], uid: int, function: Callable[[int], _Value], otherwise: _Value
    ) -> _Value:
        """Run `function` in a thread, one for each user at a time; `otherwise` if it takes too long."""

        async def run() -> _Value:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, uid)

        try:
            async with asyncio.timeout(user_auth_files.READ_TIMEOUT):
                return await flights.run(uid, run)
        except TimeoutError:
            return otherwise

    async def _login(self, found: Login | AskHelper | None, uid: int) -> Login | None:
        if not isinstance(found, AskHelper):
            return found
        if uid != os.geteuid():
            raise HelperError(
                f"docker-credential-{found.name}: a user's helper is not run by another user's daemon; "
                "`wavelet login` runs it"
            )
        return await self._helpers.ask(found.name, found.server)


def _parsed(version: str, entries: list[dict[str, str]]) -> _Read:
    files: list[AuthFile] = []
    problems: list[str] = []
    for entry in entries:
        try:
            if "error" in entry:
                raise AuthFileError(entry["error"])
            files.append(file := auth_files.parse(entry["text"]))
            problems += [f"{entry['path']}: {each}" for each in file.wrong]
        except AuthFileError as error:
            problems.append(f"{entry['path']}: {error}")
    return _Read(version, tuple(files), tuple(problems))
