"""The list of what was asked of this node, and how far each is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wavelet.plan.tokens import Identity
from wavelet.requests.history import Entry, History
from wavelet.requests.progress import Failed, Running, State
from wavelet.requests.request_cache import RequestCache


@dataclass(frozen=True, slots=True)
class Listed:
    """A request of a user, how far it is, and what is being done for it."""

    entry: Entry
    state: State
    running: Running | None


class Listing:
    """Lists requests. Looking at them begins nothing."""

    def __init__(self, cache: RequestCache, history: History) -> None:
        self._cache = cache
        self._history = history

    def of(self, identity: Identity, *, everybody: bool, limit: int) -> Iterator[Listed]:
        """Yield at most `limit` requests of a user, or of everybody, the latest first."""
        for told in self._history.entries(identity.uid, everybody=everybody, limit=limit):
            if told.entry.refused is not None:
                yield Listed(told.entry, Failed(told.entry.refused.error), None)
                continue
            progress = self._cache.progress(told.entry.token, told.outcome)
            yield Listed(told.entry, progress.seen, progress.running)
