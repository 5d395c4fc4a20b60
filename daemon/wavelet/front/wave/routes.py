"""The routes of Wave's HTTP API. Each reads its request, makes one call, and writes the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec
from aiohttp import hdrs, web

from wavelet.errors import CallerError, InvalidRequest, NotFound, WaitExpired, WaveletError
from wavelet.front.bodies import SMALL_BODY, Bodies
from wavelet.front.reading.container import about_of, named_in
from wavelet.front.reading.options import naming_option
from wavelet.front.reading.submission import Submission
from wavelet.front.reading.values import ContainerValues
from wavelet.front.wave import answers, models
from wavelet.front.wave.answers import answering
from wavelet.front.wave.asked import (
    build_of,
    filled,
    flag,
    identity_of,
    mirror_of,
    registry_host,
    single_platform,
    token_of,
    unknown,
)
from wavelet.front.wave.endpoint import Endpoint
from wavelet.front.wave.inspect import inspected
from wavelet.front.wave.translate import WaveApi, translate, values_of
from wavelet.image.reference import Reference
from wavelet.kinds.conda.locks.write import LOCK_FORMS
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.plan.tokens import Identity, Login, check_name
from wavelet.requests.audit import Audit, decision_of
from wavelet.requests.container_requests import ContainerRequests
from wavelet.requests.inspection import Inspection
from wavelet.requests.progress import Failed, Ready, State
from wavelet.requests.request import PIN_WAIT, About, ContainerRequest, Options, Request
from wavelet.requests.request_cache import Status

READY_WAIT = 1800.0
"""Seconds that a POST waits for its image to be where its name says, if its client does not ask for the status."""

READY_RETRY = 10.0
"""Seconds after which such a client may ask again."""

LARGE_BODIES = 4
"""Large bodies that are decoded at one time: each takes several times its size."""

_WHAT_IS_THIS = """\
This is wavelet, the node agent of Wave: container images on demand.
Nextflow: wave.enabled = true, wave.endpoint = 'http://<this address>'.
  For Apptainer and Singularity: wave.endpoint = 'http://<this address>/sif'.
Container engines: pull <this address>/<registry host>/<path>:<tag>.
SIF files: oras://<this address>/sif/<name>:<tag>, or http://<this address>/sif/<name>:<tag>.sif.
"""

_Body = TypeVar("_Body", models.SubmitBody, models.InspectBody, models.CredentialsBody)


def add_routes(
    app: web.Application,
    requests: ContainerRequests,
    inspection: Inspection,
    endpoint: Endpoint,
    site: Callable[[], CondaDefaults],
    audit: Audit,
) -> None:
    """Register the door on `app`.

    Args:
        app: where the routes go.
        requests: all container requests.
        inspection: answers questions that make nothing.
        endpoint: says what images are called, and where the routes lie.
        site: gives the site's defaults of now.
        audit: takes what is refused. What a POST asks for is written down by `requests`.

    Every request is expected to carry the caller's `Identity` under `IDENTITY`.
    """
    door = _WaveDoor(requests, inspection, endpoint, site)
    routes = [
        (web.post, "/v1alpha2/container", "submit", door.submit),
        (web.post, "/container-token", "submit_v1", door.submit_v1),
        (web.get, "/v1alpha2/container/{token}", "describe_container", door.describe_container),
        (web.get, "/v1alpha2/container/{token}/status", "container_status", door.container_status),
        (web.get, "/container-token/{token}", "describe_token", door.describe_token),
        (web.delete, "/container-token/{token}", "evict_token", door.evict_token),
        (web.get, "/v1alpha1/builds/{build}", "describe_build", door.describe_build),
        (web.get, "/v1alpha1/builds/{build}/status", "build_status", door.build_status),
        (web.get, "/v1alpha1/builds/{build}/logs", "build_log", door.build_log),
        (web.get, "/v1alpha1/builds/{build}/condalock", "build_lock", door.build_lock),
        (web.get, "/v1alpha1/mirrors/{mirror}", "describe_mirror", door.describe_mirror),
        (web.get, "/v1alpha1/mirrors/{mirror}/logs", "mirror_log", door.mirror_log),
        (web.post, "/v1alpha1/inspect", "inspect", door.inspect),
        (web.post, "/v1alpha2/inspect", "inspect", door.inspect),
        (web.post, "/v1alpha2/validate-creds", "validate_credentials", door.validate_credentials),
        (web.post, "/validate-creds", "validate_credentials", door.validate_credentials),
        (web.get, "/view/containers/{token}", "view_container", door.view_container),
        (web.get, "/view/builds/{build}", "view_build", door.view_build),
        (web.get, "/view/mirrors/{mirror}", "view_mirror", door.view_mirror),
        (web.get, "/service-info", "_service_info", _service_info),
        (web.get, "/", "_front_page", _front_page),
    ]
    if endpoint.prefix:
        routes.append((web.get, "", "_front_page", _front_page))
    else:
        routes += [
            (web.get, "/robots.txt", "_robots", _robots),
            (web.get, "/favicon.ico", "_no_icon", _no_icon),
        ]

    def refused(request: web.Request, error: WaveletError) -> None:
        if request.method == hdrs.METH_GET and isinstance(error, CallerError):
            door, _, name = request.path.removeprefix(endpoint.prefix).lstrip("/").partition("/")
            audit.note(decision_of(error), door=door, uid=identity_of(request).uid, name=name, reason=error.message)

    app.add_routes(
        [method(endpoint.prefix + path, answering(kind, handler, refused)) for method, path, kind, handler in routes]
    )


class _WaveDoor:
    """The handlers that ask the resolver's side."""

    def __init__(
        self, requests: ContainerRequests, inspection: Inspection, endpoint: Endpoint, site: Callable[[], CondaDefaults]
    ) -> None:
        self._requests = requests
        self._inspection = inspection
        self._endpoint = endpoint
        self._name = endpoint.name
        self._site = site
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES)
        self._bodies = Bodies()

    async def submit(self, request: web.Request) -> web.Response:
        return await self._submit(request, "v1alpha2")

    async def submit_v1(self, request: web.Request) -> web.Response:
        return await self._submit(request, "v1")

    async def _submit(self, request: web.Request, api: WaveApi) -> web.Response:
        identity = identity_of(request)
        asked, about, polls = await self._submission(request, api)
        if isinstance(asked, WaveletError):
            self._requests.decisions.refused(asked, about, identity)
            raise asked
        refresh = flag(request, "refresh")
        try:
            status = await self._requests.submissions.submit(
                Request.of(
                    asked.plan,
                    identity,
                    about,
                    inline=asked.inline,
                    options=self._options(asked, refresh=refresh),
                    asking=asked.asking("wave", identity),
                    packs=asked.packs,
                )
            )
            status = await self._named(asked, status, identity)
            if not self._polls(asked, api, polls) and not isinstance(status.state, Ready):
                status = await self._there(asked, status, identity)
        except WaveletError as error:
            raise naming_option(error) from None
        name = await self._name(status.request)
        if api == "v1":
            return _json(answers.submitted_v1(status.request, name))
        return _json(answers.submitted(status.request, status.state, name, dry_run=asked.dry_run))

    def _polls(self, asked: Submission, api: WaveApi, polls: bool) -> bool:
        """Tell whether a client asks for the status before it uses the name; `polls` is what its body says of that.

        That counts for files. What is pushed is asked for by Nextflow 24.04 too, which asks for nothing else.
        """
        return api != "v1" and (not asked.is_pulled_at_once if self._endpoint.sifs is None else polls)

    def _options(self, asked: Submission, *, refresh: bool) -> Options:
        wait = READY_WAIT if asked.dry_run and self._endpoint.needs_pin else PIN_WAIT
        return Options(dry_run=asked.dry_run, refresh=refresh, wait=wait)

    async def _named(self, asked: Submission, status: Status, identity: Identity) -> Status:
        """Wait until there is a name to answer."""
        if not self._endpoint.needs_pin or asked.dry_run or status.request.pin is not None:
            return status
        token, tracker = status.request.token, self._requests.tracker
        status = await tracker.settled(token, identity, READY_WAIT, lambda status: status.request.pin is not None)
        if status.request.pin is None:
            raise _missing(status.state)
        return status

    async def _there(self, asked: Submission, status: Status, identity: Identity) -> Status:
        """Wait until what the name stands for is where it says, for a client that does not ask for the status."""
        if not await self._endpoint.is_there_when_ready(asked, status.request):
            return status
        status = await self._requests.tracker.settled(status.request.token, identity, READY_WAIT)
        if not isinstance(status.state, Ready):
            raise _missing(status.state)
        return status

    async def _submission(self, request: web.Request, api: WaveApi) -> tuple[Submission | WaveletError, About, bool]:
        """Return what is asked for, or why that is refused; what is kept of the body; and whether its client polls.

        Nextflow up to 24.04 does not ask how far a request is; from 24.10 on, which does, it sends `mirror`.
        """

        def read(data: bytes) -> tuple[Submission | WaveletError, About, bool]:
            about = about_of(ContainerValues(), api, "", request.remote or "")
            try:
                body = _decode(data, models.SubmitBody)
                values = values_of(body)
                about = about_of(values, api, named_in(values), request.remote or "")
                try:
                    asked = translate(body, api, self._site(), as_sif=self._endpoint.sifs is not None)
                    check_name(self._endpoint.authority, asked.plan)
                except WaveletError as error:
                    return naming_option(error), about, False
                flag(request, "refresh")
            except WaveletError as error:
                return error, about, False
            about = about_of(values, api, asked.image, request.remote or "", asked.notes)
            return asked, about, body.mirror is not None

        async with self._bodies.read(request) as data:
            # A small one is read in the loop; a larger one is decoded and hashed in a thread.
            if len(data) <= SMALL_BODY:
                return read(data)
            async with self._large_bodies:
                return await asyncio.to_thread(read, data)

    async def _body(self, request: web.Request, kind: type[_Body]) -> _Body:
        async with self._bodies.read(request) as data:
            return _decode(data, kind)

    async def describe_container(self, request: web.Request) -> web.Response:
        found = await self._requests.lookup.find(token_of(request), identity_of(request))
        return _json(answers.container(found, await self._name(found)))

    async def container_status(self, request: web.Request) -> web.Response:
        status = await self._requests.tracker.status(token_of(request), identity_of(request))
        # Not request.host: without the header, that asks the DNS.
        host = request.headers.get("Host", self._endpoint.authority)
        return _json(
            answers.status(
                status.request, status.state, status.seconds, f"{request.scheme}://{host}{self._endpoint.prefix}"
            )
        )

    async def describe_token(self, request: web.Request) -> web.Response:
        found = await self._requests.lookup.find(token_of(request), identity_of(request))
        return _json(answers.token(found, await self._name(found)))

    async def evict_token(self, request: web.Request) -> web.Response:
        await self._requests.evictions.evict(token_of(request), identity_of(request), door="v1")
        return web.Response()

    async def describe_build(self, request: web.Request) -> web.Response:
        build, token = build_of(request)
        status = await self._requests.tracker.status(token, identity_of(request))
        found = await self._requests.lookup.find(token, identity_of(request))
        return _json(answers.build(found, status.state, status.seconds, build, await self._name(found)))

    async def build_status(self, request: web.Request) -> web.Response:
        build, token = build_of(request)
        status = await self._requests.tracker.status(token, identity_of(request))
        return _json(answers.build_status(status.request, status.state, status.seconds, build))

    async def build_log(self, request: web.Request) -> web.Response:
        _, token = build_of(request)
        log = await self._requests.details.log(token, identity_of(request))
        if not log:
            raise NotFound("there is no log: nothing was made for this request; its status has the reason of a failure")
        return _text(log)

    async def build_lock(self, request: web.Request) -> web.Response:
        _, token = build_of(request)
        form = request.query.get("format", LOCK_FORMS[0])
        if form not in LOCK_FORMS:
            raise InvalidRequest(f"format: {form[:60]!r} is not one of {', '.join(LOCK_FORMS)}", field="format")
        platform = single_platform(request.query.get("platform"))
        return _text(await self._requests.details.lock(token, identity_of(request), form, platform))

    async def describe_mirror(self, request: web.Request) -> web.Response:
        token, identity = mirror_of(request), identity_of(request)
        status = await self._requests.tracker.status(token, identity)
        found = await self._mirrored(request)
        log = await self._requests.details.log(token, identity)
        return _json(answers.mirror(found, status.state, status.seconds, log, await self._name(found)))

    async def _mirrored(self, request: web.Request) -> ContainerRequest:
        """Return the request that is known by the id of a copy; a request for something else has none."""
        found = await self._requests.lookup.find(mirror_of(request), identity_of(request))
        if found.mirror_id is None:
            raise unknown("mirror", request.match_info["mirror"])
        return found

    async def mirror_log(self, request: web.Request) -> web.Response:
        token = (await self._mirrored(request)).token
        log = await self._requests.details.log(token, identity_of(request))
        response = _text(log)
        response.headers["Content-Disposition"] = f'attachment; filename="mr-{token}.log"'
        return response

    async def view_mirror(self, request: web.Request) -> web.Response:
        token = (await self._mirrored(request)).token
        status = await self._requests.tracker.status(token, identity_of(request))
        log = await self._requests.details.log(token, identity_of(request))
        return _text(answers.mirror_page(status, await self._name(status.request), log))

    async def view_container(self, request: web.Request) -> web.Response:
        status = await self._requests.tracker.status(token_of(request), identity_of(request))
        return _text(answers.page(status, await self._name(status.request)))

    async def view_build(self, request: web.Request) -> web.Response:
        build, token = build_of(request)
        status = await self._requests.tracker.status(token, identity_of(request))
        log = await self._requests.details.log(token, identity_of(request))
        return _text(answers.build_page(status, await self._name(status.request), build, log))

    async def inspect(self, request: web.Request) -> web.Response:
        body = await self._body(request, models.InspectBody)
        if not body.container_image:
            raise InvalidRequest("containerImage: is missing; it is the image to inspect", field="containerImage")
        reference = Reference.parse(body.container_image, "containerImage")
        platform = single_platform(request.query.get("platform"))
        found = await self._inspection.documents(reference, platform, identity_of(request))
        return _json(inspected(reference, found.descriptor, found.manifest, found.config))

    async def validate_credentials(self, request: web.Request) -> web.Response:
        body = await self._body(request, models.CredentialsBody)
        login = Login(filled(body.user_name, "userName"), filled(body.password, "password"))
        return _json(await self._inspection.check_login(registry_host(filled(body.registry, "registry")), login))


async def _service_info(_request: web.Request) -> web.Response:
    return _json(answers.service_info())


async def _front_page(_request: web.Request) -> web.Response:
    return _text(_WHAT_IS_THIS)


async def _robots(_request: web.Request) -> web.Response:
    return _text("User-agent: *\nDisallow: /\n")


async def _no_icon(_request: web.Request) -> web.Response:
    raise NotFound("wavelet has no icon")


def _decode(data: bytes, kind: type[_Body]) -> _Body:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        field = where.strip("`.") or "the body"
        what = what[:1].lower() + what[1:].replace("`str", "`string").replace("`bool", "`boolean")
        raise InvalidRequest(f"{field}: {what}", field=field) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is not JSON in UTF-8: {error}") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None


def _missing(state: State) -> WaveletError:
    """Return why an image is not where it should be, as the answer to who does not ask for its status."""
    if isinstance(state, Failed):
        return state.error
    return WaitExpired("the image is not there yet; it is still worked on", retry_after=READY_RETRY)


def _json(answer: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


def _text(text: str) -> web.Response:
    return web.Response(text=text, headers={"X-Content-Type-Options": "nosniff"})
