"""The talk with the first process of a sandbox, over its standard input and output.

The program that it runs is the same in all engines. It ends when its standard input does, so that no sandbox outlives
the daemon, and answers in lines that begin with a mark, between those that it prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from wavelet.errors import EngineFailed

START_SECONDS = 120.0
"""How long a sandbox may take until its first process speaks."""
END_SECONDS = 10.0
"""How long a sandbox may take to end by itself."""

_LINE = 64 * 1024
"""Bytes of a line of output; the rest counts as another line."""
_TURN = 256
"""Lines after which others have their turn, however fast a program prints."""


def first_process(program: str) -> tuple[str, list[str]]:
    """Return a new mark, and the arguments for bash that make it a sandbox's first process, running `program`."""
    mark = f"\x1e{secrets.token_hex(8)}"
    return mark, ["-c", program, mark]


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

    async def wait_until_started(self) -> None:
        """Wait until the process speaks.

        Raises:
            EngineFailed: it does not.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                await self.read_word()
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

    async def send_line(self, line: str) -> None:
        """Send a line."""
        with contextlib.suppress(ConnectionError):  # it has ended; that shows where it should answer
            self._input.write(f"{line}\n".encode())
            await self._input.drain()

    async def read_word(self, print_line: Callable[[str], None] | None = None) -> tuple[str, str]:
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
