"""The record of what was decided about requests: in the audit log for the site, in the history for who has asked."""

from __future__ import annotations

import time

from wavelet.errors import WaveletError
from wavelet.plan.identity import Identity
from wavelet.plan.node import Node
from wavelet.requests.audit import Audit, decision_of
from wavelet.requests.history import Entry, History, Why
from wavelet.requests.request import About, ContainerRequest, Request, answer_name

IMAGE_LIMIT = 500
"""Characters of what a request asked for that the history has."""


class Decisions:
    """Writes down what was decided."""

    def __init__(self, audit: Audit, history: History) -> None:
        self._audit = audit
        self._history = history

    def accepted(self, request: Request, kept: ContainerRequest, *, ready: bool) -> None:
        """Write down that a request is kept, and whether it is ready."""
        about, identity, plan = request.about, request.identity, request.effective
        self._history.note(_entry(about, identity, kept.token))
        self._audit.note(
            "granted" if ready else "pending",
            door=about.api,
            uid=identity.uid,
            principal=kept.principal,
            name=f"{answer_name(kept.token)}/{plan.label.path}",
            plan=plan,
        )

    def refused(
        self, error: WaveletError, about: About, identity: Identity, token: str = "", plan: Node | None = None
    ) -> None:
        """Write down that a request was refused; of one that cannot be read there is no token and no plan."""
        name = about.image if plan is None else f"{answer_name(token)}/{plan.label.path}"
        self._audit.note(
            decision_of(error), door=about.api, uid=identity.uid, name=name, plan=plan, reason=error.message
        )
        self._history.note(_entry(about, identity, token, Why.of(error)))


def _entry(about: About, identity: Identity, token: str, refused: Why | None = None) -> Entry:
    """Return what the history has of a request that a user makes now."""
    return Entry(
        token=token,
        uid=identity.uid,
        door=about.api,
        image=about.image[:IMAGE_LIMIT],
        at=time.time(),
        notes=about.notes,
        refused=refused,
    )
