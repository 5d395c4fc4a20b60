"""What runs post-link scripts: the seam of container engines, and the talk with the first process of a sandbox.

`in_image/run.sh` is that process, in all engines. It ends when its standard input does, so that no sandbox outlives the
daemon, and answers in lines that begin with a mark, between those that scripts print.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol

from wavelet.engine.limits import Limits, Usage
from wavelet.engine.tree import Tree
from wavelet.errors import EngineFailed
from wavelet.kinds.work import Work
from wavelet.plan.conda import PREFIX, FromLock

OWN = ".wavelet"
"""The directory at a sandbox's root that is the daemon's; `in_image` knows it, too."""

OWN_DIRECTORIES = ("bin", "files", "home", "tmp")
"""What is in it before any file."""

START_SECONDS = 120.0
"""How long a sandbox may take until its first process speaks."""
END_SECONDS = 10.0
"""How long a sandbox may take to end by itself."""

ENVIRONMENT = {"PREFIX": PREFIX, "BASH_ENV": ""}
"""What the first process is given beside the image's environment. Shells in a sandbox run no activation unasked."""

_LINE = 64 * 1024
"""Bytes of a line of output; the rest counts as another line."""
_TURN = 256
"""Lines after which others have their turn, however fast a script prints."""


@dataclass(frozen=True, slots=True)
class Given:
    """A file for a sandbox, as bytes or as a file of this machine; `path` is relative to `OWN`."""

    path: str
    content: bytes | Path
    executable: bool = False


class Engine(Protocol):
    """One way to run scripts in an image.

    Attributes:
        name: as in the setting `conda.engine`.
        remedy: what to install to have it.
    """

    @property
    def name(self) -> str:
        """See above."""

    @property
    def remedy(self) -> str:
        """See above."""

    async def absence(self) -> str:
        """Return why it cannot be used on this node, or nothing."""

    def open(self, image: FromLock, work: Work, limits: Limits) -> AbstractAsyncContextManager[Sandbox]:
        """Give a sandbox of an image, without a network and without privileges; nothing is left of it at the end.

        Of `limits` the engine bounds what it can; see `Sandbox.usage` for the rest.

        Raises:
            EngineFailed: see there.
        """


class Sandbox(Protocol):
    """An image's file system that scripts may change.

    Attributes:
        tree: the prefix in it. It is read before scripts run, and after `settle`.
    """

    tree: Tree

    async def put(self, files: Sequence[Given]) -> None:
        """Add files, before `start`."""

    async def start(self, line: str) -> Console:
        """Let the first process begin its work, which `line` says more of."""

    async def usage(self) -> Usage:
        """Return what the scripts take now, as far as it can be told.

        Raises:
            ScriptFailed: what they write is deeper than what is taken from others.
            EngineFailed: it cannot be told.
        """

    async def settle(self) -> None:
        """See to it that nothing is changed any more."""

    async def outside(self) -> list[str]:
        """Return the absolute paths outside of the prefix that were changed."""


def first_process() -> tuple[str, list[str]]:
    """Return a new mark, and the arguments for bash that make it a sandbox's first process."""
    mark = f"\x1e{secrets.token_hex(8)}"
    return mark, ["-c", program("run.sh").decode(), mark]


def program(name: str) -> bytes:
    """Return one of the programs of `in_image`."""
    return resources.files("wavelet.engine").joinpath("in_image", name).read_bytes()


async def spawn(argv: Sequence[str], directory: Path | None = None) -> asyncio.subprocess.Process:
    """Start the command that starts a sandbox's first process.

    Raises:
        EngineFailed: it cannot be run.
    """
    pipe = asyncio.subprocess.PIPE
    try:
        return await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd=directory)
    except OSError as error:
        raise EngineFailed(f"{argv[0]} cannot be run: {error.strerror}") from None


class Console:
    """The two ends of a sandbox's first process."""

    def __init__(self, process: asyncio.subprocess.Process, mark: str) -> None:
        self._process = process
        self._mark = mark.encode()
        self._buffer = bytearray()
        self._lines = 0
        self._said: deque[bytes] = deque(maxlen=20)
        self._listener = asyncio.create_task(self._listen())

    async def started(self) -> None:
        """Wait until the process speaks.

        Raises:
            EngineFailed: it does not.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                await self.hear()
        except TimeoutError:
            raise EngineFailed(f"bash in the image does not start within {START_SECONDS:g} s") from None

    @property
    def pid(self) -> int:
        """The process of this machine that is, or speaks for, the first one in the sandbox."""
        return self._process.pid

    def kill(self) -> None:
        """Have all processes of the sandbox ended at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()  # the engine's command passes it on

    async def close(self) -> None:
        """End the process, by force if need be."""
        self._input.close()
        try:
            if not await self._ends():
                self.kill()
                await self._ends()
        finally:
            self._listener.cancel()
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await asyncio.shield(self._process.wait())

    async def _ends(self) -> bool:
        try:
            async with asyncio.timeout(END_SECONDS):
                while await self._output.read(_LINE):
                    pass
                await self._process.wait()
        except TimeoutError:
            return False
        return True

    @property
    def _input(self) -> asyncio.StreamWriter:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _output(self) -> asyncio.StreamReader:
        assert self._process.stdout is not None
        return self._process.stdout

    async def say(self, line: str) -> None:
        """Send a line."""
        with contextlib.suppress(ConnectionError):  # it has ended; that shows where it should answer
            self._input.write(f"{line}\n".encode())
            await self._input.drain()

    async def hear(self, print_line: Callable[[str], None] | None = None) -> tuple[str, str]:
        """Return the next word that the process itself says, and what goes with it; lines in between are printed.

        Raises:
            EngineFailed: it has ended.
        """
        while True:
            line = await self._line()
            if line.startswith(self._mark + b" "):
                word, _, rest = line[len(self._mark) + 1 :].decode("utf-8", "replace").partition(" ")
                return word, rest
            text = line.decode("utf-8", "replace").rstrip()
            if text and print_line is not None:
                print_line("".join(letter if letter.isprintable() else " " for letter in text))

    async def _line(self) -> bytes:
        self._lines += 1
        if self._lines % _TURN == 0:
            await asyncio.sleep(0)
        while (end := self._buffer.find(b"\n")) < 0 and len(self._buffer) < _LINE:
            chunk = await self._output.read(_LINE)
            if not chunk:
                raise EngineFailed(await self._last_words())
            self._buffer += chunk
        line = bytes(self._buffer[: end if end >= 0 else _LINE])
        del self._buffer[: end + 1 if end >= 0 else _LINE]
        return line

    async def _last_words(self) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
                await self._listener
        said = b" ".join(self._said).decode("utf-8", "replace").strip()
        return f"bash in the image has ended with {self._process.returncode}{': ' * bool(said)}{said[-2000:]}"

    async def _listen(self) -> None:
        """Take in what the engine itself says."""
        assert self._process.stderr is not None
        while line := await self._process.stderr.read(_LINE):
            self._said.append(line.strip())
