"""The user's own login for a registry, from auth files and credential helpers, read and run as this user."""

from __future__ import annotations

import os

from wavelet.errors import AccessRefused
from wavelet.image.reference import Repository
from wavelet.plan.tokens import Login
from wavelet.upstream import auth_files, helpers, read_auth_files
from wavelet.upstream.auth_files import AskHelper, AuthFileError
from wavelet.upstream.credential_sources import paths_of
from wavelet.upstream.helpers import HelperError


def user_login(registry: str) -> tuple[Login, str]:
    """Return the first login there is for a registry (its host, or host and path), and the file that led to it.

    Raises:
        AccessRefused: there is none; the message names what was looked at, and what cannot be used.
    """
    host, _, path = auth_files.normal_key(registry).partition("/")
    repository, seen, wrong = Repository(host, path), [], []
    for file in paths_of(os.geteuid()):
        entry = read_auth_files.read(file, os.geteuid())
        if entry is None:
            continue
        seen.append(file)
        try:
            login = _in_file(entry, repository)
        except (AuthFileError, HelperError) as error:
            wrong.append(f"{file}: {error}")
            continue
        if login is not None:
            return login, file
    looked = f" ({', '.join(seen)} have none)" if seen and not wrong else "".join(f"; {each}" for each in wrong)
    raise AccessRefused(
        f"you have no login for {registry} on this machine{looked}; give one with --username NAME, "
        "or log in with your container engine first"
    )


def _in_file(entry: dict[str, str], repository: Repository) -> Login | None:
    if "error" in entry:
        raise AuthFileError(entry["error"])
    parsed = auth_files.parse(entry["text"])
    found = parsed.look_up(repository)
    if found is None and parsed.wrong:
        raise AuthFileError("; ".join(parsed.wrong))
    return helpers.ask(found.name, found.server) if isinstance(found, AskHelper) else found
