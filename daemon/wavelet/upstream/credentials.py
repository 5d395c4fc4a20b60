"""Whose logins there are for a repository: the site's, from the settings, and a user's own.

A user's own are what the user has handed over (`session_credentials`), then what the user's auth files have. These
files are read as that user. A helper that they name runs only where the daemon is that user's own: a daemon of
root never runs what somebody else's file says.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import pwd
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import structlog

from wavelet import plain_files
from wavelet.cluster.sealed import SealedLogins
from wavelet.config import Credential, Settings
from wavelet.image.reference import DOCKER_HUB, Repository
from wavelet.plan.identity import Identity, Login
from wavelet.upstream import auth_files, read_auth_files
from wavelet.upstream.auth_files import HUB_KEY, AskHelper, AuthFile, AuthFileError
from wavelet.upstream.helpers import HelperError, Helpers
from wavelet.upstream.session_credentials import DEFAULT_LIFETIME, Held, SessionCredentials, parse_registry

READ_TIMEOUT = 10.0
"""Seconds that looking at or reading a user's files may take; a home directory can be on a network."""

THREADS = 32
"""Threads of their own for files: homes of some users that hang must not hold up others, nor the daemon's work."""

UNSEEN_LIFETIME = 60
"""Seconds after which files are read again that the daemon itself cannot look at (homes on NFS, closed to root)."""

HELPER_PATIENCE = 1.0
"""Seconds for which a helper is waited for where it matters only whether there may be a login."""

_HELD = 1000

_Value = TypeVar("_Value")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """A user's files in one version, and the words on those that cannot be used."""

    version: str
    files: tuple[AuthFile, ...] = ()
    problems: tuple[str, ...] = ()


class _Unusable(Exception):
    """A login that may be there cannot be had; the message names the file or program, and the reason."""


class Logins:
    """All logins that this daemon may use, and for whom.

    Attributes:
        credentials: the site's; may be set at any time.
        on_event: called when a user hands over or takes back logins, with the user and the registry ("" for all).
    """

    def __init__(self, settings: Settings, sealed: SealedLogins | None = None) -> None:
        """With `sealed`, what users hand over is shared with other nodes."""
        self.credentials = settings.upstream.credentials
        self.on_event: Callable[[Literal["login", "logout"], int, str], None] = lambda _what, _uid, _registry: None
        self._sealed = sealed
        self._session_credentials = SessionCredentials(sealed)
        self._known: dict[int, _Known] = {}
        self._helpers = Helpers()
        self._threads = ThreadPoolExecutor(THREADS, "logins")
        self._looking: dict[tuple[object, int], asyncio.Future[Any]] = {}
        self._warned: set[str] = set()

    # -- what users hand over -----------------------------------------------------------------------------------------

    async def store(self, uid: int, registry: str, login: Login, lifetime: float = DEFAULT_LIFETIME) -> float:
        """Keep a login of `uid` for `lifetime` seconds; see `SessionCredentials.store`."""
        until = await self._session_credentials.store(uid, registry, login, lifetime)
        self.on_event("login", uid, parse_registry(registry))
        return until

    async def revoke(self, uid: int, registry: str) -> int:
        """Forget a login of `uid`, or all if `registry` is empty; see `SessionCredentials.revoke`."""
        count = await self._session_credentials.revoke(uid, registry)
        self.on_event("logout", uid, registry)
        return count

    async def held(self, uid: int) -> list[Held]:
        """Return what `uid` has handed over, without the secrets."""
        return await self._session_credentials.held(uid)

    async def expire(self) -> int:
        """Forget what was handed over and has ended; return how many sealed logins.

        Raises:
            OurError: the shared directory cannot be used.
        """
        self._session_credentials.expire()
        return 0 if self._sealed is None else await self._sealed.expire()

    async def close(self) -> None:
        """Let go of the shared directory, and begin nothing more."""
        self._helpers.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._sealed is not None:
            await self._sealed.close()

    # -- what there is for a repository -------------------------------------------------------------------------------

    async def site(self, repository: Repository, identity: Identity) -> list[tuple[Login, bool]]:
        """Return the site's logins for `repository` and whether they are for all, those for all first.

        Of those for all, and of those for this identity's uid, the one with the longest match counts.
        """
        found: list[tuple[Login, bool]] = []
        for chosen, for_all in self._chosen(repository, identity):
            login = await self._or_warning(self._from_site(chosen, repository))
            found += [] if login is None else [(login, for_all)]
        return found

    def _chosen(self, repository: Repository, identity: Identity) -> list[tuple[Credential, bool]]:
        public = _longest((c for c in self.credentials if not c.users), repository)
        listed = _longest((c for c in self.credentials if identity.uid in c.users), repository)
        return [(chosen, for_all) for chosen, for_all in ((public, True), (listed, False)) if chosen is not None]

    async def own(self, repository: Repository, identity: Identity) -> list[Login]:
        """Return the identity's own logins: the one that the client sent, else what the user has on this machine."""
        if identity.login is not None:
            return [identity.login]
        if identity.uid is None:
            return []
        handed = await self._session_credentials.find(repository, identity.uid)
        logins: dict[Login, None] = {} if handed is None else {handed: None}
        for file in (await self._files(identity.uid)).files:
            login = await self._or_warning(self._from_file(file.look_up(repository), identity.uid))
            if login is not None:
                logins[login] = None
        return list(logins)

    async def problems(self, repository: Repository, identity: Identity) -> list[str]:
        """Return which logins there may be for a repository and cannot be used, each with the reason."""
        asked = [partial(self._from_site, chosen, repository) for chosen, _ in self._chosen(repository, identity)]
        found: list[str] = []
        if identity.login is None and identity.uid is not None:
            known = await self._files(identity.uid)
            found += known.problems
            asked += [partial(self._from_file, file.look_up(repository), identity.uid) for file in known.files]
        for question in asked:
            try:
                await question()
            except _Unusable as error:
                found.append(str(error))
        return list(dict.fromkeys(found))

    async def knows(self, repository: Repository, identity: Identity) -> bool:
        """Tell whether the identity may have a login of its own for `repository`; a slow helper may have one."""
        try:
            async with asyncio.timeout(HELPER_PATIENCE):
                return bool(await self.own(repository, identity))
        except TimeoutError:
            return True

    async def version(self, identity: Identity) -> str:
        """Return a fingerprint that changes when the user's logins do; empty if there are none."""
        if identity.login is not None or identity.uid is None:
            return ""
        files = await self._look(_fingerprint, identity.uid, "") if _is_readable(identity.uid) else ""
        return files + await self._session_credentials.version(identity.uid)

    async def _files(self, uid: int) -> _Known:
        if not _is_readable(uid):
            return _Known("")
        late = "\0"
        version = await self._look(_fingerprint, uid, late)
        if version == late:
            return _Known("", problems=(self._warn(f"the auth files of uid {uid} cannot be looked at in time"),))
        known = self._known.get(uid)
        if known is None or known.version != version:
            slow = [{"path": f"the auth files of uid {uid}", "error": "they cannot be read in time"}]
            known = self._parse(version, await self._look(_read, uid, slow) if version else [])
            self._known[uid] = known
        return known

    async def _look(self, function: Callable[[int], _Value], uid: int, otherwise: _Value) -> _Value:
        """Run `function` in a thread, one for each user at a time; `otherwise` if it takes too long."""
        running = self._looking.get((function, uid))
        if running is None:
            running = asyncio.get_running_loop().run_in_executor(self._threads, function, uid)
            self._looking[function, uid] = running
            running.add_done_callback(lambda _: self._looking.pop((function, uid), None))
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                found: _Value = await asyncio.shield(running)
        except TimeoutError:
            return otherwise
        return found

    def _parse(self, version: str, entries: list[dict[str, str]]) -> _Known:
        files: list[AuthFile] = []
        problems: list[str] = []
        for entry in entries:
            try:
                if "error" in entry:
                    raise AuthFileError(entry["error"])
                files.append(file := auth_files.parse(entry["text"]))
                problems += [self._warn(f"{entry['path']}: {each}") for each in file.wrong]
            except AuthFileError as error:
                problems.append(self._warn(f"{entry['path']}: {error}"))
        return _Known(version, tuple(files), tuple(problems))

    async def _from_file(self, found: Login | AskHelper | None, uid: int) -> Login | None:
        if not isinstance(found, AskHelper):
            return found
        if uid != os.geteuid():
            raise _Unusable(
                f"docker-credential-{found.name}: a user's helper is not run by another user's daemon; "
                "`wavelet login` runs it"
            )
        return await self._ask(found)

    async def _from_site(self, credential: Credential, repository: Repository) -> Login | None:
        if credential.helper:
            server = HUB_KEY if repository.host == DOCKER_HUB else repository.host
            return await self._ask(AskHelper(credential.helper, server))
        try:
            secret = await asyncio.to_thread(_secret_in, Path(credential.password_file))
        except (OSError, UnicodeDecodeError) as error:
            why = "it is not text" if isinstance(error, UnicodeDecodeError) else error.strerror or "it cannot be read"
            raise _Unusable(f"the site's password_file for {credential.registry}: {why}") from None
        return Login(credential.username, secret.strip())

    async def _ask(self, question: AskHelper) -> Login | None:
        try:
            return await self._helpers.ask(question.name, question.server)
        except HelperError as error:
            raise _Unusable(str(error)) from None

    async def _or_warning(self, question: Awaitable[Login | None]) -> Login | None:
        try:
            return await question
        except _Unusable as error:
            self._warn(str(error))
            return None

    def _warn(self, words: str) -> str:
        """Log a sentence, once, and return it."""
        if len(self._warned) >= _HELD:
            self._warned.clear()
        if words not in self._warned:
            self._warned.add(words)
            _log.warning("a login cannot be used", because=words)
        return words


def _longest(credentials: Iterable[Credential], repository: Repository) -> Credential | None:
    by_key = {auth_files.normal_key(credential.registry): credential for credential in credentials}
    return next((by_key[key] for key in auth_files.prefixes(repository) if key in by_key), None)


def _is_readable(uid: int) -> bool:
    """Tell whether this daemon can take on `uid` at all."""
    return os.geteuid() in (0, uid)


def paths_of(uid: int) -> list[str]:
    """Return where `uid` may have auth files, first those that go first. Blocks: it asks the user database.

    What this process's own environment says (HOME, DOCKER_CONFIG, ...) counts for its own user, also for a uid that the
    user database does not know, as containers have them.
    """
    own = os.environ if uid == os.geteuid() else {}
    homes = [Path(own["HOME"])] if own.get("HOME") else []
    with contextlib.suppress(KeyError):
        homes.append(Path(pwd.getpwuid(uid).pw_dir))
    if not homes and not own:
        return []
    runtime = Path(own.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}")
    places = [
        *_set_or(own, "REGISTRY_AUTH_FILE", [], ""),
        *_set_or(own, "DOCKER_CONFIG", [home / ".docker" for home in homes], "config.json"),
        runtime / "containers/auth.json",
        *_set_or(own, "XDG_CONFIG_HOME", [home / ".config" for home in homes], "containers/auth.json"),
        *(home / f".{name}/docker-config.json" for home in homes for name in ("apptainer", "singularity")),
    ]
    return [str(place) for place in dict.fromkeys(places) if place.is_absolute()]


def _set_or(own: Mapping[str, str], variable: str, usual: list[Path], inside: str) -> list[Path]:
    return [directory / inside for directory in ([Path(own[variable])] if own.get(variable) else usual)]


def _fingerprint(uid: int) -> str:
    seen: list[str] = []
    for path in paths_of(uid):
        for look in (os.lstat, os.stat):  # a link changes with what it leads to, in Kubernetes by a link on its way
            try:
                status = look(path)
            except (FileNotFoundError, NotADirectoryError):
                break
            except OSError:
                # It may be there for the user: what cannot be seen counts as changed after a while.
                seen.append(f"{path} {time.time() // UNSEEN_LIFETIME}")
                break
            kind = stat.S_IFMT(status.st_mode)
            times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
            seen.append(f"{path} {kind} {status.st_uid} {status.st_dev} {status.st_ino} {status.st_size} {times}")
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:32] if seen else ""


def _read(uid: int) -> list[dict[str, str]]:
    """Read the files of `uid`, in a process that is that user where it is another one."""
    paths = paths_of(uid)
    if uid == os.geteuid():
        return [entry for path in paths if (entry := read_auth_files.read(path, uid)) is not None]
    group = pwd.getpwuid(uid).pw_gid
    command = [sys.executable, "-I", "-S", read_auth_files.__file__, str(uid), str(group), *paths]
    try:
        done = subprocess.run(  # noqa: S603 - our own program, with numbers and paths of the user database
            command, stdin=subprocess.DEVNULL, capture_output=True, env={}, cwd="/", timeout=READ_TIMEOUT, check=True
        )
        entries: list[dict[str, str]] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        why = "it took too long" if isinstance(error, subprocess.TimeoutExpired) else "the reader failed"
        return [{"path": f"the auth files of uid {uid}", "error": why}]
    return entries


def _secret_in(path: Path) -> str:
    """Return the text of a file that holds a password. Blocks, but never waits for somebody to write one."""
    return plain_files.read(path, read_auth_files.SIZE_LIMIT, follow=True)[0].decode()
