"""The services of hosted repositories, built together over one database."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import Self

from wavelet.cluster.claims import Claims
from wavelet.config import Apply, Settings, parse_size
from wavelet.hosted import policy
from wavelet.hosted.holdings import Holdings
from wavelet.hosted.images import HostedImages
from wavelet.hosted.notes import PushNotes
from wavelet.hosted.pushes import HostedPushes
from wavelet.hosted.tables import Tables
from wavelet.hosted.uploads import Uploads
from wavelet.image.reference import Digest
from wavelet.store.content import ContentStore
from wavelet.store.database import Database


def kept_in(database: Database) -> dict[Digest, set[str]]:
    """Return what hosted repositories have, each with its origins: what the store keeps the files of."""
    found: dict[Digest, set[str]] = {}
    for repository, digest, _ in Tables(database).contents():
        found.setdefault(digest, set()).add(repository.source.origin)
    return found


@dataclass(slots=True)
class HostedServices:
    """See the module. For the loop's thread.

    Attributes:
        images: for those who read.
        pushes: for those who push and delete.
        uploads: what is on its way.
        holdings: how much there is.
        tables: the rows.
        store: has the content.
    """

    images: HostedImages
    pushes: HostedPushes
    uploads: Uploads
    holdings: Holdings
    tables: Tables
    store: ContentStore
    _pushes: policy.Pushes = "auto"
    _limit: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    def of(cls, database: Database, store: ContentStore, claims: Claims, settings: Settings) -> Self:
        """Build them, and hold in the store what they have; the database's owner closes it."""
        tables, notes = Tables(database), PushNotes(claims, settings.state_directory)
        holdings = Holdings(store.retention, lambda: services.limit)
        pushes = HostedPushes(database, tables, store, holdings, notes)
        uploads = Uploads(store, holdings, pushes)
        services = cls(HostedImages(tables, store, notes), pushes, uploads, holdings, tables, store)
        services.configure(settings)()
        for _, digest, size in tables.contents():
            holdings.add(digest, size)
        return services

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: who may push, and how much there may be."""
        limit = parse_size(settings.hosted.limit, "hosted.limit") if settings.hosted.limit else 0

        def apply() -> None:
            self._pushes, self._limit = settings.hosted.pushes, limit

        return apply

    @property
    def limit(self) -> int:
        """Most bytes of what was pushed."""
        return self._limit or self.store.limit // 2

    def check_pusher(self, uid: int | None, *, hidden: bool) -> None:
        """Return if a caller may push and delete: see `policy.check_pusher`.

        Raises:
            AccessRefused: it may not.
        """
        policy.check_pusher(self._pushes, os.geteuid(), uid, hidden=hidden)

    def expire(self) -> None:
        """Begin to let go of what is not used any more."""
        self.uploads.expire()
        task = asyncio.create_task(self.pushes.expire(), name="expire hosted repositories")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pushes.close()
        self.uploads.close()
