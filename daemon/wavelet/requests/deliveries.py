"""The deliveries of requests, as effects: a frozen image is pushed to its repository, a mirrored one is copied there.

A delivery that was done before, by whomever, takes one question to the target. What is on its way is noted like
everything that a request waits for, and each has a journal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from wavelet.errors import WaveletError
from wavelet.image.reference import Reference
from wavelet.plan.node import Node, source, title
from wavelet.plan.tokens import Identity
from wavelet.push.copy import CopyResult
from wavelet.push.image_push import ImagePusher
from wavelet.push.mirror import Mirror
from wavelet.push.progress import CopyProgress
from wavelet.quantities import size
from wavelet.requests.binding import Effect
from wavelet.requests.request import ContainerRequest, answer_name
from wavelet.requests.served import ServedImages
from wavelet.requests.site_repository import SiteRepository
from wavelet.resolve.events import Journals, Upload
from wavelet.resolve.job import account
from wavelet.resolve.resolver import Resolver


def journal_key(token: str) -> str:
    """Return the key of the journal of a request's delivery."""
    return f"delivery {token}"


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Delivers images."""

    resolver: Resolver
    served: ServedImages
    journals: Journals
    site: SiteRepository
    pusher: ImagePusher
    mirror: Mirror

    def effects(self) -> tuple[Effect, ...]:
        """Return the effects: one for each way of delivery."""
        return (
            Effect("push", lambda plan: _mode(plan) == "freeze", self._push),
            Effect("mirror", lambda plan: _mode(plan) == "mirror", self._copy),
        )

    async def _push(self, request: ContainerRequest, fixed: Node, identity: Identity) -> None:
        target = _target(request)
        async with self._noted(request.token, target, f"pushing {title(request.plan)} to {target}") as note:
            self.site.admit(target.repository, identity)
            key, image = await self.resolver.realise(fixed, identity)
            note(await self.pusher.push(image, target, identity, _progress()))
        self.served.put(answer_name(request.token), key, str(target))

    async def _copy(self, request: ContainerRequest, fixed: Node, identity: Identity) -> None:
        target, image = _target(request), source(fixed)
        assert image.repository is not None, "only what a registry has is mirrored"
        assert image.digest is not None, "nothing moves in a pinned plan"
        copied = Reference(image.repository, digest=image.digest)
        async with self._noted(request.token, target, f"copying {title(request.plan)} to {target}") as note:
            self.site.admit(target.repository, identity)
            note(await self.mirror.copy(copied, target, identity, _progress()))

    @asynccontextmanager
    async def _noted(self, token: str, target: Reference, what: str) -> AsyncIterator[Callable[[CopyResult], None]]:
        """Keep a journal of a delivery, and say in its error what the user, or the site, has set for it."""
        key = journal_key(token)
        is_told = _DONE in (self.journals.read(key) or "")
        write = self.journals.begin(key)
        account().log(self.journals.lines(key))
        write(what)
        field = "freeze.repository" if self.site.is_for(target.repository) else "buildRepository"
        end = self.journals.end

        def note(result: CopyResult) -> None:
            nonlocal end
            write(_said(result))
            if is_told and not result.manifests:
                end = self.journals.drop  # that of the attempt which sent it tells more

        try:
            yield note
        except WaveletError as error:
            write(f"failed: {error.message}")
            raise error.with_message(f"{field}: {target.repository}: {error.message}", field=field) from None
        finally:
            end(key)


_DONE = "done: "
"""What the line of a journal begins with that says what was sent."""


def _said(result: CopyResult) -> str:
    if not result.manifests:
        return f"{result.digest} was there already"
    return f"{_DONE}{result.digest}, {result.blobs} blobs sent ({size(result.bytes)}), {result.manifests} manifests"


def _mode(plan: Node) -> str | None:
    """Return how the image of a plan is delivered; None: it is not, or is pulled from the node's own registry."""
    return None if plan.delivery is None or plan.delivery.repository is None else plan.delivery.mode


def _target(request: ContainerRequest) -> Reference:
    """Return where an image is pushed to. By what was asked: a pinned plan is called by digests."""
    target = None if request.plan.delivery is None else request.plan.delivery.target(request.token)
    assert target is not None, "an effect is run for what it concerns"
    return target


def _progress() -> Callable[[CopyProgress], None]:
    """Return what takes the progress of a copy into the account of the work that this is called in."""
    sending = Upload()
    account().send(sending)

    def tell(progress: CopyProgress) -> None:
        sending.size, sending.sent = progress.bytes_needed, progress.bytes_done

    return tell
