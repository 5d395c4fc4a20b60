"""The daemon's plain HTTP as commands call it: bytes come from there, for they are no messages of gRPC."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from msgspec import Struct, field

from wavelet.client.budget import ANSWER_LIMIT
from wavelet.errors import (
    AccessRefused,
    InvalidRequest,
    NoSpace,
    NotFound,
    OurError,
    UpstreamBroken,
    UpstreamUnreachable,
    WaitExpired,
    WaveletError,
)
from wavelet.foreign_json import ForeignJsonError, decode

SILENCE_LIMIT = 900.0
"""Seconds without a byte, or before an answer begins, after which a connection counts as broken: what is asked for is
made meanwhile, and the daemon waits no longer itself."""

BODY_LIMIT = 64 * 1024
"""Bytes of an error that are read."""

PAUSE = 1.0
"""Seconds before asking again, where the daemon does not say."""

BROKEN = (OSError, http.client.HTTPException)
"""What a connection fails with."""


class _Entry(Struct):
    message: str = ""


class _Said(Struct):
    """An error of any of the doors: Wave's have the sentence itself, the registry's a list."""

    message: str = ""
    errors: list[_Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DaemonHttp:
    """How a daemon is called.

    Attributes:
        address: `HOST:PORT`.
        deadline: when all has to be done (`time.monotonic`); None: whenever it is.
    """

    address: str
    deadline: float | None = None

    @contextlib.contextmanager
    def get(self, path: str, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        """Ask for a path, and give an answer of 200, 206 or 416; a daemon that says "not now" is asked again.

        Raises:
            WaveletError: it answers an error.
            OSError, http.client.HTTPException: it does not answer, or breaks off.
        """
        end = time.monotonic() + ANSWER_LIMIT if self.deadline is None else self.deadline
        while True:
            connection = http.client.HTTPConnection(self.address, timeout=self.seconds())
            with contextlib.closing(connection):
                connection.request("GET", path, headers=dict(headers))
                with connection.getresponse() as answer:
                    if answer.status in (200, 206, 416):
                        yield answer
                        return
                    error = _error(answer)
            pause = PAUSE if error.retry_after is None else max(error.retry_after, PAUSE)
            if not isinstance(error, WaitExpired) or time.monotonic() + pause > end:
                raise error
            time.sleep(pause)

    def seconds(self) -> float:
        """Return for how many seconds the next bytes are waited for.

        Raises:
            WaitExpired: there is no more time.
        """
        left = SILENCE_LIMIT if self.deadline is None else min(SILENCE_LIMIT, self.deadline - time.monotonic())
        if left <= 0:
            raise WaitExpired("the time that was given is over (--timeout); the same command goes on from here")
        return left


def _error(answer: http.client.HTTPResponse) -> WaveletError:
    """Return what an answer means: whose fault it is, and whether asking again is right."""
    message = _message(answer.read(BODY_LIMIT)) or f"HTTP {answer.status} {answer.reason}"
    after = answer.getheader("Retry-After", "")
    retry_after = float(after) if after.isdecimal() and len(after) < 6 else None
    if answer.status == 503:
        return WaitExpired(message, retry_after=retry_after)
    kinds: dict[int, type[WaveletError]] = {403: AccessRefused, 404: NotFound, 502: UpstreamBroken, 507: NoSpace}
    kinds[504] = UpstreamUnreachable
    kind = kinds.get(answer.status, InvalidRequest if 400 <= answer.status < 500 else OurError)
    return kind(message)


def _message(body: bytes) -> str:
    try:
        said = decode(body, _Said)
    except ForeignJsonError:
        return body.decode("utf-8", "replace").strip().partition("\n")[0][:1000]
    return said.message or next((entry.message for entry in said.errors if entry.message), "")
