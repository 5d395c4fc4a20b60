"""The seam of container engines: what is run in which image, and the sandbox that it runs in.

An engine knows nothing of what runs: all of it is in the values here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from wavelet.engine.console import Console
from wavelet.engine.limits import Limits, Usage
from wavelet.engine.tree import Tree
from wavelet.image.reference import Digest, Platform

T = TypeVar("T")

OWN = ".wavelet"
"""The directory at a sandbox's root that is the daemon's; programs that are run know it, too."""

OWN_DIRECTORIES = ("bin", "files", "home", "tmp")
"""What is in it before any file."""


@dataclass(frozen=True, slots=True)
class GivenFile:
    """A file for a sandbox, as bytes or as a file of this machine; `path` is relative to `OWN`."""

    path: str
    content: bytes | Path
    executable: bool = False


@dataclass(frozen=True, slots=True)
class ImageLayers:
    """The layers of an image as files of this machine, the lowest first.

    Attributes:
        base: those that many images begin with, by their digests.
        above: all others.
        environment: what the image's configuration sets for its processes.
    """

    base: Mapping[Digest, Path]
    above: Sequence[Path]
    environment: Mapping[str, str]


class RunImage(Protocol):
    """An image that something is run in. An engine asks for what it needs of it, and for nothing else."""

    @property
    def called(self) -> str:
        """What errors call it."""

    @property
    def platform(self) -> Platform:
        """The platform of the programs in it."""

    async def reference(self) -> str:
        """Return a name under which engines on this node pull it."""

    async def layers(self) -> ImageLayers:
        """Return its layers, fetched or made if need be.

        Raises:
            WaveletError: they cannot be had.
        """


@dataclass(frozen=True, slots=True)
class SandboxTask:
    """What is run.

    Attributes:
        purpose: what containers are called and labelled by.
        program: what bash, as the first process, runs: it says `ready` first of all, behind the mark that is its `$0`,
            and ends when its standard input does.
        environment: what it is given beside the image's environment.
        directory: the absolute path of the directory that is read back.
        limits: what may be taken.
    """

    purpose: str
    program: str
    environment: Mapping[str, str]
    directory: str
    limits: Limits


class Workspace(Protocol):
    """What an engine may use of this node."""

    def scratch(self, size: int) -> AbstractAsyncContextManager[Path]:
        """Give an empty directory of its own, with `size` bytes set aside; see `kinds.work`."""

    def tree(
        self, key: str, size: Callable[[], Awaitable[int]], fill: Callable[[Path], Awaitable[None]]
    ) -> AbstractAsyncContextManager[Path]:
        """Give the directory with a key, kept from before or filled now; nobody may change it."""

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function of a module in a worker process; its arguments and its result are pickled."""


class Engine(Protocol):
    """One way to run a program in an image.

    Attributes:
        name: as settings have it.
        remedy: what to install to have it.
    """

    @property
    def name(self) -> str:
        """See above."""

    @property
    def remedy(self) -> str:
        """See above."""

    async def absence(self, architecture: str) -> str:
        """Return why it cannot run programs of an architecture, e.g. `arm64`, on this node, or nothing."""

    def open(self, image: RunImage, task: SandboxTask, workspace: Workspace) -> AbstractAsyncContextManager[Sandbox]:
        """Give a sandbox of an image, without a network and without privileges; nothing is left of it at the end.

        Of the limits the engine bounds what it can; see `Sandbox.usage` for the rest.

        Raises:
            EngineFailed: see there.
        """


class Sandbox(Protocol):
    """An image's file system that what runs in it may change.

    Attributes:
        tree: the task's directory in it. It is read before anything runs, and after `settle`.
    """

    tree: Tree

    async def put(self, files: Sequence[GivenFile]) -> None:
        """Add files, before `start`."""

    async def start(self, line: str) -> Console:
        """Let the first process begin its work, which `line` says more of."""

    async def usage(self) -> Usage:
        """Return what is taken now, as far as it can be told.

        Raises:
            TooDeep: what is written is deeper than what is taken from others.
            EngineFailed: it cannot be told.
        """

    async def settle(self) -> None:
        """See to it that nothing is changed any more."""

    async def outside(self) -> list[str]:
        """Return the absolute paths outside of the task's directory that were changed."""
