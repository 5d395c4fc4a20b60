"""The messages that answers are, made of the daemon's values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from wavelet.errors import WaveletError
from wavelet.front.grpc.errors import text_of
from wavelet.image.reference import Digest
from wavelet.kinds.conda.model.node import LockedEnvironment
from wavelet.kinds.conda.model.packages import subdir_of
from wavelet.packs.model import Needs, Pack
from wavelet.packs.needs import needs_of
from wavelet.plan.delivery import Delivery
from wavelet.plan.node import INLINE, AskedPackages, ContainerConfig, Layer, title
from wavelet.plan.tokens import target_name
from wavelet.requests.listing import Listed
from wavelet.requests.progress import Failed, Pending, Ready, Running, State, Step, StepName, StepState
from wavelet.requests.request import ContainerRequest
from wavelet.requests.request_cache import Status
from wavelet.resolve.events import BytesDone, BytesSent, Event, LogLine, PackagesDone, Phase, PhaseBegan
from wavelet.v1 import conda_pb2
from wavelet.v1 import containers_pb2 as pb

_PHASES: dict[Phase, pb.Phase.ValueType] = {
    "pinning": pb.PHASE_PINNING,
    "solving": pb.PHASE_SOLVING,
    "making": pb.PHASE_MAKING,
    "verifying": pb.PHASE_VERIFYING,
}


_STEPS: dict[StepName, pb.Step.ValueType] = {"pin": pb.STEP_PIN, "make": pb.STEP_MAKE, "after": pb.STEP_AFTER}

_STEP_STATES: dict[StepState, pb.StepState.ValueType] = {
    "pending": pb.STEP_STATE_PENDING,
    "running": pb.STEP_STATE_RUNNING,
    "done": pb.STEP_STATE_DONE,
    "failed": pb.STEP_STATE_FAILED,
}


def timestamp(seconds: float) -> Timestamp:
    """Return unix seconds as a message."""
    made = Timestamp()
    made.FromMilliseconds(round(seconds * 1000))
    return made


def resolved(
    request: ContainerRequest,
    state: State | None,
    authority: str,
    name: str | None = None,
    *,
    steps: Iterable[Step] = (),
    packs: Sequence[Pack] = (),
) -> pb.ResolveResponse:
    """Return the name of a container.

    Args:
        request: with its digests, as far as they are known.
        state: how far it is; None if nothing is made for it.
        authority: host and port in image names.
        name: the name, without the authority, under which it was asked for; None for the token's.
        steps: of the request.
        packs: that are in it.
    """
    return pb.ResolveResponse(
        token=request.token,
        target_image=target_name(authority, request.token, request.plan) if name is None else f"{authority}/{name}",
        container_image=request.image,
        expiration=timestamp(request.expires_at),
        state=_state(state),
        reason=_reason(state),
        source_digest=_digest(request.source_digest),
        target_digest=_digest(request.made_digest),
        build_id=request.build_id or "",
        steps=map(_step, steps),
        notes=request.about.notes if request.about else (),
        remote=request.plan.delivery is not None and request.plan.delivery.repository is not None,
        needs=engine_needs(packs),
    )


def engine_needs(packs: Sequence[Pack]) -> pb.EngineNeeds | None:
    """Return what an engine has to give a container for packs; None: nothing."""
    needs = needs_of(packs)
    if needs == Needs():
        return None
    return pb.EngineNeeds(devices=needs.devices, capabilities=needs.capabilities)


def described(
    request: ContainerRequest, status: Status, running: Running | None, authority: str, packs: Sequence[Pack] = ()
) -> pb.DescribeResponse:
    """Return what a token stands for; `request` has its digests, as far as they are known, and `packs` are in it."""
    return pb.DescribeResponse(
        container=resolved(request, status.state, authority, steps=status.steps, packs=packs),
        creation_time=timestamp(request.created_at),
        request=_asked(request),
        principal=str(request.principal),
        running=None if running is None else _running(running),
        rules=request.rules,
    )


def event_of(event: Event | Step) -> pb.WatchResponse:
    """Return how work goes."""
    match event:
        case Step():
            return pb.WatchResponse(step=_step(event))
        case PhaseBegan(phase):
            return pb.WatchResponse(phase=_PHASES[phase])
        case PackagesDone(done, total):
            return pb.WatchResponse(packages=pb.Progress(done=done, total=total))
        case BytesDone(done, total):
            return pb.WatchResponse(bytes=pb.Progress(done=done, total=total))
        case BytesSent(done, total):
            return pb.WatchResponse(sent=pb.Progress(done=done, total=total))
        case LogLine(text):
            return pb.WatchResponse(log_line=text)


def listed(request: Listed) -> pb.RequestEntry:
    """Return what somebody has asked for, and how far it is."""
    entry = request.entry
    return pb.RequestEntry(
        token=entry.token,
        container_image=entry.image,
        uid=entry.uid,
        door=entry.door,
        asked=timestamp(entry.at),
        state=_state(request.state),
        refused=entry.refused is not None,
        reason=_reason(request.state),
        notes=entry.notes,
        running=None if request.running is None else _running(request.running),
        rules=entry.rules,
    )


def _running(running: Running) -> pb.RunningWork:
    work = pb.RunningWork(seconds=round(running.seconds, 3))
    for event in running.events:
        match event:
            case PhaseBegan(phase):
                work.phase = _PHASES[phase]
            case PackagesDone(done, total):
                work.packages.CopyFrom(pb.Progress(done=done, total=total))
            case BytesDone(done, total):
                work.bytes.CopyFrom(pb.Progress(done=done, total=total))
            case BytesSent(done, total):
                work.sent.CopyFrom(pb.Progress(done=done, total=total))
    return work


def solved(lock: LockedEnvironment) -> conda_pb2.SolveResponse:
    """Return a solution."""
    return conda_pb2.SolveResponse(
        packages=[
            conda_pb2.CondaPackage(
                name=package.name,
                version=package.version,
                build=package.build,
                subdir=package.subdir,
                url=package.url,
                sha256=package.sha256 or "",
                size=package.size or 0,
            )
            for package in sorted(lock.packages, key=lambda package: package.name)
        ],
        base_image=title(lock.base),
        subdir=subdir_of(lock.platform),
        wheels=[
            conda_pb2.Wheel(name=wheel.name, version=wheel.version, url=wheel.url, sha256=wheel.sha256)
            for wheel in sorted(lock.wheels, key=lambda wheel: wheel.name)
        ],
    )


def _state(state: State | None) -> pb.ContainerState.ValueType:
    match state:
        case None:
            return pb.CONTAINER_STATE_UNSPECIFIED
        case Ready():
            return pb.CONTAINER_STATE_READY
        case Failed():
            return pb.CONTAINER_STATE_FAILED
    return pb.CONTAINER_STATE_PENDING


def _reason(state: State | None) -> str:
    match state:
        case Pending(WaveletError() as error):
            return text_of(error) + state.again
        case Failed(error):
            return text_of(error)
    return ""


def _step(step: Step) -> pb.StepStatus:
    return pb.StepStatus(
        step=_STEPS[step.name],
        state=_STEP_STATES[step.state],
        since=None if step.since is None else timestamp(step.since),
        reason="" if step.error is None else text_of(step.error),
    )


def _digest(digest: Digest | None) -> str:
    return "" if digest is None else str(digest)


def _asked(request: ContainerRequest) -> pb.ResolveRequest:
    """Return a request that has the same plan, but for what is left out: inline bytes, the queries of locations."""
    said, about = request.plan.description, request.about
    image = said.image or ("" if said.packages is not None else title(request.plan))
    asked = pb.ResolveRequest(
        platforms=map(str, said.platforms),
        container_includes=said.includes,
        fingerprint=(about.fingerprint if about else None) or "",
        timestamp=(about.timestamp if about else None) or "",
    )
    if image:
        asked.container_image = image
    if said.packages is not None:
        asked.packages.CopyFrom(_packages(said.packages))
    if said.config is not None:
        asked.container_config.CopyFrom(config_of(said.config))
    if request.plan.delivery is not None:
        asked.MergeFrom(_delivered(request.plan.delivery))
    return asked


def _delivered(delivery: Delivery) -> pb.ResolveRequest:
    """Return what is asked for of where an image goes."""
    return pb.ResolveRequest(
        freeze=delivery.mode == "freeze",
        mirror=delivery.mode == "mirror",
        build_repository=delivery.asked,
        cache_repository="" if delivery.cache is None else str(delivery.cache),
        name_strategy=delivery.strategy,
    )


def _packages(asked: AskedPackages) -> pb.Packages:
    packages = pb.Packages(type="CONDA", channels=asked.channels, entries=asked.entries, as_of=asked.as_of)
    packages.conda_opts.base_image = asked.base
    packages.conda_opts.base_packages = ""
    if not asked.entries:
        packages.environment = asked.environment
    return packages


def config_of(config: ContainerConfig) -> pb.ContainerConfig:
    """Return what is added to an image."""
    return pb.ContainerConfig(
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        env=config.env,
        working_dir=config.working_dir,
        layers=map(_layer, config.layers),
        labels=dict(config.labels),
    )


def _layer(layer: Layer) -> pb.Layer:
    return pb.Layer(
        # The query may hold a signature: whoever reads this answer need not be who may fetch.
        location="" if layer.location.startswith(INLINE) else layer.location.partition("?")[0],
        gzip_digest=str(layer.digest),
        gzip_size=layer.size or 0,
        tar_digest=str(layer.diff_id),
    )
