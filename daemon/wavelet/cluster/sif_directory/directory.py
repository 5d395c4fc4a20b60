"""The directory of SIF files as others use it: where a file is to be, whether it is there, and having it there.

Raised by all that waits: `DirectoryUnavailable` and `WaitExpired`, where the directory cannot be used.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import structlog

from wavelet.cluster.shared_directory.directory_io import CHECK_WAIT, IO_WAIT, DirectoryIo
from wavelet.cluster.sif_directory import claim_files, room
from wavelet.cluster.sif_directory.claim_files import Holder, written_name
from wavelet.cluster.sif_directory.claiming import Claiming, Patience
from wavelet.cluster.sif_directory.metrics import PUBLISHED
from wavelet.cluster.sif_directory.names import SifName, private_directory
from wavelet.cluster.sif_directory.room import Rules
from wavelet.cluster.sif_directory.tree import FIELD, Tree, prepare
from wavelet.cluster.sif_directory.writing import Target, Writing
from wavelet.config import Apply, Settings, parse_size
from wavelet.errors import WaveletError
from wavelet.plan.tokens import ANONYMOUS, Principal
from wavelet.upstream.file_ranges import Piece

log = structlog.get_logger()

SWEEP_INTERVAL = 3600.0
"""Seconds between two looks for what crashes have left, and for what is over the limit."""

SLOWEST = 2_000_000
"""Bytes per second that a directory has to take; a slower one counts as one that does not answer."""

CALLED = f"the directory of SIF files ({FIELD})"


@dataclass(frozen=True, slots=True)
class Contents:
    """The bytes of a file.

    Attributes:
        size: their number.
        open: gives them, in order: in memory, or ranges of files that stay open until the next piece is asked for.
    """

    size: int
    open: Callable[[], AbstractAsyncContextManager[AsyncIterator[Piece]]]


class _Opened:
    """One directory, with threads of its own: short work never waits behind copies."""

    def __init__(self, tree: Tree, patience: Patience) -> None:
        self.tree = tree
        self.io = DirectoryIo(tree.root, CALLED)
        self.copies = DirectoryIo(tree.root, CALLED)
        self.claims = Claiming(tree, self.io, patience)
        for each in (self.io, self.copies):
            each.look()

    def close(self) -> None:
        self.io.close()
        self.copies.close()


class SifFile:
    """The place of one file, which may be there or not.

    Attributes:
        path: the same on all nodes.
    """

    def __init__(self, opened: _Opened, rules: Callable[[], Rules], name: SifName, owner: int | None) -> None:
        self._opened = opened
        self._rules = rules
        self._file = name.file
        self._owner = owner
        directory = opened.tree.root if owner is None else opened.tree.root / private_directory(owner)
        self.path: Path = directory / name.file

    async def is_there(self) -> bool:
        """Tell whether there is a file that a daemon has written."""
        return await self._opened.io.run(self._look, False)

    async def use(self) -> bool:
        """Note that the file is used now, for all nodes; tell whether it is there."""
        return await self._opened.io.run(self._look, True)

    def _look(self, use: bool) -> bool:
        with contextlib.suppress(FileNotFoundError), self._opened.tree.holding(self._owner) as directory:
            status = os.stat(self._file, dir_fd=directory, follow_symlinks=False)
            if not self._opened.tree.counts(status, self._owner):
                return False
            if use:
                try:
                    os.utime(self._file, dir_fd=directory, follow_symlinks=False)
                except FileNotFoundError:
                    raise
                except OSError:
                    log.debug("cannot note the use of a SIF file", path=str(self.path))
            return True
        return False

    async def ensure(self, make: Callable[[], Awaitable[Contents]]) -> bool:
        """Have the file there, and used now; tell whether it was written by this call.

        One process of all nodes makes it; the others wait until it is there, or until that one is dead.

        Args:
            make: makes what is to be in it. It is not called where the file is there; what it raises is raised.

        Raises:
            NoSpace: there is no room for it within `sif.limit`, or on the disk; nothing of it is left.
            OurError: what it is made of cannot be read, or has another size.
        """
        if await self.use():
            return False
        async with self._opened.claims.held(self._claim, self.is_there) as holder:
            if holder is not None:
                await self._publish(holder, await make())
                return True
        await self.use()
        return False

    @property
    def _claim(self) -> str:
        return self._file if self._owner is None else f"{self._owner}-{self._file}"

    async def _publish(self, holder: Holder, contents: Contents) -> None:
        """Write the file, and give it its name when it is whole."""
        opened, rules = self._opened, self._rules()
        wait = IO_WAIT + contents.size / SLOWEST
        await opened.io.run(room.make_room, opened.tree, contents.size, rules, self._file, wait=wait)
        target = Target(self._file, self._owner, contents.size)
        name = written_name(self._claim, holder)
        writing = await opened.io.run(Writing, opened.tree, name, target)
        try:
            async with contents.open() as pieces:
                async for piece in pieces:
                    await opened.copies.run(writing.add, piece, wait=wait)
            await opened.copies.run(writing.finish, wait=wait)
        finally:
            # Also when this is cancelled: a thread that still writes ends by it.
            with contextlib.suppress(WaveletError):
                await opened.io.run(writing.drop, wait=CHECK_WAIT)
        PUBLISHED.inc()


class SifDirectory:
    """What `sif.directory` names, if it does. Built with the settings; a reload may name another directory."""

    def __init__(self, settings: Settings, patience: Patience | None = None) -> None:
        """Open the directory, which is made if need be. Blocking: for the start.

        Raises:
            ConfigError: it cannot be used, and why.
        """
        self._patience = patience or Patience()
        self._opened: _Opened | None = None
        self._former: list[_Opened] = []
        self._rules = Rules(0, 0.0)
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`. What is being written to the directory from before comes to its end there."""
        rules = Rules(parse_size(settings.sif.limit, "sif.limit"), settings.sif.lease)
        root = Path(settings.sif.directory) if settings.sif.directory else None
        standing = None if self._opened is None else self._opened.tree.root
        opened = self._opened
        if root != standing:
            opened = None if root is None else _Opened(prepare(root), self._patience)

        def apply() -> None:
            if self._opened is not None and self._opened is not opened:
                self._former.append(self._opened)
            self._opened, self._rules = opened, rules

        return apply

    @property
    def is_set(self) -> bool:
        """Whether there is one."""
        return self._opened is not None

    async def file(self, name: SifName, principal: Principal) -> SifFile | None:
        """Return the place of a file that a principal is to read; None: there is none where it alone could read it.

        Everybody's are everybody's; a user's are in a directory of that user, which is made here if it can be. Of who
        is known by a login alone there is none.
        """
        opened = self._opened
        if opened is None or (principal != ANONYMOUS and principal.uid is None):
            return None
        if principal.uid is not None and not await opened.io.run(opened.tree.make_private, principal.uid):
            return None
        return SifFile(opened, lambda: self._rules, name, principal.uid)

    async def check(self) -> None:
        """Return if there is no directory, or one that can be used.

        Raises:
            WaitExpired, DirectoryUnavailable, NoSpace: it cannot; `sif.directory` is named.
        """
        if self._opened is not None:
            await self._opened.io.check()
            await self._opened.io.run(self._opened.tree.check, wait=CHECK_WAIT)

    async def run(self) -> None:
        """Remove what crashes have left and what is over the limit, now and then, until cancelled."""
        while True:
            if (opened := self._opened) is not None:
                try:
                    await opened.io.run(claim_files.sweep, opened.tree)
                    await opened.io.run(room.keep_within, opened.tree, self._rules, wait=10 * IO_WAIT)
                except WaveletError as error:
                    log.warning("the directory of SIF files could not be tidied", because=error.message)
            await asyncio.sleep(SWEEP_INTERVAL)

    def close(self) -> None:
        """Begin no more."""
        for each in (*self._former, *([self._opened] if self._opened else [])):
            each.close()
