"""The engine for nodes without one: an image unpacked into a directory, and namespaces that any user may make."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from wavelet import directory_trees
from wavelet.engine.architecture import is_emulated, own_platform
from wavelet.engine.console import Console, first_process, spawn
from wavelet.engine.limits import Usage, taken_by, written_below
from wavelet.engine.overlay import OverlayTree
from wavelet.engine.protocol import OWN, GivenFile, ImageLayers, RunImage, Sandbox, SandboxTask, Workspace
from wavelet.engine.rootfs import add_engine_places, inflated, unpack, unpack_part
from wavelet.engine.tree import DirectoryTree, Tree
from wavelet.errors import EngineFailed
from wavelet.image.reference import Digest

PROBE_SECONDS = 20.0
"""How long the machine may take to show that there are such namespaces."""
LOOK_SECONDS = 5.0
"""How often all that is in the image is counted; more often where the file system has lost the room of it."""

_TRIAL = 1024 * 1024
"""Bytes that an empty sandbox stays under."""

_NOBODY = 1_999_999_999
"""Whom programs run as where the daemon is root: nobody else's number. Outside of namespaces, root would be root."""
_ENTER = str(Path(__file__).with_name("enter.py"))
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OF_NO_INTEREST = (OWN, "dev", "proc", "sys", "tmp", "var/tmp", "usr/bin/which")


@dataclass(frozen=True, slots=True)
class NamespaceEngine:
    """See the module, and `Engine`."""

    name: str = "namespace"
    remedy: str = "user namespaces for unprivileged users (user.max_user_namespaces, and no rule against them)"

    async def absence(self, architecture: str) -> str:
        """See `Engine`."""
        own = own_platform().architecture
        if architecture != own and not await asyncio.to_thread(is_emulated, architecture):
            return f"this node runs programs of {own}, and emulates none of {architecture}"
        return await asyncio.to_thread(_probe)

    @contextlib.asynccontextmanager
    async def open(self, image: RunImage, task: SandboxTask, workspace: Workspace) -> AsyncIterator[Sandbox]:
        """See `Engine`."""
        layers = await image.layers()
        above = layers.above
        async with AsyncExitStack() as stack:
            start = await stack.enter_async_context(_unpacked(layers, image.called, workspace))
            size = await workspace.run(inflated, above, image.called) + task.limits.hard.disk
            async with workspace.scratch(_TRIAL) as trial:
                overlays = await asyncio.to_thread(_overlays, start, trial)
            if not overlays:  # a copy takes longer, and room
                size += await asyncio.to_thread(written_below, start)
            scratch = await stack.enter_async_context(workspace.scratch(size))
            if overlays:
                place = await workspace.run(_lay, above, scratch, _owner(), image.called)
            else:
                place = scratch / "root"
                place.mkdir(0o755)
                await workspace.run(unpack, above, place, _owner(), image.called, start)
            environment = {"PATH": _PATH, **layers.environment, **task.environment}
            sandbox = _Directory(place, start if overlays else None, environment, task)
            try:
                yield sandbox
            finally:
                await sandbox.settle()


def _lay(layers: Sequence[Path], scratch: Path, owner: int | None, image: str) -> Path:
    """Make the directories of an overlay; return where they are. Called in a worker."""
    place = _places(scratch, owner)
    unpack_part(layers, place / "own", owner, image)
    add_engine_places(place / "upper", owner)
    return place


def _places(scratch: Path, owner: int | None) -> Path:
    place = scratch / "place"
    for each in (place, *(place / name for name in ("own", "upper", "work"))):
        each.mkdir(0o755)
        if owner is not None:
            os.chown(each, owner, owner)
    return place


def _overlays(start: Path, trial: Path) -> bool:
    """Tell whether an overlay can be mounted over a directory, as not all kernels and file systems allow. Blocks."""
    try:
        place = _places(trial, _owner())
        add_engine_places(place / "upper", _owner())
        command = _entering(["/nothing"], {}, base=start)
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stderr.startswith("/nothing")


class _Directory:
    """Nothing runs in it while files go in or out: links that an image's own programs make lead nobody astray."""

    def __init__(self, place: Path, base: Path | None, environment: Mapping[str, str], task: SandboxTask) -> None:
        """Take the root, or what `_lay` has made over `base`."""
        root = place if base is None else place / "upper"
        self._place = place
        self._base = base
        self._root = root
        self._environment = environment
        self._task = task
        self._written = _Written(root, task.limits.disk)
        self._console: Console | None = None
        self.tree: Tree = (
            DirectoryTree(root, task.directory)
            if base is None
            else OverlayTree((root, place / "own", base), task.directory)
        )

    async def put(self, files: Sequence[GivenFile]) -> None:
        await asyncio.to_thread(self._put, files)

    async def start(self, line: str) -> Console:
        mark, arguments = first_process(self._task.program)
        await asyncio.to_thread(self._written.begin)
        argv = _entering(["bash", *arguments], self._environment, self._task.limits.hard.processes, self._base)
        process = await spawn(argv, self._place)
        self._console = Console(process, mark)
        await self._console.wait_until_started()
        await self._console.send_line(line)
        return self._console

    async def usage(self) -> Usage:
        assert self._console is not None, "it was started"
        return await asyncio.to_thread(self._usage, self._console.pid)

    def _usage(self, pid: int) -> Usage:
        usage = taken_by(pid)
        try:
            return replace(usage, disk=usage.disk + self._written.size())
        except directory_trees.TooDeep:
            raise
        except OSError as error:
            raise EngineFailed(error.strerror or str(error)) from None

    async def settle(self) -> None:
        if self._console is not None:
            await self._console.close()

    async def outside(self) -> list[str]:
        try:
            return await asyncio.to_thread(lambda: sorted(self._outside()))
        except OSError as error:
            raise EngineFailed(error.strerror or str(error)) from None

    def _put(self, files: Sequence[GivenFile]) -> None:
        for given in files:
            place = self._root / OWN / given.path
            if isinstance(given.content, bytes):
                place.write_bytes(given.content)
            else:
                shutil.copyfile(given.content, place)
            place.chmod(0o755 if given.executable else 0o644)
        mark = self._root / OWN / "began"
        mark.touch()
        self._began = mark.lstat().st_ctime_ns

    def _outside(self) -> Iterator[str]:
        left_out = (*_OF_NO_INTEREST, self._task.directory.strip("/"))
        for entry in directory_trees.walk(self._root, lambda path: path in left_out):
            is_directory = entry.is_dir(follow_symlinks=False)
            if not is_directory and entry.stat(follow_symlinks=False).st_ctime_ns > self._began:
                yield f"/{Path(entry.path).relative_to(self._root)}"


class _Written:
    """How much more is in a directory than at first. All of it is counted seldom, for an image has many files."""

    def __init__(self, root: Path, limit: int) -> None:
        self._root = root
        self._limit = limit
        self._first = self._last = self._free = 0
        self._next = 0.0

    def begin(self) -> None:
        """Take what is there for nothing."""
        self._first = written_below(self._root)
        self._free = _free_bytes(self._root)

    def size(self) -> int:
        """Return how many bytes there are by now, or were a moment ago."""
        started = time.monotonic()
        free = _free_bytes(self._root)
        if started >= self._next or self._free - free >= self._limit - self._last:
            self._last = max(0, written_below(self._root) - self._first)
            self._free = free
            took = time.monotonic() - started
            self._next = started + took + min(LOOK_SECONDS, 10 * took)
        return self._last


def _free_bytes(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


@asynccontextmanager
async def _unpacked(image: ImageLayers, called: str, workspace: Workspace) -> AsyncIterator[Path]:
    """Give the unpacked layers of a base: most images that something is run in have the same."""
    layers = list(image.base.values())
    key = Digest.of(" ".join(image.base).encode()).hex

    async def measure() -> int:
        return await workspace.run(inflated, layers, called)

    async def fill(directory: Path) -> None:
        await workspace.run(unpack_part, layers, directory, _owner(), called)

    async with workspace.tree(key, measure, fill) as directory:
        yield directory


def _entering(
    argv: Sequence[str], environment: Mapping[str, str], processes: int | None = None, base: Path | None = None
) -> list[str]:
    asked = {
        "argv": argv,
        "environment": environment,
        "uid": _owner(),
        "processes": processes,
        "base": base and str(base),
    }
    return [sys.executable, "-I", "-S", _ENTER, msgspec.json.encode(asked).decode()]


def _owner() -> int | None:
    return _NOBODY if os.geteuid() == 0 else None


def _probe() -> str:
    """Return why namespaces cannot be made here, or nothing. Blocks."""
    directory = Path(tempfile.mkdtemp(prefix="wavelet-"))
    try:
        unpack([], directory, _owner(), "")
        command = _entering(["/nothing"], {})
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, check=False, timeout=PROBE_SECONDS
        )
    except (OSError, EngineFailed, subprocess.TimeoutExpired) as error:
        return f"it cannot be tried: {error}"
    finally:
        with contextlib.suppress(OSError):
            directory_trees.remove(directory)
    return "" if done.stderr.startswith("/nothing") else done.stderr.strip()[-500:] or f"it ends with {done.returncode}"
