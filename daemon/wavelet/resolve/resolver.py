"""The resolver: from a plan and an identity to an image, each step once however many ask."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import structlog

from wavelet.errors import BlobNotFound, CallerError, Internal, NoSpace, UpstreamError, WaveletError
from wavelet.image.digest import Digest
from wavelet.image.image import Content, FromUpstream, Image, MadeBy
from wavelet.image.manifest import MANIFEST_LIMIT
from wavelet.image.platform import Platform
from wavelet.image.reference import Repository
from wavelet.make.conda.libc import Libc
from wavelet.pin.access import Access
from wavelet.pin.conda.pinner import CondaPinner
from wavelet.pin.tags import Pinned, Pinner
from wavelet.plan.canonical import key as key_of
from wavelet.plan.conda import FromConda, FromLock, LibcOf
from wavelet.plan.identity import Identity
from wavelet.plan.plan import Base, Plan, layers, map_parts, parts, sources
from wavelet.plan.source import FromRegistry
from wavelet.plan.tokens import ANONYMOUS
from wavelet.resolve.contents import Contents, count
from wavelet.resolve.job import HELD, Job, Jobs
from wavelet.resolve.journal import Journals, make_key, solve_key
from wavelet.resolve.layers import Layers
from wavelet.resolve.lock_files import LockForm, written
from wavelet.resolve.makers import Makers
from wavelet.resolve.memo import Memo
from wavelet.resolve.work import ResolverWork, Tools
from wavelet.store.content import Blob, Committed, ContentStore
from wavelet.store.growing import Growing
from wavelet.upstream.client import Upstream
from wavelet.upstream.credentials import Logins

log = structlog.get_logger()

PIN_LIMIT = 120.0
"""Seconds after which a pin's job gives up."""

SOLVE_LIMIT = 600.0
"""Seconds after which a solve's job gives up: it may take in large indexes and find out what the base image has."""

MAKE_LIMIT = 3600.0
"""Seconds after which a making job gives up."""


class Resolver:
    """See the module."""

    def __init__(
        self,
        store: ContentStore,
        upstream: Upstream,
        logins: Logins,
        pinner: Pinner,
        access: Access,
        contents: Contents,
        named: Layers,
        memo: Memo,
        conda: CondaPinner,
        journals: Journals,
        tools: Tools,
        makers: Makers,
    ) -> None:
        self._store = store
        self._upstream = upstream
        self._logins = logins
        self._pinner = pinner
        self._access = access
        self._contents = contents
        self._layers = named
        self._memo = memo
        self._conda = conda
        self._journals = journals
        self._tools = tools
        self._makers = makers
        self._jobs = Jobs()

    async def close(self) -> None:
        """End all jobs."""
        await self._jobs.close()

    # -- pin ----------------------------------------------------------------------------------------------------------

    def fresh(self, plan: Plan, identity: Identity) -> Pinned | None:
        """Return the pinned plan if nobody has to be asked for it."""
        pinned = self._pinner.fresh(plan, identity)
        if pinned is None or isinstance(plan, FromRegistry):
            return pinned
        locks = {asked: self._conda.fresh(asked) for asked in parts(plan) if isinstance(asked, FromConda)}
        known = {asked: lock for asked, lock in locks.items() if lock is not None}
        return _locked(plan, pinned, known) if len(known) == len(locks) else None

    async def pin(self, plan: Plan, identity: Identity, *, refresh: bool = False) -> Job[Pinned]:
        """Start to pin `plan`, or join those who do. With `refresh` its packages are solved for anew.

        Raises:
            WaveletError: it has just failed.
        """
        # A new login makes it a new question, whatever the last answer was.
        version = await self._logins.version(identity)
        key = (key_of(plan), identity.principal, version, refresh)
        limit = SOLVE_LIMIT if any(isinstance(part, FromConda) for part in parts(plan)) else PIN_LIMIT
        return self._jobs.join("pin", key, lambda: self._pin(plan, identity, refresh), limit)

    async def _pin(self, plan: Plan, identity: Identity, refresh: bool) -> Pinned:
        pinned = await self._pinner.pin(plan, identity)
        locks: dict[FromConda, FromLock] = {}
        for asked, fixed in zip(parts(plan), parts(pinned.plan), strict=True):
            if isinstance(asked, FromConda) and asked not in locks:
                lock = None if refresh else self._conda.fresh(asked)
                locks[asked] = lock or await self._solve(asked, fixed, identity, pinned.public, refresh)
        return _locked(plan, pinned, locks)

    async def _solve(self, asked: FromConda, fixed: Base, identity: Identity, public: bool, refresh: bool) -> FromLock:
        assert isinstance(fixed, FromConda)
        base = fixed.base

        async def libc_of_base() -> Libc:
            plan = LibcOf(base)
            image = await self.make(plan, key_of(plan), identity, public, wait=SOLVE_LIMIT)
            return Libc.decode(await self.read(image.closure[image.descriptor.digest], identity))

        async def solve() -> FromLock:
            key = solve_key(asked)
            try:
                report = self._journals.begin(key)
                return await self._conda.pin(asked, base, libc_of_base, report, refresh=refresh)
            except WaveletError as error:
                report(f"failed: {error.message}")
                raise
            finally:
                self._journals.end(key)

        # Many plans may have the same packages in common.
        return await self._jobs.join("solve", (key_of(asked), refresh), solve, SOLVE_LIMIT).result(SOLVE_LIMIT)

    async def prepare(self, plan: Plan, identity: Identity) -> Job[Pinned]:
        """Start to pin `plan` and to verify the layers that it names, or join those who do.

        Raises:
            WaveletError: it has just failed.
        """
        version = await self._logins.version(identity)
        key = (key_of(plan), identity.principal, version)
        return self._jobs.join("prepare", key, lambda: self._prepare(plan, identity), MAKE_LIMIT)

    async def _prepare(self, plan: Plan, identity: Identity) -> Pinned:
        verifying = (self._layers.verified(layer) for layer in layers(plan))
        pinned, *rest = await asyncio.gather(self._looked_at(plan, identity), *verifying, return_exceptions=True)
        errors = [each for each in (pinned, *rest) if isinstance(each, BaseException)]
        # A definite no of one part stands, whatever the others are still waiting for.
        for error in sorted(errors, key=lambda each: not isinstance(each, CallerError)):
            raise error
        assert isinstance(pinned, Pinned)
        return pinned

    async def _looked_at(self, plan: Plan, identity: Identity) -> Pinned:
        pinned = self.fresh(plan, identity) or await (await self.pin(plan, identity)).result()
        for leaf in sources(pinned.plan):
            # Manifests only, no blobs: it shows whether the image is there for the platform that is asked for.
            await self.make(leaf, key_of(leaf), identity, pinned.public, wait=MAKE_LIMIT)
        if _is_built(pinned.plan):
            await self.make(pinned.plan, key_of(pinned.plan), identity, pinned.public, wait=MAKE_LIMIT)
        return pinned

    def prepared(self, plan: Plan, identity: Identity) -> Pinned | None:
        """Return the pinned plan if nothing is left to do for `prepare`."""
        pinned = self.fresh(plan, identity)
        if pinned is None or any(self._memo.get(key_of(leaf)) is None for leaf in sources(pinned.plan)):
            return None
        if _is_built(pinned.plan) and self._memo.get(key_of(pinned.plan)) is None:
            return None
        return pinned if all(self._layers.known_size(layer) is not None for layer in layers(plan)) else None

    # -- make ---------------------------------------------------------------------------------------------------------

    async def realise(self, plan: Plan, identity: Identity) -> tuple[str, Image]:
        """Pin and make `plan`; return the key of the pinned plan and its image.

        Raises:
            WaveletError: why there is no image for this identity.
        """
        pinned = self.fresh(plan, identity) or await (await self.pin(plan, identity)).result()
        key = key_of(pinned.plan)
        return key, await self.make(pinned.plan, key, identity, pinned.public)

    async def make(
        self,
        plan: Plan,
        key: str,
        identity: Identity,
        public: bool = False,
        *,
        wait: float = HELD,
        report: Callable[[str], None] | None = None,
    ) -> Image:
        """Return the image of a pinned plan that `identity` may read, waiting for at most `wait` seconds.

        `report` takes the lines of the log that this making is a part of.

        Raises:
            WaveletError: why there is none.
        """
        image = self._memo.get(key)
        if image is not None:
            return image
        return await self._make(plan, key, identity, public, report).result(wait)

    def _make(
        self, plan: Plan, key: str, identity: Identity, public: bool, report: Callable[[str], None] | None = None
    ) -> Job[Image]:
        # What one identity failed to fetch is no answer for another one.
        holder = ANONYMOUS if public or not any(sources(plan)) else identity.principal

        async def make() -> Image:
            with self._journal(plan, key, report or _unread) as line:
                work = ResolverWork(self, self._tools, key, identity, public, line)
                try:
                    image = await self._makers[type(plan)](plan, work)
                finally:
                    work.close()
                await self._memo.put(key, plan, image)
            return image

        return self._jobs.join("make", (key, holder), make, MAKE_LIMIT)

    @contextlib.contextmanager
    def _journal(self, plan: Plan, key: str, report: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
        """Give what takes the log's lines; an image of packages has a journal of its own."""
        if not isinstance(plan, FromLock):
            yield report
            return
        line = self._journals.begin(make_key(key))
        try:
            yield line
        except WaveletError as error:
            line(f"failed: {error.message}")
            raise
        finally:
            self._journals.end(make_key(key))

    def log(self, plan: Plan, identity: Identity) -> str:
        """Return what is noted of the solving and making of a plan's packages, of the latest attempts."""
        pinned = self.fresh(plan, identity)
        keys = [solve_key(part) for part in parts(plan) if isinstance(part, FromConda)]
        made = [] if pinned is None else parts(pinned.plan)
        keys += [make_key(key_of(part)) for part in made if isinstance(part, FromLock)]
        return "".join(text for key in dict.fromkeys(keys) if (text := self._journals.read(key)))

    async def lock_file(self, plan: Plan, identity: Identity, form: LockForm, platform: Platform | None) -> str | None:
        """Return the packages that a plan is pinned to as a lock file; None if it has none, or is not pinned.

        Of several platforms it is the one that is named, else the first one.

        Raises:
            WaveletError: what the form needs to know of the packages cannot be had.
        """
        pinned = self.fresh(plan, identity)
        made = () if pinned is None else parts(pinned.plan)
        locks = [lock for lock in made if isinstance(lock, FromLock) and platform in (None, lock.platform)]
        if pinned is None or not locks:
            return None
        work = ResolverWork(self, self._tools, key_of(locks[0]), identity, pinned.public, _unread)
        try:
            return await written(locks[0], form, work)
        finally:
            work.close()

    # -- content ------------------------------------------------------------------------------------------------------

    async def may_read(self, image: Image, identity: Identity) -> None:
        """Return if `identity` may read every repository that an image's content comes from.

        Raises:
            AccessRefused: it may not.
            UpstreamError: an upstream does not say, and has not said before.
        """
        for repository in image.upstreams:
            if not self._access.standing(repository, identity):
                await self._access.require(repository, identity)

    async def open(self, content: Content, identity: Identity) -> Blob:
        """Return a member of a closure: from the store, or on its way from its source, or made again.

        Raises:
            WaveletError: it cannot be had.
        """
        blob = self._contents.find(content)
        if blob is not None:
            count(content.source, "hit" if isinstance(blob, Committed) else "joined")
            return blob
        if not isinstance(content.source, MadeBy):
            count(content.source, "fetched")
            return await self._contents.fetch(content, identity)
        count(content.source, "made")
        await self._remake(content.source.key, identity)
        blob = self._contents.find(content)
        if blob is None:
            raise Internal(f"making {content.source.key} again did not give {content.descriptor.digest}")
        return blob

    async def size_unnamed(self, repository: Repository, digest: Digest, identity: Identity) -> int | None:
        """Return the size of a blob that no manifest known here names, if the upstream says that it is there.

        Raises:
            BlobNotFound: it is not.
            WaveletError: why that cannot be told.
        """
        try:
            size, _ = await self._upstream.blob_size(repository, digest, identity)
        except UpstreamError:
            await self._access.require(repository, identity)
            blob = self._store.find(digest, FromUpstream(repository).origin)
            if blob is None:
                raise
            return blob.size
        return size

    async def open_unnamed(self, repository: Repository, digest: Digest, size: int | None, identity: Identity) -> Blob:
        """Return a blob that `size_unnamed` has found."""
        blob = self._store.find(digest, FromUpstream(repository).origin)
        return blob or await self._contents.fetch_unnamed(repository, digest, size, identity)

    async def read(self, content: Content, identity: Identity) -> bytes:
        """Return a small member of a closure whole.

        Raises:
            WaveletError: it cannot be had, or is larger than a document may be.
        """
        if content.descriptor.size > MANIFEST_LIMIT:
            raise BlobNotFound(
                f"{content.descriptor.digest} is too large for a document: {content.descriptor.size} bytes"
            )
        digest, origin = content.descriptor.digest, content.source.origin
        data = await self._store.read(digest, origin)
        if data is None:
            blob = await self.open(content, identity)
            if isinstance(blob, Growing):
                await blob.wait_committed()
            data = await self._store.read(digest, origin)
        if data is None:
            raise NoSpace(
                f"{digest} was evicted before it could be read; the store is too small for what is asked of it"
            )
        return data

    async def _remake(self, key: str, identity: Identity) -> None:
        plan = self._memo.plan(key)
        if plan is None:
            raise BlobNotFound("what made this is no longer remembered; pull the image by its name again")
        log.info("making again what was evicted", key=key)
        await self._make(plan, key, identity, public=False).result()


def _locked(plan: Plan, pinned: Pinned, locks: Mapping[FromConda, FromLock]) -> Pinned:
    """Return the pinned plan with locks, on their pinned bases, in place of the packages that were asked for."""
    fixed: dict[Base, Base] = {
        part: replace(locks[asked], base=part.base)
        for asked, part in zip(parts(plan), parts(pinned.plan), strict=True)
        if isinstance(asked, FromConda) and isinstance(part, FromConda)
    }
    return replace(pinned, plan=map_parts(pinned.plan, lambda part: fixed.get(part, part)))


def _is_built(plan: Plan) -> bool:
    """Tell whether something has to be built for it that could turn out not to be possible."""
    return any(isinstance(part, FromLock) for part in parts(plan))


def _unread(_line: str) -> None:
    """Take a line of a log that nobody can ask for."""
