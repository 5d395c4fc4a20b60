"""The keys under which requests carry who asks."""

from __future__ import annotations

from aiohttp import web

from wavelet.plan.tokens import Identity
from wavelet.requests.access import Caller

CALLER = web.RequestKey("caller", Caller)
"""Who is at the other end, for the registry door."""

IDENTITY = web.RequestKey("identity", Identity)
"""The identity that asks, for the Wave door."""
