"""The servicer of `ImageService`: documents of images, and images taken in ahead, or copied on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from wavelet.errors import InvalidRequest, TooLarge, WaveletError
from wavelet.front.grpc import auth, mirror_targets
from wavelet.front.grpc.errors import code_of, text_of
from wavelet.front.grpc.names import Names
from wavelet.front.grpc.peer import Context, Peer, Peers
from wavelet.front.grpc.services import Services
from wavelet.front.registry.names import as_pulled
from wavelet.image.image import Manifest, parse_document
from wavelet.image.reference import DEFAULT_PLATFORM, Platform, Reference
from wavelet.plan.node import Node
from wavelet.requests.audit import decision_of
from wavelet.requests.documents import Documents
from wavelet.requests.engine_address import Engine
from wavelet.requests.engine_pull import address_of, into_engine
from wavelet.requests.mirroring import ImageCopy
from wavelet.requests.transfer_tasks import TransferStatus
from wavelet.v1 import images_pb2 as pb
from wavelet.v1.containers_pb2 import Progress
from wavelet.v1.images_pb2_grpc import ImageServiceServicer

IMAGES_LIMIT = 1000
"""Images of one request."""

CONCURRENCY = 3
"""Images that are taken in at one time where the request does not say."""

CONCURRENCY_LIMIT = 32

_STORE = (pb.PREFETCH_TARGET_UNSPECIFIED, pb.PREFETCH_TARGET_STORE)
_ENGINES: dict[int, Engine] = {pb.PREFETCH_TARGET_DOCKER: "docker", pb.PREFETCH_TARGET_PODMAN: "podman"}


class Images(ImageServiceServicer):
    """Shows images, takes them in before they are pulled, and copies them to registries."""

    def __init__(self, services: Services, names: Names, peers: Peers) -> None:
        self._services = services
        self._names = names
        self._peers = peers

    async def Inspect(self, request: pb.InspectRequest, context: Context) -> pb.InspectResponse:
        """Return an image's documents."""
        peer = self._peers.of(context)
        if not request.image:
            raise InvalidRequest("image: is missing; it is the image to inspect", field="image")
        platforms = (Platform.parse(request.platform, "platform"),) if request.platform else ()
        plan, name = await self._names.plan(request.image, "image", platforms, peer.identity)
        if request.HasField("auth"):
            await auth.keep(request.auth, plan, peer, self._services.logins)
        await self._admit(request.image, plan, peer)
        found = await self._services.inspection.documents_of(plan, name, peer.identity)
        return pb.InspectResponse(
            reference=name,
            digest=str(found.descriptor.digest),
            media_type=found.descriptor.media_type,
            manifest=found.manifest,
            config=found.config or b"",
            size=_size(found),
        )

    async def Prefetch(self, request: pb.PrefetchRequest, context: Context) -> AsyncIterator[pb.PrefetchResponse]:
        """Take images in, and tell how that goes."""
        peer = self._peers.of(context)
        self._check(request, peer)
        texts = [f"platforms[{index}]" for index in range(len(request.platforms))]
        platforms = tuple(map(Platform.parse, request.platforms, texts))
        plans, errors = await self._read(request, platforms, (DEFAULT_PLATFORM,), peer)
        for index, error in errors.items():
            yield pb.PrefetchResponse(index=index, image=request.images[index])
            yield pb.PrefetchResponse(index=index, image=request.images[index], error=_error(error))
        places = list(plans)
        taken_in = await self._take(request, list(plans.values()), peer)
        async with contextlib.aclosing(taken_in) as taking:
            async for taken in taking:
                yield _message(taken, places[taken.index], request)

    async def Mirror(self, request: pb.MirrorRequest, context: Context) -> AsyncIterator[pb.MirrorResponse]:
        """Copy images to a registry, and tell how that goes."""
        peer = self._peers.of(context)
        _check_list(request)
        mirror_targets.check(request.target, self._names.authority)
        plans, errors = await self._read(request, (), (), peer)
        targets, refused = mirror_targets.targets_of(request.target, plans)
        for index, error in (errors | refused).items():
            yield pb.MirrorResponse(index=index, image=request.images[index])
            yield pb.MirrorResponse(index=index, image=request.images[index], error=_error(error))
        places = list(targets)
        copies = [ImageCopy(plans[index][0], target) for index, target in targets.items()]
        copying = self._services.mirroring.copy(
            copies, peer.identity, concurrency=request.concurrency or CONCURRENCY, dry_run=request.dry_run
        )
        async with contextlib.aclosing(copying) as copied:
            async for each in copied:
                if each.ended and not request.dry_run:
                    self._note(each, copies[each.index], peer)
                yield _copied(each, places[each.index], copies[each.index].target, request)

    def _note(self, status: TransferStatus, copied: ImageCopy, peer: Peer) -> None:
        """Write down what was copied, or why it was not."""
        error = status.error
        self._services.audit.note(
            "mirrored" if error is None else decision_of(error),
            door="grpc",
            uid=peer.uid,
            name=str(copied.target),
            plan=copied.plan,
            digest="" if status.digest is None else str(status.digest),
            upstreams=(copied.target.repository.host,),
            reason="" if error is None else error.message,
        )

    async def _read(
        self,
        request: pb.PrefetchRequest | pb.MirrorRequest,
        platforms: tuple[Platform, ...],
        usual: tuple[Platform, ...],
        peer: Peer,
    ) -> tuple[dict[int, tuple[Node, str]], dict[int, WaveletError]]:
        """Return the images' plans and names by their places in the request, and why some have none."""
        plans: dict[int, tuple[Node, str]] = {}
        errors: dict[int, WaveletError] = {}
        for index, image in enumerate(request.images):
            try:
                read = await self._names.plan(image, f"images[{index}]", platforms, peer.identity, usual)
                if request.HasField("auth"):
                    await auth.keep(request.auth, read[0], peer, self._services.logins)
                await self._admit(image, read[0], peer)
                plans[index] = read
            except WaveletError as error:
                errors[index] = error
        return plans, errors

    async def _admit(self, name: str, plan: Node, peer: Peer) -> None:
        """Return if the rules of the site admit what a name is pinned to; see `Admitting`."""
        if not self._names.is_given(name):
            await self._services.inspection.admitting.check(plan, peer.identity)

    def _check(self, request: pb.PrefetchRequest, peer: Peer) -> None:
        _check_list(request)
        if request.target in _STORE:
            if request.engine_address:
                message = "engineAddress: counts only where target is an engine; give a target, or leave it out"
                raise InvalidRequest(message, field="engineAddress")
            return
        if request.target not in _ENGINES:
            raise InvalidRequest(f"target: {request.target} is none that is known", field="target")
        self._services.rules.fill_engine(peer.uid, admin=peer.admin)
        if len(request.platforms) > 1:
            message = "platforms: an engine takes an image for one platform; name a single one"
            raise InvalidRequest(message, field="platforms")

    async def _take(
        self, request: pb.PrefetchRequest, plans: list[tuple[Node, str]], peer: Peer
    ) -> AsyncGenerator[TransferStatus, None]:
        concurrency = request.concurrency or CONCURRENCY
        names = [name for _, name in plans]
        engine = _ENGINES.get(request.target)
        if engine is not None:
            pulled = [f"{self._names.authority}/{as_pulled(name)}" for name in names]
            platform = next(iter(request.platforms), "")
            address = await asyncio.to_thread(address_of, engine, request.engine_address)
            return into_engine(pulled, engine, address, concurrency=concurrency, platform=platform)
        seconds = request.lease.ToNanoseconds() / 1e9 if request.HasField("lease") else None
        lease = self._services.reloads.settings.store.lease if seconds is None else max(0.0, seconds)
        return self._services.prefetcher.take(
            [plan for plan, _ in plans], peer.identity, concurrency=concurrency, lease=lease, names=names
        )


def _check_list(request: pb.PrefetchRequest | pb.MirrorRequest) -> None:
    if not request.images:
        raise InvalidRequest("images: is missing; it names the images that are meant", field="images")
    if len(request.images) > IMAGES_LIMIT:
        raise TooLarge(f"images: more than {IMAGES_LIMIT} images; ask for them in parts", field="images")
    if request.concurrency > CONCURRENCY_LIMIT:
        raise InvalidRequest(f"concurrency: {CONCURRENCY_LIMIT} are the most", field="concurrency")


def _size(found: Documents) -> int:
    view = parse_document(found.manifest, found.descriptor.media_type)
    if not isinstance(view, Manifest):
        return 0
    return found.descriptor.size + sum(descriptor.size for descriptor in view.descriptors)


def _message(taken: TransferStatus, place: int, request: pb.PrefetchRequest) -> pb.PrefetchResponse:
    return pb.PrefetchResponse(
        index=place,
        image=request.images[place],
        bytes=Progress(done=taken.done_bytes, total=taken.total_bytes) if taken.total_bytes else None,
        done=taken.done,
        digest="" if taken.digest is None else str(taken.digest),
        error=None if taken.error is None else _error(taken.error),
    )


def _copied(status: TransferStatus, place: int, target: Reference, request: pb.MirrorRequest) -> pb.MirrorResponse:
    is_known = status.total_bytes > 0 or status.done
    return pb.MirrorResponse(
        index=place,
        image=request.images[place],
        target_image=str(target),
        bytes=Progress(done=status.done_bytes, total=status.total_bytes) if is_known else None,
        blobs=status.blobs,
        manifests=status.manifests,
        done=status.done,
        digest="" if status.digest is None else str(status.digest),
        error=None if status.error is None else _error(status.error),
    )


def _error(error: WaveletError) -> pb.PrefetchError:
    number: int = code_of(error).value[0]
    return pb.PrefetchError(message=text_of(error), fault=error.fault.value, code=number, field=error.field or "")
