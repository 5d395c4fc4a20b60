"""Container engines by their commands: `docker`, and `podman`, which has taken over its words.

The commands find their engine as they do for the daemon's user, by `DOCKER_HOST`, contexts or containers.conf. Nothing
of this machine is mounted: files go in and out by `cp`, so that an engine on another machine serves as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from wavelet.archive.tar_format import END, TarEntries, padding
from wavelet.engine.architecture import is_emulated, own_platform
from wavelet.engine.console import Console, first_process, spawn
from wavelet.engine.limits import Usage, taken_by
from wavelet.engine.protocol import OWN, OWN_DIRECTORIES, GivenFile, RunImage, Sandbox, SandboxTask, Workspace
from wavelet.engine.tree import CommandTree, Tree
from wavelet.errors import EngineFailed

PROBE_SECONDS = 20.0
"""How long an engine may take to say that it is there."""
PULL_SECONDS = 1200.0
"""How long it may take to pull an image from this daemon, parts that are to be made included."""
COPY_SECONDS = 600.0
"""How long it may take to take files in."""
REMOVE_SECONDS = 60.0
"""How long it may take to remove a container or an image."""

_CHUNK = 256 * 1024
_RIGHTS = ("CHOWN", "DAC_OVERRIDE", "FOWNER")
"""What root in a sandbox may do: unpack archives, as installers do."""

_ENGINES_OWN = tuple(
    f"/{OWN} /.dockerenv /dev /etc/group /etc/hostname /etc/hosts /etc/mtab /etc/passwd /etc/resolv.conf /proc /run"
    " /sys /tmp /usr/bin/which /var/tmp".split()
)
"""What in a container's difference is of no interest."""


@dataclass(frozen=True, slots=True)
class CommandEngine:
    """An engine with a command.

    Attributes:
        name: see `Engine`.
        remedy: see `Engine`.
        program: the command.
        probe: arguments with which it says architecture and kernel of where its containers run, and fails where the
            engine does not work.
        pull: arguments for a registry on this machine that speaks plain http.
        bounds: whether its containers can always be bounded in processes and memory; else what runs is looked at.
    """

    name: str
    remedy: str
    program: str
    probe: tuple[str, ...]
    pull: tuple[str, ...] = ()
    bounds: bool = True

    async def absence(self, architecture: str) -> str:
        """See `Engine`. What an engine on another machine emulates is not known: it is tried."""
        if shutil.which(self.program) is None:
            return f"no {self.program} in PATH"
        try:
            own, _, kernel = (await self._command(PROBE_SECONDS, *self.probe)).strip().partition(" ")
        except EngineFailed as error:
            return error.message
        is_here = kernel == os.uname().release
        if architecture == own or not is_here or await asyncio.to_thread(is_emulated, architecture):
            return ""
        return f"its engine runs programs of {own}, and this node emulates none of {architecture}"

    @contextlib.asynccontextmanager
    async def open(self, image: RunImage, task: SandboxTask, workspace: Workspace) -> AsyncIterator[Sandbox]:
        """See `Engine`."""
        reference = await image.reference()
        container = f"wavelet-{task.purpose}-{secrets.token_hex(6)}"
        mark, arguments = first_process(task.program)
        # An engine takes its own platform for granted, and does not find an image of another one.
        other = () if image.platform == own_platform() else (f"--platform={image.platform}",)
        try:
            await self._command(PULL_SECONDS, "pull", "--quiet", *self.pull, *other, reference)
            console = await self._start(container, reference, arguments, mark, task, other)
            try:
                yield _Container(self, container, console, mark, task.directory)
            finally:
                await console.close()
        finally:
            await asyncio.shield(self._remove(container, reference))

    async def _start(
        self,
        container: str,
        reference: str,
        arguments: Sequence[str],
        mark: str,
        task: SandboxTask,
        more: Sequence[str],
    ) -> Console:
        """Start the container's first process with `more` options, bounded by the engine if it can do that."""
        hard = task.limits.hard
        bounds = (f"--memory={hard.memory}b", f"--memory-swap={hard.memory}b", f"--pids-limit={hard.processes}")
        for given in (bounds,) if self.bounds else (bounds, (f"--ulimit=nproc={hard.processes}",), ()):
            options = [*_run_options(container, task), *more, *given]
            console = Console(await spawn([self.program, "run", *options, reference, *arguments]), mark)
            try:
                await console.wait_until_started()
            except BaseException as error:
                await console.close()
                if not isinstance(error, EngineFailed) or not given or self.bounds:
                    raise
                with contextlib.suppress(EngineFailed):
                    await self._command(REMOVE_SECONDS, "rm", "--force", container)
            else:
                return console
        raise AssertionError("the last way returns or raises")

    async def _remove(self, container: str, reference: str) -> None:
        """Remove what may be left of a container, and its image; its layers stay where other images have them."""
        for arguments in (("rm", "--force", container), ("rmi", reference)):
            with contextlib.suppress(EngineFailed):
                await self._command(REMOVE_SECONDS, *arguments)

    async def _command(self, seconds: float, *arguments: str) -> str:
        return await asyncio.to_thread(command, [self.program, *arguments], seconds)

    async def size_and_pid(self, container: str) -> tuple[int, int]:
        """Return how many bytes a container has more than its image, and its first process where the engine runs."""
        form = "{{.SizeRw}} {{.State.Pid}}"
        size, pid = (await self._command(COPY_SECONDS, "inspect", "--size", "--format", form, container)).split()
        return int(size), int(pid)

    async def changes(self, container: str) -> list[str]:
        """Return the absolute paths that were added, changed or deleted."""
        output = await self._command(COPY_SECONDS, "diff", container)
        return [
            path for kind, _, path in (line.partition(" ") for line in output.splitlines()) if kind in ("A", "C", "D")
        ]

    async def copy(self, container: str, files: Sequence[GivenFile]) -> None:
        """Unpack files into a container."""
        await asyncio.to_thread(command, [self.program, "cp", "-", f"{container}:/"], COPY_SECONDS, files)


def _run_options(container: str, task: SandboxTask) -> list[str]:
    options = ["--rm", "--interactive", "--name", container, "--label", f"wavelet={task.purpose}", "--pull=never"]
    options += ["--network=none", "--user=0:0", "--workdir=/", "--entrypoint=bash", "--log-driver=none"]
    options += ["--security-opt=no-new-privileges", "--cap-drop=ALL", *(f"--cap-add={right}" for right in _RIGHTS)]
    return [*options, *(f"--env={name}={value}" for name, value in task.environment.items())]


class _Container:
    """Its first process runs from the beginning: a container that never began would outlive a daemon that is killed."""

    def __init__(self, engine: CommandEngine, name: str, console: Console, mark: str, directory: str) -> None:
        self._engine = engine
        self._mark = mark.encode()
        self._size = self._pid = 0
        self._next = 0.0
        self._name = name
        self._console = console
        self._directory = directory
        self.tree: Tree = CommandTree((engine.program, "cp"), name, directory)

    async def put(self, files: Sequence[GivenFile]) -> None:
        await self._engine.copy(self._name, files)

    async def start(self, line: str) -> Console:
        await self._console.send_line(line)
        return self._console

    async def usage(self) -> Usage:
        started = time.monotonic()
        if started >= self._next:
            self._size, self._pid = await self._engine.size_and_pid(self._name)
            self._next = time.monotonic() + 2 * (time.monotonic() - started)
        taken = await asyncio.to_thread(_taken_by, self._pid, self._mark)
        return replace(taken, disk=taken.disk + self._size)

    async def settle(self) -> None:
        """Do nothing: the first process has ended all others, and has to live on for the container to be read."""

    async def outside(self) -> list[str]:
        paths = set(await self._engine.changes(self._name))
        parents = {str(parent) for path in paths for parent in Path(path).parents}
        return sorted(path for path in paths - parents if not _is_within(path, (self._directory, *_ENGINES_OWN)))


def _taken_by(pid: int, mark: bytes) -> Usage:
    """Return what a container's processes take; nothing is known of them where the engine is on another machine."""
    try:
        is_here = mark in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        is_here = False
    return taken_by(pid) if is_here else Usage()


def _is_within(path: str, directories: Sequence[str]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in directories)


def command(argv: Sequence[str], seconds: float, files: Sequence[GivenFile] | None = None) -> str:
    """Run an engine's command to its end and return what it prints; `files` go in as a tar. Blocks.

    Raises:
        EngineFailed: it cannot be run, fails, or does not end within `seconds`.
    """
    what = " ".join(argv[:2])
    try:
        with subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if files is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                if files is not None and process.stdin is not None:
                    _send(process.stdin, files)
                output, errors = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                raise EngineFailed(f"{what} does not end within {seconds:g} s") from None
    except OSError as error:
        raise EngineFailed(f"{what} cannot be run: {error.strerror}") from None
    if process.returncode:
        said = errors.decode("utf-8", "replace").strip()[-2000:]
        raise EngineFailed(f"{what} fails ({process.returncode}): {said}")
    return output.decode("utf-8", "replace")


def _send(pipe: IO[bytes], files: Sequence[GivenFile]) -> None:
    with contextlib.suppress(BrokenPipeError):
        for part in _archive(files):
            pipe.write(part)


def _archive(files: Sequence[GivenFile]) -> Iterator[bytes]:
    """Yield a tar of files in `OWN`, with the directories that it has."""
    entries = TarEntries(OWN)
    yield entries.directories(("", *OWN_DIRECTORIES))
    for given in files:
        if isinstance(given.content, bytes):
            size = len(given.content)
            yield entries.file_header(given.path, size, 0, executable=given.executable) + given.content
        else:
            size = given.content.stat().st_size
            yield entries.file_header(given.path, size, 0, executable=given.executable)
            with given.content.open("rb") as opened:
                while chunk := opened.read(_CHUNK):
                    yield chunk
        yield padding(size)
    yield END


DOCKER = CommandEngine(
    "docker",
    "docker, with its engine running and open to the daemon's user",
    "docker",
    ("version", "--format", "{{.Server.Arch}} {{.Server.KernelVersion}}"),
)
PODMAN = CommandEngine(
    "podman",
    "podman",
    "podman",
    ("info", "--format", "{{.Host.Arch}} {{.Host.Kernel}}"),
    pull=("--tls-verify=false",),
    bounds=False,  # without cgroups that are delegated to the user, it refuses to
)
