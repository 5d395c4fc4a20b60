"""What a name has given, in the audit log: manifests in the registry, and SIF files, which are manifests there."""

from __future__ import annotations

from typing import Literal

from aiohttp import web

from wavelet.front.keys import CALLER
from wavelet.front.registry.scope import Scope
from wavelet.image.reference import Digest
from wavelet.requests.audit import Audit


def note_granted(
    audit: Audit, door: Literal["registry", "sif"], request: web.Request, scope: Scope, digest: Digest
) -> None:
    """Write down that a caller was given what a name answers."""
    audit.note(
        "granted",
        door=door,
        uid=request[CALLER].uid,
        principal=scope.identity.principal,
        name=scope.name,
        plan=scope.plan,
        digest=str(digest),
        upstreams=scope.upstreams,
    )
