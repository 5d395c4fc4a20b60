"""The library of packs: those of the site and those that wavelet comes with, built in the background as they change.

What is built stays in use until what replaces it is built too: a pack that is broken leaves the last good version, and
says why it is one. Versions that are no longer what their name means are kept for a while, for names that were given
with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import structlog

from wavelet.config import Apply, Settings
from wavelet.config.site import site_directory
from wavelet.defects import defect
from wavelet.errors import BlobNotFound, CallerError, WaitExpired, WaveletError
from wavelet.host.watch import Watcher
from wavelet.image.reference import Digest
from wavelet.packs.builder import PackBuilder, Runs
from wavelet.packs.catalogue import Catalogue, ListedPack
from wavelet.packs.directories import SHIPPED, FoundPack, certificates_of, find_packs, watched_files
from wavelet.packs.fetches import Fetches
from wavelet.packs.fetching import Fetching
from wavelet.packs.kept import KeptPack, PackFiles
from wavelet.packs.locations import read_location
from wavelet.packs.model import Pack, PackPending
from wavelet.packs.spec import PackSpec
from wavelet.plan.node import Layer

FIRST_BUILD = 120.0
"""Seconds that who asks for a pack waits for it to be built, where nothing is known of it yet."""

FIRST_FETCH = 5.0
"""Seconds that who asks for all packs waits for those that are fetched, where nothing is known of them yet."""

BUILT_AGAIN = 5.0
"""Seconds after which who has asked for a damaged layer may ask again."""

AGAIN = 60.0
"""Seconds after which a pack is tried again that could not be built for what may pass."""

LOOK_AGAIN = 3600.0
"""Seconds after which the directories are looked at although nothing seems to have changed."""

log = structlog.get_logger()


class PackLibrary:
    """`wavelet.packs.model.Packs`. All methods are called in the loop's thread."""

    def __init__(
        self, settings: Settings, files: PackFiles, workers: Runs, fetching: Fetching, shipped: Path = SHIPPED
    ) -> None:
        self._files = files
        self._builder = PackBuilder(files, workers)
        self._shipped = shipped
        self._catalogue = Catalogue()
        self._wanted = asyncio.Event()
        self._is_known = False
        self._learnt = asyncio.Event()
        self._fetches = Fetches(fetching, self._wanted.set)
        self._lost: set[Digest] = set()
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: the directory, and for how long versions are kept."""
        directory, keep = site_directory(settings.packs.directory, "packs"), settings.packs.keep

        def apply() -> None:
            self._directory, self._keep = directory, keep
            self._wanted.set()

        return apply

    # -- what there is ------------------------------------------------------------------------------------------------

    def get(self, name: str, version: str | None = None) -> Pack:
        """See `Packs`."""
        if not self._knows(name):
            raise PackPending(name)
        return self._catalogue.get(name, version)

    def _knows(self, name: str) -> bool:
        if self._catalogue.current(name) is not None or name in self._catalogue.problems:
            return True
        return self._is_known and name not in self._fetches.coming

    async def settled(self, names: Iterable[str] | None = None) -> None:
        """Return when something is known of packs: they are built, or cannot be.

        Without names: of all, but for those that are still being fetched after a while, as `listing` says.

        Raises:
            WaitExpired: it takes too long.
        """
        wanted = None if names is None else tuple(names)
        try:
            async with asyncio.timeout(FIRST_BUILD):
                while not (self._is_known if wanted is None else all(map(self._knows, wanted))):
                    await self._learnt.wait()
            if wanted is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FIRST_FETCH):
                        while not all(map(self._knows, self._fetches.coming)):
                            await self._learnt.wait()
        except TimeoutError:
            raise WaitExpired("the packs of this node are still being built; ask again", retry_after=10) from None

    def listing(self) -> list[ListedPack]:
        """Return all packs, also those that cannot be used: sorted by name, of each the newest version first."""
        coming = [
            ListedPack(name, None, str(directory), shipped=False, unused="not in use yet: it is being fetched")
            for name, directory in self._fetches.coming.items()
            if not self._knows(name)
        ]
        return sorted([*self._catalogue.listing(), *coming], key=lambda each: each.name)

    @property
    def problems(self) -> list[str]:
        """Why packs are not what their directories say: a sentence each, with its place."""
        return [each.problem for _, each in sorted(self._catalogue.problems.items()) if each.problem]

    def layer(self, reference: str, file: str) -> Layer | None:
        """Return the layer that a version of a pack, `<name>@<version>`, has under the name of a file."""
        return self._catalogue.layer(reference, file)

    def layer_file(self, digest: Digest) -> Path | None:
        """Return where a layer of a pack lies, whichever it is of; its bytes were compared when this node started.

        Of a file that is gone, or has another size, it is None, and the pack is built again.
        """
        size = self._catalogue.size(digest)
        if size is None or digest in self._lost:
            return None
        if not self._files.is_there(digest, size):
            self.lost(digest)
            return None
        return self._files.path(digest)

    def lost(self, digest: Digest) -> None:
        """Take note that the file of a layer is damaged: packs that have it are built again."""
        if self._catalogue.size(digest) is not None:
            self._lost.add(digest)
            self._wanted.set()

    async def file(self, location: str, digest: Digest) -> Path:
        """Return the file of a layer that a plan has located in a pack.

        Raises:
            BlobNotFound: this node does not have it.
            WaitExpired: it is damaged, and is built again.
        """
        said = read_location(location)
        if said is None:
            raise BlobNotFound(f"{location[:200]!r} is not where a pack has a layer")
        name, _, version = said.reference.partition("@")
        await self.settled([name])
        path = self.layer_file(digest)
        if path is None and digest in self._lost:
            why = f"a layer of the pack {name} is damaged on this node, and is built again; ask again"
            raise WaitExpired(why, retry_after=BUILT_AGAIN)
        if path is None:
            there = ", ".join(sorted({each.pack.reference for each in self._catalogue.kept if each.pack.name == name}))
            raise BlobNotFound(
                f"a layer of the pack {name} is of its version {version}, which this node does not have"
                f" ({f'it has {there}' if there else 'it has no such pack'}); ask for the container again"
            )
        return path

    # -- keeping it so ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Build what there is, and what changes, until this is cancelled."""
        watcher = Watcher(lambda: watched_files((self._directory, self._shipped, certificates_of(self._directory))))
        watching = asyncio.create_task(self._watch(watcher))
        try:
            self._catalogue.take(await self._read())
            while True:
                self._wanted.clear()
                again = await self._looked_at()
                self._is_known = True
                self._wake()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN if again else LOOK_AGAIN):
                        await self._wanted.wait()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await watcher.close()
            await self._fetches.end_all_but(())

    async def _watch(self, watcher: Watcher) -> None:
        while True:
            try:
                await watcher.start()
                self._wanted.set()  # what has changed between the first look and this
                while True:
                    await watcher.changed()
                    self._wanted.set()
            except OSError as error:  # or the time is over
                log.warning("changes of packs are not seen for a while; send SIGHUP after one", because=repr(error))
                await asyncio.sleep(AGAIN)

    async def _read(self) -> list[KeptPack]:
        try:
            return await asyncio.to_thread(self._files.read)
        except OSError as error:
            log.warning("what packs were built before cannot be read", because=str(error))
            return []

    async def _looked_at(self) -> bool:
        """Do as `_refresh`; a defect of it is logged, and it is tried again."""
        try:
            return await self._refresh()
        except Exception:  # noqa: BLE001 - what was built goes on being served
            defect("the look at packs failed by a defect")
            return True

    async def _refresh(self) -> bool:
        """Make what is kept what the directories say; tell whether something is to be tried again soon."""
        await self._let_go_of_lost()
        try:
            found = await asyncio.to_thread(find_packs, self._directory, self._shipped)
        except OSError as error:
            why = f"{self._directory}: {error.strerror}"
            self._catalogue.problems[""] = ListedPack("", None, str(self._directory), shipped=False, problem=why)
            log.warning("the packs cannot be read, and those that there were stay", because=str(error))
            return True
        found = [self._named(each) for each in found]
        again = False
        for each in found:
            again |= await self._attempt(each)
        names = {each.name for each in found}
        unused = {each.name for each in found if each.unused}
        problems = self._catalogue.problems
        for name in problems.keys() - names:
            del problems[name]
        await self._fetches.end_all_but(names)
        await self._keep_only(names - unused)
        return again

    async def _let_go_of_lost(self) -> None:
        """Forget packs whose files are damaged, so that they are built again; earlier versions cannot be."""
        lost, kept = frozenset(self._lost), self._catalogue.kept
        if not lost:
            return
        damaged = [each for each in kept if lost.intersection(layer.layer.digest for layer in each.pack.layers)]
        log.warning("layers of packs are damaged or gone", packs=[each.pack.reference for each in damaged])
        await self._write([each for each in kept if each not in damaged])
        self._lost -= lost

    async def _attempt(self, found: FoundPack) -> bool:
        """Do as `_take`; a defect of it is logged, told, and harms no other pack."""
        try:
            return await self._take(found)
        except Exception:  # noqa: BLE001 - the others are built all the same
            why = defect("a pack cannot be built for a defect", pack=found.name)
            self._note(found, f"{found.directory}: {why.message}")
            return True

    def _named(self, found: FoundPack) -> FoundPack:
        """Return a pack that cannot be read under the name that it had before."""
        if found.spec is not None or not found.problem:
            return found
        here = str(found.directory)
        before = (kept for kept in self._catalogue.kept if kept.left is None and kept.directory == here)
        return replace(found, name=next((kept.pack.name for kept in before), found.name))

    async def _take(self, found: FoundPack) -> bool:
        """Have a pack be what its directory says; tell whether it is to be tried again."""
        if found.unused:
            self._catalogue.problems[found.name] = ListedPack(
                found.name, None, str(found.directory), found.shipped, unused=found.unused
            )
            self._wake()
            return False
        if found.spec is None:
            self._note(found, found.problem)
            return False
        try:
            kept = self._built_before(found) or await self._build(found, found.spec)
            if kept is None:
                return False
            self._catalogue.problems.pop(found.name, None)
            await self._make_current(kept)
        except WaveletError as error:
            self._note(found, error.message)
            return not found.spec.is_offline or not isinstance(error, CallerError)
        except OSError as error:
            self._note(found, f"{found.directory}: {error.strerror}")
            return True
        self._wake()
        return False

    async def _build(self, found: FoundPack, spec: PackSpec) -> KeptPack | None:
        """Build a pack; None: what it is made of is being fetched, and it is tried again when that is there.

        One after the other, and none while the index is written: what is swept is never what is being built.
        """
        if spec.is_offline:
            return await self._builder.build(found, spec, {})
        try:
            fetched = await self._fetches.result(found.directory, found.fingerprint, spec)
            kept = None if fetched is None else await self._builder.build(found, spec, fetched)
        except BaseException:
            await self._fetches.end([spec.name])
            raise
        if kept is not None:
            await self._fetches.end([spec.name])
        return kept

    def _built_before(self, found: FoundPack) -> KeptPack | None:
        for kept in self._catalogue.kept:
            same = kept.fingerprint == found.fingerprint and kept.directory == str(found.directory)
            if same and kept.pack.name == found.name:
                return kept
        return None

    async def _make_current(self, current: KeptPack) -> None:
        kept = self._catalogue.kept
        if current.left is None and current in kept:
            return
        now, name = time.time(), current.pack.name
        rest = [each for each in kept if each.pack != current.pack]
        left = [replace(each, left=now) if each.pack.name == name and each.left is None else each for each in rest]
        await self._write([replace(current, left=None), *left])

    async def _keep_only(self, names: set[str]) -> None:
        """Let go of packs that are no longer there, and of those that have been so for long."""
        now, kept = time.time(), self._catalogue.kept
        left = [each if each.left or each.pack.name in names else replace(each, left=now) for each in kept]
        stay = [each for each in left if each.left is None or each.left + self._keep > now]
        if stay != [*kept]:
            await self._write(stay)

    async def _write(self, kept: list[KeptPack]) -> None:
        self._catalogue.take(kept)
        try:
            await asyncio.to_thread(self._files.write, kept)
        except OSError as error:
            log.warning("what packs there are cannot be written down", because=str(error))

    def _note(self, found: FoundPack, problem: str) -> None:
        # Names of files may be anything.
        problem, directory = (text.encode("utf-8", "replace").decode() for text in (problem, str(found.directory)))
        problems = self._catalogue.problems
        if found.name not in problems or problems[found.name].problem != problem:
            log.warning("a pack cannot be used as it is", pack=found.name, because=problem)
        problems[found.name] = ListedPack(found.name, None, directory, found.shipped, problem)
        self._wake()

    def _wake(self) -> None:
        """Have those look again who wait for packs."""
        learnt, self._learnt = self._learnt, asyncio.Event()
        learnt.set()
