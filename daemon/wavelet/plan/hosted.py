"""Repositories that a node hosts itself, as plans name them: by a host that is nowhere, so that nobody is ever asked.

    local.invalid/local/<path>      what `<authority>/local/<path>` is to whoever asks
    local.invalid/<owner>/<path>    what one owner has pushed; a pin is of these alone, for names are per owner

So whatever is remembered of a repository (who may read it, where bytes are from, what was made of it) is remembered of
one owner's, though several have pushed to one name.
"""

from __future__ import annotations

import re
from dataclasses import replace

from wavelet.image.reference import Reference, Repository
from wavelet.plan.tokens import ANONYMOUS, Principal

HOST = "local.invalid"
"""RFC 2606, 2: it never resolves."""

FIRST = "local"
"""The reserved first component of names."""

_EVERYBODY = "all"
_OWNER = re.compile(r"uid-(0|[1-9][0-9]{0,9})|login-([0-9a-f]{1,64})")


def unowned(path: str) -> Repository:
    """Return what `local/<path>` is to whoever asks."""
    return Repository(HOST, f"{FIRST}/{path}")


def owned(owner: Principal, path: str) -> Repository:
    """Return the repository of an owner at `local/<path>`."""
    return Repository(HOST, f"{_component(owner)}/{path}")


def owner_of(repository: Repository) -> Principal | None:
    """Return the owner of a repository; None for one that is not hosted, or whose owner is not said."""
    if repository.host != HOST:
        return None
    first = repository.path.partition("/")[0]
    if first == _EVERYBODY:
        return ANONYMOUS
    found = _OWNER.fullmatch(first)
    if found is None:
        return None
    return Principal(uid=int(found[1])) if found[1] else Principal(login_key=found[2])


def shown(reference: Reference) -> str:
    """Return a reference as people name it: of a hosted repository without the host that is nowhere."""
    if reference.repository.host != HOST:
        return str(reference)
    return str(replace(reference, repository=Repository(FIRST, path_of(reference.repository))))


def path_of(repository: Repository) -> str:
    """Return what stands behind `local/` in the name of a hosted repository."""
    return repository.path.partition("/")[2]


def _component(owner: Principal) -> str:
    if owner.login_key is not None:
        return f"login-{owner.login_key}"
    return _EVERYBODY if owner.uid is None else f"uid-{owner.uid}"
