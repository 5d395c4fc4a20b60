"""The policy of hosted repositories: who may push, how much there may be, and what goes by itself. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from wavelet.errors import AccessRefused, NoSpace
from wavelet.image.reference import Digest
from wavelet.plan.hosted import FIRST
from wavelet.quantities import size as size_of

Pushes = Literal["auto", "on", "off"]

UNTAGGED_LIFETIME = 30 * 86400.0
"""Seconds after its last use for which a manifest is kept that no tag leads to any more."""

UNNAMED_LIFETIME = 86400.0
"""Seconds for which a blob is kept that no manifest names: a push sends the manifest last."""


def check_pusher(pushes: Pushes, daemon_uid: int, uid: int | None, *, hidden: bool = False) -> None:
    """Return if a caller may push, and delete what was pushed.

    Args:
        pushes: the setting.
        daemon_uid: as whom the daemon runs.
        uid: the caller's; None: the daemon cannot tell whose the connection is.
        hidden: whether it is on this node and cannot be told from others there (`wavelet.requests.access.Caller`).

    Raises:
        AccessRefused: it may not, and which setting says so.
    """
    if pushes == "off":
        raise AccessRefused("this node takes no pushes: `hosted.pushes` is off", field="hosted.pushes")
    if pushes == "auto":
        _check_own(daemon_uid, uid)
    if hidden:
        # Else any user could, by a header or by a mirror to this very daemon, change what belongs to everybody.
        raise AccessRefused(
            "this node takes no pushes of a wavelet that is on it, nor of whom it cannot tell: nothing says for "
            "whom they are. Push by docker, podman, skopeo or crane, or to a registry"
        )


def _check_own(daemon_uid: int, uid: int | None) -> None:
    """Return if a daemon is a user's own, and the caller that user."""
    if daemon_uid == 0:
        message = (
            "this node takes no pushes: its daemon runs as root and so serves several users. Where they may push, its"
            " administrator says `hosted.pushes: on`"
        )
        raise AccessRefused(message, field="hosted.pushes")
    if uid is None:
        message = (
            "this node takes pushes of its own user alone, and cannot tell whose this connection is;"
            " `hosted.pushes: on` takes those of everybody who reaches it"
        )
        raise AccessRefused(message, field="hosted.pushes")


def check_room(held: int, limit: int) -> None:
    """Return if what was pushed may have `held` bytes in all, with what arrives just now.

    Raises:
        NoSpace: it may not.
    """
    if held > limit:
        raise NoSpace(
            f"no room for what is pushed: all that was pushed to this node may have {size_of(limit)} (`hosted.limit`);"
            f" raise that, or remove images by `wavelet cache gc {FIRST}/NAME:TAG`"
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """A manifest of a repository.

    Attributes:
        members: what it names, blobs and manifests.
        subject: the manifest that it refers to.
        used: when it was pushed, or pulled by its digest, last (unix seconds).
    """

    members: Collection[Digest]
    subject: Digest | None
    used: float


def leads_to(manifests: Mapping[Digest, Kept], roots: Collection[Digest]) -> set[Digest]:
    """Return those of a repository's manifests that `roots` lead to: themselves, members, and what refers to them."""
    referrers: dict[Digest, list[Digest]] = {}
    for digest, kept in manifests.items():
        if kept.subject is not None:
            referrers.setdefault(kept.subject, []).append(digest)
    found: set[Digest] = set()
    waiting = [digest for digest in roots if digest in manifests]
    while waiting:
        digest = waiting.pop()
        if digest not in found:
            found.add(digest)
            waiting += [each for each in manifests[digest].members if each in manifests]
            waiting += referrers.get(digest, ())
    return found


def without(manifests: Mapping[Digest, Kept], tagged: Collection[Digest], gone: Digest) -> set[Digest]:
    """Return what goes with a manifest whose tag is removed: what it leads to and nothing else of the repository."""
    below = leads_to(manifests, [gone])
    return below - leads_to(manifests, [*tagged, *(manifests.keys() - below)])


def expired(manifests: Mapping[Digest, Kept], tagged: Collection[Digest], now: float) -> set[Digest]:
    """Return the manifests that no tag leads to, nor one that was used lately."""
    used = [digest for digest, kept in manifests.items() if now - kept.used <= UNTAGGED_LIFETIME]
    return manifests.keys() - leads_to(manifests, [*tagged, *used])


def unnamed(blobs: Mapping[Digest, float], manifests: Mapping[Digest, Kept], now: float) -> set[Digest]:
    """Return the blobs of a repository, of which it is known when each came, that no manifest names or soon may."""
    named = {digest for kept in manifests.values() for digest in kept.members}
    return {digest for digest, at in blobs.items() if digest not in named and now - at > UNNAMED_LIFETIME}
