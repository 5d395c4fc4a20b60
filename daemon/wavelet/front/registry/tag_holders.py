"""The callers that have the tag of a frozen image. The tag opens the image, as a token does; a digest opens nothing.

What is in an image is asked for by digest, without the tag. So it is known who has asked for the image, and who has
pulled it by its tag since the daemon started; container engines pull for others, and a user's own daemon for that user.
"""

from __future__ import annotations

from cachetools import LRUCache

from wavelet.plan.tokens import Identity
from wavelet.requests.access import AccessRules, Caller
from wavelet.requests.lookup import RequestLookup

HELD = 100_000
"""Pairs of a caller and a token that are remembered; who is forgotten pulls by the tag again."""


class TagHolders:
    """See the module."""

    def __init__(self, rules: AccessRules, lookup: RequestLookup) -> None:
        self._rules = rules
        self._lookup = lookup
        self._held: LRUCache[tuple[int | None, str, str], None] = LRUCache(HELD)

    def note(self, caller: Caller, token: str) -> None:
        """Remember that a caller has pulled by the tag with this token."""
        self._held[_key(caller, token)] = None

    def has(self, caller: Caller, token: str) -> bool:
        """Tell whether a caller has the tag with this token."""
        if _key(caller, token) in self._held or self._rules.pulls_for_others(caller):
            return True
        return caller.uid is not None and self._lookup.has_asked(token, Identity(caller.uid))


def _key(caller: Caller, token: str) -> tuple[int | None, str, str]:
    return caller.uid, caller.login_key, token
