"""Requests forgotten before their time: what a token's owner, or an administrator, may do."""

from __future__ import annotations

from wavelet.cluster.records import Records
from wavelet.errors import AccessRefused
from wavelet.plan.tokens import Identity
from wavelet.requests.access import AccessRules
from wavelet.requests.audit import Audit
from wavelet.requests.history import History
from wavelet.requests.request import SIF_KEY, answer_name
from wavelet.requests.request_cache import RequestCache
from wavelet.requests.served import ServedImages


class Evictions:
    """Forgets requests."""

    def __init__(
        self,
        cache: RequestCache,
        records: Records,
        history: History,
        served: ServedImages,
        rules: AccessRules,
        audit: Audit,
    ) -> None:
        self._cache = cache
        self._records = records
        self._history = history
        self._served = served
        self._rules = rules
        self._audit = audit

    async def evict(self, token: str, identity: Identity, *, door: str) -> None:
        """Forget a request. `door` is by which it is asked, for the audit log.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is not the caller's.
        """
        name = answer_name(token)
        with self._audit.refusals(door=door, uid=identity.uid, name=name):
            cached = await self._cache.look_up(token)
            if not self._rules.may_evict(identity, cached.request.principal):
                raise AccessRefused("only who made a request, root, or the daemon's own user may evict it")
        await self._records.evict(token)
        self._cache.forget(token)
        self._history.forget(token)
        self._served.forget(name)
        self._served.forget(f"{SIF_KEY}{name}")
        if (delivery := cached.request.plan.delivery) is not None and delivery.is_own:
            self._served.frozen.forget(delivery.path, delivery.tag(token))
        self._audit.note("evicted", door=door, uid=identity.uid, name=name, plan=cached.request.plan)
