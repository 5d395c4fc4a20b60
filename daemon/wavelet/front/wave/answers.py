"""Answers of the Wave door, from the daemon's values and errors.

Instants are ISO-8601 in UTC with `Z`. Durations are seconds and always have a decimal point: wave-cli takes digits
without one for nanoseconds.
"""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from wavelet import __version__
from wavelet.errors import UpstreamError, WaveletError
from wavelet.front.defects import defect
from wavelet.front.metrics import REQUESTS
from wavelet.front.reading.options import naming_option
from wavelet.front.wave import models
from wavelet.front.wave.models import MessageAnswer
from wavelet.image.reference import Digest, Repository
from wavelet.plan.node import INLINE, ContainerConfig, Layer, Node
from wavelet.requests.progress import Failed, Pending, Ready, State, Step
from wavelet.requests.request import ContainerRequest
from wavelet.requests.request_cache import Status

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Refused = Callable[[web.Request, WaveletError], None]
"""Takes note of an error that a request is answered with."""

TEXT_LIMIT = 4000
"""Characters of an error's text that clients are told; of a longer one the log has all."""

_FAILED_DEPENDENCY = 424


def answering(kind: str, handler: Handler, refused: Refused) -> Handler:
    """Return `handler` with every exception turned into an answer, a defect also into an entry of the log.

    `kind` is what metrics call its requests.
    """

    @functools.wraps(handler)
    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            response = await handler(request)
        except WaveletError as error:
            refused(request, error)
            response = message_response(error, request.method)
        except web.HTTPException:
            raise
        except Exception:  # noqa: BLE001 - the last resort of the door: it is logged, and the client gets its id
            response = message_response(defect(request), request.method)
        REQUESTS.labels("wave", kind, response.status).inc()
        return response

    return answered


def message_response(error: WaveletError, method: str = "GET") -> web.Response:
    """Return the answer to a request of `method` that ended in `error`."""
    # Clients repeat a POST that gets a 5xx for minutes, and what an upstream does not answer now is not ours to repeat.
    status = _FAILED_DEPENDENCY if isinstance(error, UpstreamError) and method == "POST" else error.status
    headers = {} if error.retry_after is None else {"Retry-After": str(math.ceil(error.retry_after))}
    return web.Response(status=status, body=body_of(error), content_type="application/json", headers=headers)


def body_of(error: WaveletError) -> bytes:
    r"""Return the JSON that tells an error.

    Nextflow and wave-cli show a body as it came. So one sentence is on one line, and of a text with lines each has its
    own, the first one being the sentence that says it: JSON within a line would show them joined by `\n`.
    """
    sentence, *details = text_of(error).splitlines()
    if not details:
        return msgspec.json.encode(MessageAnswer(message=sentence))
    shown = (msgspec.json.encode(line) for line in details)
    return b'{"message": %s,\n "details": [\n  %s\n ]}\n' % (msgspec.json.encode(sentence), b",\n  ".join(shown))


def text_of(error: WaveletError) -> str:
    """Return an error's text as clients are told it, whether by an answer or by a status: cut to whole lines."""
    text = error.message.encode("utf-8", "replace").decode().strip() or type(error).__name__
    if len(text) <= TEXT_LIMIT:
        return text
    lines = text[:TEXT_LIMIT].splitlines()
    return "\n".join([*(lines[:-1] or lines), "…"])


WAVE_VERSION = "1.37.0"
"""The version of Wave whose API this is. Clients compare it with the one that brought a feature, 1.31.0 and up."""

_OMITTED = "data:DATA+OMITTED"


def submitted(request: ContainerRequest, state: State, name: str, *, dry_run: bool) -> models.SubmitAnswer:
    """Return the answer to `POST /v1alpha2/container`.

    `succeeded` is true or absent, and absent makes the client ask for the status. A dry run is answered true, as by
    Wave: nothing will be made that there is to wait for.
    """
    answer = submitted_v1(request, name)
    ready = isinstance(state, Ready)
    build_id = request.build_id or request.mirror_id
    return msgspec.structs.replace(
        answer,
        build_id=build_id,
        cached=None if build_id is None else ready,
        freeze=_mode(request) == "freeze",
        mirror=_mode(request) == "mirror",
        succeeded=True if dry_run or ready else None,
    )


def submitted_v1(request: ContainerRequest, name: str) -> models.SubmitAnswer:
    """Return the answer to `POST /container-token`.

    It never has a `buildId`: that makes Nextflow 23.10 ask for the manifest by https. What is frozen or mirrored has a
    name of its own, to which no token and no expiration belongs, and which is also the container image.
    """
    target = name
    if _mode(request) is not None:
        return models.SubmitAnswer(request_id=request.token, target_image=target, container_image=target)
    return models.SubmitAnswer(
        request_id=request.token,
        container_token=request.token,
        target_image=target,
        expiration=instant(request.expires_at),
        container_image=request.image,
    )


def _mode(request: ContainerRequest) -> str | None:
    """Return how the image goes elsewhere, `freeze` or `mirror`; None: it is pulled by its token."""
    return None if request.plan.delivery is None else request.plan.delivery.mode


def status(request: ContainerRequest, state: State, seconds: float, base_url: str) -> models.StatusAnswer:
    """Return how far a request is; `seconds` since its work began, `base_url` as the client calls this daemon."""
    done = not isinstance(state, Pending)
    build_id, mirror_id = request.build_id, request.mirror_id
    is_work = build_id is not None or mirror_id is not None
    page = f"builds/{build_id}" if build_id else f"mirrors/{mirror_id}" if mirror_id else f"containers/{request.token}"
    return models.StatusAnswer(
        id=request.token,
        status="DONE" if done else "BUILDING" if is_work else "PENDING",
        creation_time=instant(request.created_at),
        build_id=build_id,
        mirror_id=mirror_id,
        succeeded=_succeeded(state),
        reason=reason(state),
        details_uri=f"{base_url}/view/{page}",
        duration=decimal(seconds) if done else None,
    )


def build_status(request: ContainerRequest, state: State, seconds: float, build: str) -> models.BuildStatusAnswer:
    """Return the same in the form of a build's status."""
    done = not isinstance(state, Pending)
    return models.BuildStatusAnswer(
        id=build,
        status="COMPLETED" if done else "PENDING",
        start_time=instant(request.created_at),
        duration=decimal(seconds) if done else None,
        succeeded=_succeeded(state),
    )


def build(request: ContainerRequest, state: State, seconds: float, build: str, name: str) -> models.BuildAnswer:
    """Return the same in the form of a build's record."""
    succeeded = _succeeded(state)
    return models.BuildAnswer(
        build_id=build,
        target_image=name,
        start_time=instant(request.created_at),
        format="SINGULARITY" if request.plan.is_file else "DOCKER",
        conda_file=conda_file(request.plan),
        duration=None if succeeded is None else decimal(seconds),
        exit_status=None if succeeded is None else int(not succeeded),
        platform=_platform(request.plan),
        request_ip=_address(request),
        digest=_text(request.made_digest),
    )


def mirror(request: ContainerRequest, state: State, seconds: float, log: str, name: str) -> models.MirrorAnswer:
    """Return the record of a copy; `log` is what is noted of it."""
    succeeded = _succeeded(state)
    assert request.mirror_id is not None, "only a mirror has such a record"
    return models.MirrorAnswer(
        mirror_id=request.mirror_id,
        source_image=request.image,
        target_image=name,
        creation_time=instant(request.created_at),
        status="PENDING" if succeeded is None else "COMPLETED",
        digest=_text(request.source_digest),
        platform=_platform(request.plan),
        duration=None if succeeded is None else decimal(seconds),
        exit_code=None if succeeded is None else int(not succeeded),
        logs=log or None,
    )


def container(request: ContainerRequest, name: str) -> models.ContainerAnswer:
    """Return the record of a request."""
    about = request.about
    return models.ContainerAnswer(
        id=request.token,
        container_image=request.image,
        source_image=request.image,
        wave_image=name,
        expiration=instant(request.expires_at),
        freeze=_mode(request) == "freeze",
        mirror=_mode(request) == "mirror",
        container_config=_config(request.plan),
        platform=_platform(request.plan),
        fingerprint=about.fingerprint if about else None,
        timestamp=about.timestamp if about else None,
        ip_address=_address(request),
        build_id=request.build_id,
        build_repository=_text(_repository(request)),
        source_digest=_text(request.source_digest),
        wave_digest=_text(request.made_digest),
    )


def token(request: ContainerRequest, name: str) -> models.TokenAnswer:
    """Return the description of a token."""
    record = container(request, name)
    return models.TokenAnswer(
        token=request.token,
        expiration=record.expiration,
        request=models.TokenRequestAnswer(
            container_image=record.container_image,
            container_config=record.container_config,
            platform=record.platform,
            fingerprint=record.fingerprint,
            timestamp=record.timestamp,
            ip_address=record.ip_address,
        ),
        source=models.ImageAnswer(image=record.source_image, digest=record.source_digest),
        wave=models.ImageAnswer(image=record.wave_image, digest=record.wave_digest),
    )


def page(status: Status, name: str) -> str:
    """Return what a person wants to know of a request, as plain text."""
    request, state = status.request, status.state
    lines = [
        f"container request {request.token}",
        f"image:   {request.image}",
        f"name:    {name}",
        f"created: {instant(request.created_at)}",
        f"expires: {instant(request.expires_at)}",
        f"status:  {'failed' if isinstance(state, Failed) else 'ready' if isinstance(state, Ready) else 'pending'}",
    ]
    build_id = request.build_id
    lines += [] if build_id is None else [f"build:   {build_id}, see /view/builds/{build_id}"]
    mirror_id = request.mirror_id
    lines += [] if mirror_id is None else [f"mirror:  {mirror_id}, see /view/mirrors/{mirror_id}"]
    lines += [f"{step.name + ':':8} {step.state}{_began(step)}" for step in status.steps]
    why = reason(state)
    lines += [] if why is None else ["reason:  " + why.replace("\n", "\n         ")]
    lines += [f"note:    {note}" for note in (request.about.notes if request.about else ())]
    lines += [f"rules:   {', '.join(request.rules)}"] if request.rules else []
    return "\n".join(lines) + "\n"


def mirror_page(status: Status, name: str, log: str) -> str:
    """Return what a person wants to know of a copy, as plain text: how it went, and its log."""
    sections = [page(status, name), *([f"log\n\n{log}"] if log else [])]
    return f"\n{'-' * 80}\n".join(sections)


def build_page(status: Status, name: str, build: str, log: str) -> str:
    """Return what a person wants to know of a build, as plain text: what was asked, how it went, and its log."""
    asked = conda_file(status.request.plan)
    sections = [page(status, name)]
    sections += [] if asked is None else [f"asked for\n\n{asked}"]
    sections += [f"log, also at /v1alpha1/builds/{build}/logs\n\n{log}"] if log else []
    sections += [f"the exact packages are at /v1alpha1/builds/{build}/condalock\n"] if asked is not None else []
    return f"\n{'-' * 80}\n".join(sections)


def _began(step: Step) -> str:
    return "" if step.since is None else f", begun {instant(step.since)}"


def conda_file(plan: Node) -> str | None:
    """Return the environment that a plan asks for, as an environment file shows it."""
    packages = plan.description.packages
    return None if packages is None else packages.environment


def service_info() -> models.ServiceInfoAnswer:
    """Return what the service says of itself."""
    info = models.ServiceInfo(version=WAVE_VERSION, commit_id=f"wavelet-{__version__}")
    return models.ServiceInfoAnswer(service_info=info)


def reason(state: State) -> str | None:
    """Return why a request has failed, or is not decided yet; clients show it to their users verbatim."""
    match state:
        case Pending(WaveletError() as error):
            return text_of(naming_option(error)) + state.again
        case Failed(error):
            return text_of(naming_option(error))
    return None


def instant(seconds: float) -> str:
    """Return seconds since 1970 as an ISO-8601 instant in UTC, to the millisecond."""
    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return when.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def decimal(seconds: float) -> msgspec.Raw:
    """Return a duration as a JSON number that has a decimal point."""
    return msgspec.Raw(f"{max(seconds, 0.0):.3f}".encode())


def _succeeded(state: State) -> bool | None:
    return None if isinstance(state, Pending) else isinstance(state, Ready)


def _text(value: Digest | Repository | None) -> str | None:
    return None if value is None else str(value)


def _repository(request: ContainerRequest) -> Repository | None:
    return None if request.plan.delivery is None else request.plan.delivery.repository


def _address(request: ContainerRequest) -> str | None:
    return (request.about.address or None) if request.about else None


def _platform(plan: Node) -> str | None:
    return ",".join(map(str, plan.description.platforms)) or None


def _config(plan: Node) -> models.ConfigAnswer | None:
    config = plan.description.config
    return None if config is None else _config_answer(config)


def _config_answer(config: ContainerConfig) -> models.ConfigAnswer:
    return models.ConfigAnswer(
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        env=config.env,
        working_dir=config.working_dir,
        layers=tuple(map(_layer, config.layers)),
    )


def _layer(layer: Layer) -> models.LayerAnswer:
    return models.LayerAnswer(
        # The query may hold a signature: whoever reads this answer need not be who may fetch.
        location=_OMITTED if layer.location.startswith(INLINE) else layer.location.partition("?")[0],
        gzip_digest=str(layer.digest),
        gzip_size=layer.size,
        tar_digest=str(layer.diff_id),
    )
