"""Sources of credentials, each one of a chain: the site's own, and users' auth files, read as that user.

Reading auth files blocks: a home directory can be on a network. They are read as their user. A helper that they name
runs only where the daemon is that user's own: a daemon of root never runs what somebody else's file says.
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
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from cachetools import LRUCache

from wavelet import plain_files
from wavelet.concurrency import SingleFlight
from wavelet.config import Apply, Credential, Settings
from wavelet.image.reference import DOCKER_HUB, Repository
from wavelet.plan.tokens import Identity, Login
from wavelet.upstream import auth_files, read_auth_files
from wavelet.upstream.auth_files import HUB_KEY, AskHelper, AuthFile, AuthFileError, normal_key, prefixes
from wavelet.upstream.helpers import HelperError, Helpers
from wavelet.upstream.read_auth_files import SIZE_LIMIT


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
class OfferedLogin:
    """A login to try, None for none; and to whom what it opens is granted."""

    login: Login | None
    granted: Granted


ANONYMOUS = OfferedLogin(None, Granted(public=True, by="anonymous"))


@dataclass(frozen=True, slots=True)
class Offer:
    """What a source has for a repository: its logins in their order, and why others that it may have cannot be used."""

    logins: tuple[OfferedLogin, ...] = ()
    problems: tuple[str, ...] = ()


NOTHING = Offer()


class CredentialSource(Protocol):
    """One place that logins come from."""

    @property
    def personal(self) -> bool:
        """Whether they are the asking user's own: a mirror gets none of these."""

    async def logins(self, repository: Repository, identity: Identity) -> Offer:
        """Return what there is for a repository; whatever goes wrong is among the problems."""

    async def version(self, identity: Identity) -> str:
        """Return a fingerprint that changes when the identity's own logins do; empty if it has none here."""


def user_of(identity: Identity) -> int | None:
    """Return the uid whose own logins count; None for nobody, and where a request's own login speaks for it alone."""
    return None if identity.login is not None else identity.uid


def offered_to(uid: int, login: Login) -> OfferedLogin:
    """Return the offer of a user's own login, which counts for that user alone."""
    return OfferedLogin(login, Granted(public=False, by=f"login of uid {uid}"))


class SiteCredentials:
    """The site's logins of one sort; of several for a repository, the one with the longest match counts."""

    personal = False

    def __init__(self, settings: Settings, helpers: Helpers, *, listed: bool) -> None:
        """With `listed`, those for users that are listed, which open what they open for the asking one alone."""
        self._helpers = helpers
        self._listed = listed
        self._credentials: Sequence[Credential] = ()
        self._frozen = ""
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: which logins there are."""

        def apply() -> None:
            self._credentials = settings.upstream.credentials
            self._frozen = settings.freeze.repository

        return apply

    async def logins(self, repository: Repository, identity: Identity) -> Offer:
        """See `CredentialSource`."""
        fitting = (each for each in self._credentials if self._is_for(each, identity))
        chosen = _longest(fitting, repository)
        if chosen is None:
            return NOTHING
        try:
            login = await self._login(chosen, repository)
        except HelperError as error:
            return Offer(problems=(str(error),))
        except (OSError, UnicodeDecodeError) as error:
            why = "it is not text" if isinstance(error, UnicodeDecodeError) else error.strerror or "it cannot be read"
            return Offer(problems=(f"the site's password_file for {chosen.registry}: {why}",))
        if login is None:
            return NOTHING
        by = f"site login for {repository.host}" + (f", for uid {identity.uid}" if self._listed else "")
        return Offer((OfferedLogin(login, Granted(public=not self._listed, by=by)),))

    async def version(self, identity: Identity) -> str:
        """Return an empty text: these are no identity's own."""
        del identity
        return ""

    def _is_for(self, credential: Credential, identity: Identity) -> bool:
        return identity.uid in credential.users if self._listed else not credential.users

    def push_problem(self, repository: Repository, identity: Identity) -> str | None:
        """Return why nothing is pushed to a repository by one of these logins; None where that is all right.

        A site gives a login for all to read with. What it may write is not everybody's: a mirror could put any image
        under any tag of the registry. It is the site's own where `freeze.repository` is, and may be used by root and by
        the daemon's own user, who can read it anyway.
        """
        chosen = _longest((each for each in self._credentials if self._is_for(each, identity)), repository)
        if chosen is None or chosen.push or identity.uid in (0, os.geteuid()):
            return None
        if self._frozen and f"{repository}/".startswith(f"{self._frozen}/"):
            return None
        return (
            f"the site's login for {chosen.registry} is for reading; it pushes to freeze.repository, and elsewhere if "
            "its entry in upstream.credentials says `push: true`"
        )

    async def _login(self, credential: Credential, repository: Repository) -> Login | None:
        if credential.helper:
            server = HUB_KEY if repository.host == DOCKER_HUB else repository.host
            return await self._helpers.ask(credential.helper, server)
        secret = await asyncio.to_thread(_secret_in, Path(credential.password_file))
        return Login(credential.username, secret.strip())


def _longest(credentials: Iterable[Credential], repository: Repository) -> Credential | None:
    by_key = {normal_key(credential.registry): credential for credential in credentials}
    return next((by_key[key] for key in prefixes(repository) if key in by_key), None)


def _secret_in(path: Path) -> str:
    """Return the text of a file that holds a password. Blocks, but never waits for somebody to write one."""
    return plain_files.read(path, SIZE_LIMIT, follow=True)[0].decode()


READ_TIMEOUT = 10.0
"""Seconds that looking at or reading a user's files may take."""

UNSEEN_LIFETIME = 60
"""Seconds after which files are read again that the daemon itself cannot look at (homes on NFS, closed to root)."""


def is_readable(uid: int) -> bool:
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


def fingerprint(uid: int) -> str:
    """Return what changes with the files of `uid`, as far as this process can see; empty if there are none. Blocks."""
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


def read(uid: int) -> list[dict[str, str]]:
    """Read the files of `uid`, in a process that is that user where it is another one. Blocks.

    Returns:
        As `read_auth_files`: for each that is there its `path`, and its `text` or an `error`.
    """
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
        if uid is None or not is_readable(uid):
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
        if uid is None or not is_readable(uid):
            return ""
        return await self._in_time(self._looks, uid, fingerprint, "")

    async def _files(self, uid: int) -> _Read:
        version = await self._in_time(self._looks, uid, fingerprint, _LATE)
        if version == _LATE:
            return _Read("", problems=(f"the auth files of uid {uid} cannot be looked at in time",))
        held = self._held.get(uid)
        if held is None or held.version != version:
            slow = [{"path": f"the auth files of uid {uid}", "error": "they cannot be read in time"}]
            entries = await self._in_time(self._reads, uid, read, slow) if version else []
            held = self._held[uid] = _parsed(version, entries)
        return held

    async def _in_time(
        self, flights: SingleFlight[int, _Value], uid: int, function: Callable[[int], _Value], otherwise: _Value
    ) -> _Value:
        """Run `function` in a thread, one for each user at a time; `otherwise` if it takes too long."""

        async def run() -> _Value:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, uid)

        try:
            async with asyncio.timeout(READ_TIMEOUT):
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
