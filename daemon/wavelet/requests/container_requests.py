"""Container requests: plans that somebody has asked for, under tokens that name them from then on.

Each service here does one thing with them; doors call these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from wavelet.cluster.records import Records
from wavelet.kinds.conda.service import PackageLocks
from wavelet.requests.access import AccessRules
from wavelet.requests.audit import Audit
from wavelet.requests.binding import Bindings
from wavelet.requests.details import RequestDetails
from wavelet.requests.effective_plan import EffectivePlans
from wavelet.requests.evictions import Evictions
from wavelet.requests.history import Decisions, History
from wavelet.requests.listing import Listing
from wavelet.requests.lookup import RequestLookup
from wavelet.requests.naming import RequestKeeper
from wavelet.requests.pulls import RequestPulls
from wavelet.requests.request_cache import RequestCache
from wavelet.requests.served import ServedImages
from wavelet.requests.submissions import Submissions
from wavelet.requests.tracking import RequestTracker
from wavelet.resolve.events import Journals
from wavelet.resolve.resolver import Resolver


@dataclass(frozen=True, slots=True)
class Kept:
    """What a node keeps of requests, of the work for them, and of its decisions about them."""

    records: Records
    cache: RequestCache
    history: History
    served: ServedImages
    journals: Journals
    audit: Audit


@dataclass(frozen=True, slots=True)
class ContainerRequests:
    """All container requests, as one node sees them.

    Attributes:
        submissions: takes requests in.
        decisions: writes down what was decided.
        lookup: finds requests by their tokens.
        tracker: tells how far they are.
        details: tells of them what is not their state.
        pulls: answers engines.
        evictions: forgets requests.
        listing: has what was asked.
    """

    submissions: Submissions
    decisions: Decisions
    lookup: RequestLookup
    tracker: RequestTracker
    details: RequestDetails
    pulls: RequestPulls
    evictions: Evictions
    listing: Listing

    @classmethod
    def build(
        cls,
        resolver: Resolver,
        kept: Kept,
        keeper: RequestKeeper,
        bindings: Bindings,
        rules: AccessRules,
        locks: PackageLocks,
        plans: EffectivePlans,
    ) -> Self:
        """Build the services of a node. `plans` are those that the site makes of what is asked."""
        records, cache, history, served = kept.records, kept.cache, kept.history, kept.served
        decisions = Decisions(kept.audit, history)
        lookup = RequestLookup(cache, history, served, rules)
        return cls(
            Submissions(plans, resolver, keeper, bindings, decisions),
            decisions,
            lookup,
            RequestTracker(lookup, bindings),
            RequestDetails(lookup, records, resolver, locks, kept.journals),
            RequestPulls(cache, records, bindings, resolver),
            Evictions(cache, records, history, served, rules, kept.audit),
            Listing(cache, history),
        )
