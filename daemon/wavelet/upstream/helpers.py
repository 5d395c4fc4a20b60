"""Credential helpers: programs `docker-credential-NAME` that are asked for a login (docker-credential-helpers)."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess

import msgspec

from wavelet.plan.identity import Login

HELPER_TIMEOUT = 15.0
"""Seconds that a helper may take; those of clouds ask a server."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_FOUND = b"credentials not found"
_IDENTITY_TOKEN = "<token>"  # noqa: S105 - the protocol's word, not a secret


class HelperError(Exception):
    """The helper is not there, fails or answers nonsense; the message says which, without its output."""


class _Answer(msgspec.Struct, rename="pascal"):
    username: str = ""
    secret: str = ""


def ask(name: str, server: str) -> Login | None:
    """Return the login that the helper has for `server`, None if it has none. Blocks.

    Raises:
        HelperError: see there.
    """
    program = f"docker-credential-{name}"
    if not _NAME.fullmatch(name):
        raise HelperError(f"{name!r} is not a helper's name")
    output, code = _run(program, server)
    if code != 0:
        if _NOT_FOUND in output.lower():
            return None
        raise HelperError(f"{program} fails (exit {code})")
    try:
        answer = msgspec.json.decode(output, type=_Answer)
    except (msgspec.DecodeError, RecursionError):
        raise HelperError(f"{program} answers something that is not a login") from None
    if not answer.secret:
        return None
    return Login("" if answer.username == _IDENTITY_TOKEN else answer.username, answer.secret)


def _run(program: str, server: str) -> tuple[bytes, int]:
    try:
        process = subprocess.Popen(  # noqa: S603 - a program that the site or this daemon's own user named
            [program, "get"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise HelperError(f"{program} cannot be run: {os.strerror(error.errno or 0)}") from None
    with process:
        try:
            output, _ = process.communicate(server.encode(), timeout=HELPER_TIMEOUT)
        except subprocess.TimeoutExpired:
            # Its children, too: they would keep the pipe open.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise HelperError(f"{program} does not answer within {HELPER_TIMEOUT:g} s") from None
        return output, process.returncode
