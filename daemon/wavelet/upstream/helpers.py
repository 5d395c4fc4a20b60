"""Credential helpers: programs `docker-credential-NAME` that are asked for a login (docker-credential-helpers).

One that hangs or fails holds up nobody but who needs its answer, and is not run again for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import msgspec
from cachetools import TLRUCache

from wavelet import foreign_json
from wavelet.concurrency import SingleFlight
from wavelet.foreign_json import ForeignJsonError
from wavelet.plan.tokens import Login

HELPER_TIMEOUT = 15.0
"""Seconds that a helper may take; those of clouds ask a server."""

ANSWER_LIFETIME = 300.0
"""Seconds for which a helper's answer is used again."""

FAILURE_LIFETIME = 60.0
"""Seconds for which a helper that failed is not run again with the same question."""

ANSWER_LIMIT = 1024 * 1024
"""Bytes of a helper's answer; tokens of clouds have some thousands."""

LOOK_INTERVAL = 0.02
"""Seconds between two looks whether a helper has ended."""

THREADS = 16
"""Helpers that run at one time; each waits for another program."""

_HELD = 1000
"""Answers and failures that are remembered at one time."""

_ANY = ""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_FOUND = b"credentials not found"
_NO_USERNAME = "<token>"
"""What helpers say for a user name where the secret is an identity token."""


class HelperError(Exception):
    """The helper is not there, fails or answers nonsense; the message says which, without its output."""


class HelperAway(HelperError):
    """It cannot be run, or does not answer: it is the same for whatever it is asked."""


class _Answer(msgspec.Struct, rename="pascal"):
    username: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True)
class _Remembered:
    login: Login | None
    failure: str
    until: float


class Helpers:
    """Asks helpers off the event loop, each question once at a time, and remembers answers and failures."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "helpers")
        self._remembered: TLRUCache[tuple[str, str], _Remembered] = TLRUCache(
            _HELD, ttu=lambda _question, remembered, _now: remembered.until, timer=time.monotonic
        )
        self._runs: SingleFlight[tuple[str, str], _Remembered] = SingleFlight("credential helper", keep=True)

    async def ask(self, name: str, server: str) -> Login | None:
        """Return the login that the helper has for `server`, None if it has none.

        Raises:
            HelperError: see there; also for a while after it failed.
        """
        known = self._remembered.get((name, _ANY)) or self._remembered.get((name, server))
        if known is None:
            known = await self._runs.run((name, server), lambda: self._run(name, server))
        if known.failure:
            raise HelperError(known.failure)
        return known.login

    async def _run(self, name: str, server: str) -> _Remembered:
        loop = asyncio.get_running_loop()
        about = server
        try:
            login = await loop.run_in_executor(self._threads, ask, name, server)
            found = _Remembered(login, "", time.monotonic() + ANSWER_LIFETIME)
        except HelperError as error:
            about = _ANY if isinstance(error, HelperAway) else server
            found = _Remembered(None, str(error), time.monotonic() + FAILURE_LIFETIME)
        self._remembered[name, about] = found
        return found

    def close(self) -> None:
        """Begin no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


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
        answer = foreign_json.decode(output, _Answer)
    except ForeignJsonError:
        raise HelperError(f"{program} answers something that is not a login") from None
    if not answer.secret:
        return None
    return Login("" if answer.username == _NO_USERNAME else answer.username, answer.secret)


def _run(program: str, server: str) -> tuple[bytes, int]:
    try:
        process = subprocess.Popen(  # noqa: S603 - a program that the site or this daemon's own user named
            [program, "get"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise HelperAway(f"{program} cannot be run: {os.strerror(error.errno or 0)}") from None
    with process:
        try:
            return _conversation(process, server.encode(), time.monotonic() + HELPER_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise HelperAway(f"{program} does not answer within {HELPER_TIMEOUT:g} s") from None
        except OverflowError:
            raise HelperError(f"{program} answers more than {ANSWER_LIMIT} bytes, which is not a login") from None
        finally:
            if process.returncode is None:
                # Its children, too: they would go on, for nobody.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _conversation(process: subprocess.Popen[bytes], question: bytes, until: float) -> tuple[bytes, int]:
    """Ask, and return what a helper says until it ends; a child of it may hold its output open for longer.

    Raises:
        subprocess.TimeoutExpired: it goes on after `until` (`time.monotonic`).
        OverflowError: it says too much.
    """
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both are pipes")
    with contextlib.suppress(BrokenPipeError):  # it does not read what it is asked
        process.stdin.write(question)
        process.stdin.close()
    output = bytearray()
    is_open = True
    readable = select.poll()
    readable.register(process.stdout, select.POLLIN)
    while True:
        has_ended = process.poll() is not None
        # Read once more when it has ended: what it said last is in the pipe by then.
        while is_open and readable.poll(0 if has_ended else LOOK_INTERVAL * 1000):
            block = os.read(process.stdout.fileno(), ANSWER_LIMIT)
            is_open = bool(block)
            output += block
            if len(output) > ANSWER_LIMIT:
                raise OverflowError
            if time.monotonic() > until:
                break
        if has_ended:
            return bytes(output), process.returncode
        if time.monotonic() > until:
            raise subprocess.TimeoutExpired(process.args, HELPER_TIMEOUT)
        if not is_open:
            time.sleep(LOOK_INTERVAL)
