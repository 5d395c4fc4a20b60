"""The making of pinned plans: each node once, however many ask, as its kind does it; remembered, and made again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import structlog

from wavelet.errors import BlobNotFound, WaveletError
from wavelet.image.image import Content, Image
from wavelet.kinds.kind import Kinds, Stands
from wavelet.kinds.work import Work
from wavelet.plan.canonical import key as key_of
from wavelet.plan.identity import ANONYMOUS, Identity
from wavelet.plan.node import Node
from wavelet.plan.tree import repositories, walk
from wavelet.resolve.content_sources import MakingSource
from wavelet.resolve.first_made import make_first
from wavelet.resolve.job import HELD, Job, Jobs, account
from wavelet.resolve.journal import Journals, make_key
from wavelet.resolve.memo import Memo
from wavelet.resolve.work import ResolverWork, Tools

log = structlog.get_logger()

MAKE_LIMIT = 3600.0
"""Seconds after which a making job gives up."""


class Making:
    """See the module."""

    def __init__(self, kinds: Kinds, memo: Memo, journals: Journals, tools: Tools, jobs: Jobs) -> None:
        self._kinds = kinds
        self._memo = memo
        self._journals = journals
        self._tools = tools
        self._jobs = jobs
        tools.inputs.contents.add_last(MakingSource(tools.store, self._make_again))

    async def make(
        self,
        plan: Node,
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
        if image is None:
            image = await self._make(plan, key, identity, public, report).result(wait)
        item = self._kinds.of(plan).item(plan)
        if item is not None:
            account().ready(item)
        return image

    def _make(
        self, plan: Node, key: str, identity: Identity, public: bool, report: Callable[[str], None] | None = None
    ) -> Job[Image]:
        # What one identity failed to fetch is no answer for another one.
        holder = ANONYMOUS if public or not any(repositories(plan)) else identity.principal

        async def make() -> Image:
            with self._journal(plan, key, report or _unread) as line:
                work = ResolverWork(self, self._tools, key, identity, public, line)
                try:
                    image = await self._made(plan, work)
                finally:
                    work.close()
                await self._memo.put(key, plan, image)
            return image

        return self._jobs.join("make", (key, holder), make, MAKE_LIMIT)

    async def _made(self, plan: Node, work: Work) -> Image:
        kind = self._kinds.of(plan)
        if kind.stands is Stands.FIRST_MADE:
            return await make_first(kind, plan, work, self._tools.sharing)
        return await kind.make(plan, work)

    @contextlib.contextmanager
    def _journal(self, plan: Node, key: str, report: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
        """Give what takes the log's lines; some kinds have a log of their own."""
        kind = self._kinds.of(plan)
        if not kind.has_log:
            yield report
            return
        line = self._journals.begin(make_key(key))
        doing = account()
        doing.begin("making")
        doing.log(self._journals.lines(make_key(key)))
        doing.want(kind.items(plan))
        try:
            yield line
        except WaveletError as error:
            line(f"failed: {error.message}")
            raise
        finally:
            self._journals.end(make_key(key))

    def journals_of(self, pinned: Node) -> list[str]:
        """Return the keys of the logs of the making of a pinned plan."""
        return list(dict.fromkeys(make_key(key_of(node)) for node in walk(pinned) if self._kinds.of(node).has_log))

    def remembers(self, key: str) -> bool:
        """Tell whether the pinned plan with `key` was made before."""
        return self._memo.get(key) is not None

    @contextlib.contextmanager
    def work_for(self, plan: Node, identity: Identity) -> Iterator[Work]:
        """Give what it takes to look into a pinned plan, without making it."""
        work = ResolverWork(self, self._tools, key_of(plan), identity, False, _unread)
        try:
            yield work
        finally:
            work.close()

    async def read(self, content: Content, identity: Identity) -> bytes:
        """Return a small member of a closure whole: see `ContentSources.read`."""
        return await self._tools.inputs.contents.read(content, identity)

    async def _make_again(self, content: Content, key: str, identity: Identity) -> None:
        plan = self._memo.plan(key)
        if plan is None:
            raise BlobNotFound("what made this is no longer remembered; pull the image by its name again")
        log.info("making again what was evicted", key=key)
        image = await self._make(plan, key, identity, public=False).result()
        digest = content.descriptor.digest
        if self._kinds.of(plan).stands is Stands.FIRST_MADE and digest not in image.closure:
            raise BlobNotFound(
                f"{digest} was lost on this node, and what it is of has other bytes when it is made again; a request "
                "that differs from this one in anything gets an image that is whole"
            )


def _unread(_line: str) -> None:
    """Take a line of a log that nobody can ask for."""
