"""A walk: the functions and files of wavelet that run for one request, as a profile hook of this process sees them.

It runs with the request: what runs in the context of its connection belongs to it, on the loop, in the tasks that it
begins and in threads. Generated code, imports and what is taken up again after a wait do not count.
"""

from __future__ import annotations

import asyncio
import dis
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from unittest.mock import patch

from aiohttp.web_protocol import RequestHandler

import wavelet

PACKAGE = str(Path(wavelet.__file__).parent) + "/"
GENERATED = f"{PACKAGE}v1/"
PARTS = frozenset({"<module>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"})
"""Code that is no function of its own."""


@dataclass
class Walk:
    """What one request has passed so far.

    Attributes:
        functions: different ones that ran; comprehensions belong to theirs.
        files: different ones that they lie in.
        ways: different pairs of files of which the first calls the second, whatever library stands between.
        changes: how often a call was into another file than the call before it, in each task and thread.
        last: when it last entered a function, by the monotonic clock.
    """

    functions: set[CodeType] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    ways: set[tuple[str, str]] = field(default_factory=set)
    changes: int = 0
    last: float = 0.0
    _at: dict[object, str] = field(default_factory=dict)

    def enter(self, frame: FrameType) -> None:
        """Note that a function of wavelet is entered."""
        self.last = time.monotonic()
        here = _file(frame)
        self.functions.add(frame.f_code)
        self.files.add(here)
        caller = frame.f_back
        while caller is not None and not _counts(caller.f_code):
            caller = caller.f_back
        if caller is not None and _file(caller) != here:
            self.ways.add((_file(caller), here))
        strand = _strand()
        self.changes += self._at.get(strand, here) != here
        self._at[strand] = here


_CURRENT: ContextVar[Walk] = ContextVar("walk")
_EXPECTED: dict[int, Walk] = {}
_SERVE = RequestHandler.start


def expect(port: int, walk: Walk) -> None:
    """Have the connection that comes from a port of this machine be a walk."""
    _EXPECTED[port] = walk


@contextmanager
def recording() -> Iterator[None]:
    """Note the walks of connections to an aiohttp server of this thread, and of threads that begin from now on."""
    threading.setprofile(_hear)
    sys.setprofile(_hear)
    try:
        with patch.object(RequestHandler, "start", _start):
            yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def _start(handler: RequestHandler[Any]) -> None:
    """Serve a connection in the context of its walk, which tasks inherit that it begins."""
    peer = handler.transport and handler.transport.get_extra_info("peername")
    if peer and peer[1] in _EXPECTED:
        _CURRENT.set(_EXPECTED.pop(peer[1]))
    await _SERVE(handler)


def _hear(frame: FrameType, event: str, _: object) -> None:
    walk = _CURRENT.get(None)
    if walk is not None and event == "call" and _counts(frame.f_code) and frame.f_lasti == _entry(frame.f_code):
        walk.enter(frame)


def _file(frame: FrameType) -> str:
    return frame.f_code.co_filename.removeprefix(PACKAGE)


@cache
def _counts(code: CodeType) -> bool:
    name = code.co_filename
    return name.startswith(PACKAGE) and not name.startswith(GENERATED) and code.co_name not in PARTS


@cache
def _entry(code: CodeType) -> int:
    """Return where a frame stands that is entered, not taken up again after a wait."""
    return next(each.offset for each in dis.get_instructions(code) if (each.opname, each.arg) == ("RESUME", 0))


def _strand() -> object:
    """Return the task that runs, or the thread where there is none."""
    try:
        return asyncio.current_task() or threading.get_ident()
    except RuntimeError:
        return threading.get_ident()
