"""Auth files of container tools: their format, and how a repository is found in one (containers-auth.json(5)). Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from wavelet import foreign_json
from wavelet.foreign_json import ForeignJsonError
from wavelet.image.reference import DOCKER_HUB, Repository, normalise
from wavelet.plan.tokens import Login

HUB_KEY = "https://index.docker.io/v1/"
"""The name under which docker keeps the login for Docker Hub."""

_LONGEST_KEY = 200


class AuthFileError(ValueError):
    """The text is no auth file; the message says why."""


class _Entry(msgspec.Struct):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""


class _Document(msgspec.Struct, rename={"helpers": "credHelpers", "store": "credsStore"}):
    auths: dict[str, object] | None = None
    helpers: dict[str, object] | None = None
    store: str | None = None


@dataclass(frozen=True, slots=True)
class AskHelper:
    """The login has to be asked of `docker-credential-<name>`, under the key `server`."""

    name: str
    server: str


@dataclass(frozen=True, slots=True)
class AuthFile:
    """One file: what it has for which host or path, keys in normal form (`docker.io/library`).

    `wrong` says which of its entries cannot be used, and why; the others can.
    """

    logins: Mapping[str, Login]
    helpers: Mapping[str, AskHelper]
    store: str
    written: Mapping[str, str]
    wrong: tuple[str, ...] = ()

    def look_up(self, repository: Repository) -> Login | AskHelper | None:
        """Return what the longest key has that is the repository or above it; at the same key a helper goes first."""
        for key in prefixes(repository):
            if key in self.helpers:
                return self.helpers[key]
            if key in self.logins:
                return self.logins[key]
        if not self.store:
            return None
        usual = HUB_KEY if repository.host == DOCKER_HUB else repository.host
        return AskHelper(self.store, self.written.get(repository.host, usual))


def parse(text: str) -> AuthFile:
    """Read an auth file.

    Raises:
        AuthFileError: not JSON, or `auths` and the like are not what they should be as a whole.
    """
    try:
        document = foreign_json.decode(text.encode(), _Document)
    except ForeignJsonError as error:
        raise AuthFileError(f"it is not an auth file ({error})") from None
    logins: dict[str, Login] = {}
    wrong: list[str] = []
    for key, value in (document.auths or {}).items():
        try:
            login = None if value is None else _login(value)
        except AuthFileError as error:
            wrong.append(f"its entry for {key[:_LONGEST_KEY]!r} is left out: {error}")
            continue
        if login is not None:
            logins[normal_key(key)] = login
    named = foreign_json.each_value(document.helpers, str)
    helpers = {normal_key(key): AskHelper(name, key) for key, name in named.items() if name}
    written = {normal_key(key): key for key in document.auths or {}}
    return AuthFile(logins, helpers, document.store or "", written, tuple(wrong))


def prefixes(repository: Repository) -> Iterator[str]:
    """Yield the repository, each path above it, and its host: the keys that stand for it, longest first."""
    name = str(repository)
    while True:
        yield name
        name, slash, _ = name.rpartition("/")
        if not slash:
            return


def normal_key(key: str) -> str:
    """Return a key as host or host and path: docker writes `https://host/v1/` for a host."""
    scheme, separator, rest = key.partition("://")
    bare = (rest if separator else scheme).strip("/")
    host, slash, path = bare.partition("/")
    if path in ("v1", "v2"):
        slash = path = ""
    return normalise(host.lower(), "a/b")[0] + slash + path


def _login(value: object) -> Login | None:
    entry = foreign_json.convert(value, _Entry)
    if entry is None:
        raise AuthFileError("it is not an object with texts")
    if entry.identitytoken:
        return Login("", entry.identitytoken)
    if entry.auth:
        try:
            name, colon, secret = base64.b64decode(entry.auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise AuthFileError("an `auth` member is not the base64 of user:password") from None
        secret = secret.rstrip("\0")
        return Login(name, secret) if colon and name and secret else None
    return Login(entry.username, entry.password) if entry.username and entry.password else None
