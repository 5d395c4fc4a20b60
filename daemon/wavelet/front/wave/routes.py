"""The routes of Wave's HTTP API. Each reads its request, makes one call, and writes the answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec
from aiohttp import hdrs, web

from wavelet.errors import CallerError, InvalidRequest, NotFound, TokenNotFound, WaitExpired, WaveletError
from wavelet.front.bodies import SMALL_BODY, Bodies
from wavelet.front.keys import IDENTITY
from wavelet.front.reading.container import Submission, about_of, named_in
from wavelet.front.reading.options import naming_option
from wavelet.front.reading.values import ContainerValues
from wavelet.front.wave import answers, models
from wavelet.front.wave.answers import answering
from wavelet.front.wave.inspect import inspected
from wavelet.front.wave.translate import WaveApi, translate, values_of
from wavelet.image.reference import Platform, Reference, normalise, valid_host
from wavelet.kinds.conda.locks.write import LOCK_FORMS
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.plan.tokens import Identity, Login, check_name, well_formed
from wavelet.requests.audit import Audit, decision_of
from wavelet.requests.container_requests import ContainerRequests
from wavelet.requests.inspection import Inspection
from wavelet.requests.progress import Failed, Ready, State
from wavelet.requests.request import About, ContainerRequest, Options, Request

PUSH_WAIT = 1800.0
"""Seconds that a POST waits for its image to be pushed where its client does not ask for the status."""

PUSH_RETRY = 10.0
"""Seconds after which such a client may ask again."""

LARGE_BODIES = 4
"""Large bodies that are decoded at one time: each takes several times its size."""

_TEXT_LIMIT = 64
_BUILD = re.compile(r"bd-(?P<token>[0-9a-f]{32})(?:_[0-9]{1,9})?")
_MIRROR = re.compile(r"mr-(?P<token>[0-9a-f]{32})(?:_[0-9]{1,9})?")
_WHAT_IS_THIS = """\
This is wavelet, the node agent of Wave: container images on demand.
Nextflow: wave.enabled = true, wave.endpoint = 'http://<this address>'.
Container engines: pull <this address>/<registry host>/<path>:<tag>.
"""

_Body = TypeVar("_Body", models.SubmitBody, models.InspectBody, models.CredentialsBody)


def add_routes(
    app: web.Application,
    requests: ContainerRequests,
    inspection: Inspection,
    authority: str,
    site: Callable[[], CondaDefaults],
    audit: Audit,
) -> None:
    """Register the door on `app`.

    Args:
        app: where the routes go.
        requests: all container requests.
        inspection: answers questions that make nothing.
        authority: host and port in image names.
        site: gives the site's defaults of now.
        audit: takes what is refused. What a POST asks for is written down by `requests`.

    Every request is expected to carry the caller's `Identity` under `IDENTITY`.
    """
    door = _WaveDoor(requests, inspection, authority, site)
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
        (web.get, "/robots.txt", "_robots", _robots),
        (web.get, "/favicon.ico", "_no_icon", _no_icon),
    ]

    def refused(request: web.Request, error: WaveletError) -> None:
        if request.method == hdrs.METH_GET and isinstance(error, CallerError):
            door, _, name = request.path.lstrip("/").partition("/")
            audit.note(decision_of(error), door=door, uid=_identity(request).uid, name=name, reason=error.message)

    app.add_routes([method(path, answering(kind, handler, refused)) for method, path, kind, handler in routes])


class _WaveDoor:
    """The handlers that ask the resolver's side."""

    def __init__(
        self, requests: ContainerRequests, inspection: Inspection, authority: str, site: Callable[[], CondaDefaults]
    ) -> None:
        self._requests = requests
        self._inspection = inspection
        self._authority = authority
        self._site = site
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES)
        self._bodies = Bodies()

    async def submit(self, request: web.Request) -> web.Response:
        return await self._submit(request, "v1alpha2")

    async def submit_v1(self, request: web.Request) -> web.Response:
        return await self._submit(request, "v1")

    async def _submit(self, request: web.Request, api: WaveApi) -> web.Response:
        identity = _identity(request)
        asked, about = await self._submission(request, api)
        if isinstance(asked, WaveletError):
            self._requests.decisions.refused(asked, about, identity)
            raise asked
        refresh = _flag(request, "refresh")
        try:
            status = await self._requests.submissions.submit(
                Request.of(
                    asked.plan,
                    identity,
                    about,
                    inline=asked.inline,
                    options=Options(dry_run=asked.dry_run, refresh=refresh),
                )
            )
            if (api == "v1" or asked.is_pulled_at_once) and _is_pushed(asked) and not isinstance(status.state, Ready):
                status = await self._requests.tracker.settled(status.request.token, identity, PUSH_WAIT)
                if not isinstance(status.state, Ready):
                    raise _unpushed(status.state)
        except WaveletError as error:
            raise naming_option(error) from None
        if api == "v1":
            return _json(answers.submitted_v1(status.request, self._authority))
        return _json(answers.submitted(status.request, status.state, self._authority, dry_run=asked.dry_run))

    async def _submission(self, request: web.Request, api: WaveApi) -> tuple[Submission | WaveletError, About]:
        """Return what is asked for, or why it is refused as it stands, and what is kept of the body."""

        def read(data: bytes) -> tuple[Submission | WaveletError, About]:
            about = about_of(ContainerValues(), api, "", request.remote or "")
            try:
                body = _decode(data, models.SubmitBody)
                values = values_of(body)
                about = about_of(values, api, named_in(values), request.remote or "")
                try:
                    asked = translate(body, api, self._site())
                    check_name(self._authority, asked.plan)
                except WaveletError as error:
                    return naming_option(error), about
                _flag(request, "refresh")
            except WaveletError as error:
                return error, about
            return asked, about_of(values, api, asked.image, request.remote or "", asked.notes)

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
        found = await self._requests.lookup.find(_token(request), _identity(request))
        return _json(answers.container(found, self._authority))

    async def container_status(self, request: web.Request) -> web.Response:
        status = await self._requests.tracker.status(_token(request), _identity(request))
        # Not request.host: without the header, that asks the DNS.
        host = request.headers.get("Host", self._authority)
        return _json(answers.status(status.request, status.state, status.seconds, f"{request.scheme}://{host}"))

    async def describe_token(self, request: web.Request) -> web.Response:
        found = await self._requests.lookup.find(_token(request), _identity(request))
        return _json(answers.token(found, self._authority))

    async def evict_token(self, request: web.Request) -> web.Response:
        await self._requests.evictions.evict(_token(request), _identity(request), door="v1")
        return web.Response()

    async def describe_build(self, request: web.Request) -> web.Response:
        build, token = _build(request)
        status = await self._requests.tracker.status(token, _identity(request))
        found = await self._requests.lookup.find(token, _identity(request))
        return _json(answers.build(found, status.state, status.seconds, build, self._authority))

    async def build_status(self, request: web.Request) -> web.Response:
        build, token = _build(request)
        status = await self._requests.tracker.status(token, _identity(request))
        return _json(answers.build_status(status.request, status.state, status.seconds, build))

    async def build_log(self, request: web.Request) -> web.Response:
        _, token = _build(request)
        log = await self._requests.details.log(token, _identity(request))
        if not log:
            raise NotFound("there is no log: nothing was made for this request; its status has the reason of a failure")
        return _text(log)

    async def build_lock(self, request: web.Request) -> web.Response:
        _, token = _build(request)
        form = request.query.get("format", LOCK_FORMS[0])
        if form not in LOCK_FORMS:
            raise InvalidRequest(f"format: {form[:60]!r} is not one of {', '.join(LOCK_FORMS)}", field="format")
        platform = _single_platform(request.query.get("platform"))
        return _text(await self._requests.details.lock(token, _identity(request), form, platform))

    async def describe_mirror(self, request: web.Request) -> web.Response:
        token, identity = _mirror(request), _identity(request)
        status = await self._requests.tracker.status(token, identity)
        found = await self._mirrored(request)
        log = await self._requests.details.log(token, identity)
        return _json(answers.mirror(found, status.state, status.seconds, log, self._authority))

    async def _mirrored(self, request: web.Request) -> ContainerRequest:
        """Return the request that is known by the id of a copy; a request for something else has none."""
        found = await self._requests.lookup.find(_mirror(request), _identity(request))
        if found.mirror_id is None:
            raise _unknown("mirror", request.match_info["mirror"])
        return found

    async def mirror_log(self, request: web.Request) -> web.Response:
        token = (await self._mirrored(request)).token
        log = await self._requests.details.log(token, _identity(request))
        response = _text(log)
        response.headers["Content-Disposition"] = f'attachment; filename="mr-{token}.log"'
        return response

    async def view_mirror(self, request: web.Request) -> web.Response:
        token = (await self._mirrored(request)).token
        status = await self._requests.tracker.status(token, _identity(request))
        log = await self._requests.details.log(token, _identity(request))
        return _text(answers.mirror_page(status, self._authority, log))

    async def view_container(self, request: web.Request) -> web.Response:
        status = await self._requests.tracker.status(_token(request), _identity(request))
        return _text(answers.page(status, self._authority))

    async def view_build(self, request: web.Request) -> web.Response:
        build, token = _build(request)
        status = await self._requests.tracker.status(token, _identity(request))
        log = await self._requests.details.log(token, _identity(request))
        return _text(answers.build_page(status, self._authority, build, log))

    async def inspect(self, request: web.Request) -> web.Response:
        body = await self._body(request, models.InspectBody)
        if not body.container_image:
            raise InvalidRequest("containerImage: is missing; it is the image to inspect", field="containerImage")
        reference = Reference.parse(body.container_image, "containerImage")
        platform = _single_platform(request.query.get("platform"))
        found = await self._inspection.documents(reference, platform, _identity(request))
        return _json(inspected(reference, found.descriptor, found.manifest, found.config))

    async def validate_credentials(self, request: web.Request) -> web.Response:
        body = await self._body(request, models.CredentialsBody)
        login = Login(_filled(body.user_name, "userName"), _filled(body.password, "password"))
        return _json(await self._inspection.check_login(_registry_host(_filled(body.registry, "registry")), login))


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


def _is_pushed(asked: Submission) -> bool:
    """Tell whether an image is pushed elsewhere: whoever pulls it there has to find it."""
    delivery = asked.plan.delivery
    return delivery is not None and delivery.repository is not None and not asked.dry_run


def _unpushed(state: State) -> WaveletError:
    """Return why an image is not where it should be, as the answer to who does not ask for its status."""
    if isinstance(state, Failed):
        return state.error
    return WaitExpired("buildRepository: the image is not there yet; it is still worked on", retry_after=PUSH_RETRY)


def _flag(request: web.Request, name: str) -> bool:
    text = request.query.get(name, "false")
    if text not in ("true", "false"):
        raise InvalidRequest(f"{name}: {text[:60]!r} is neither true nor false", field=name)
    return text == "true"


def _identity(request: web.Request) -> Identity:
    identity: Identity = request[IDENTITY]
    return identity


def _token(request: web.Request) -> str:
    token = request.match_info["token"]
    if not well_formed(token):
        raise _unknown("container request", token)
    return token


def _build(request: web.Request) -> tuple[str, str]:
    """Return a build's id and the token in it: builds are container requests under another name."""
    build = request.match_info["build"]
    found = _BUILD.fullmatch(build)
    if found is None:
        raise _unknown("build", build)
    return build, found["token"]


def _mirror(request: web.Request) -> str:
    """Return the token in the id of a copy."""
    mirror = request.match_info["mirror"]
    found = _MIRROR.fullmatch(mirror)
    if found is None:
        raise _unknown("mirror", mirror)
    return found["token"]


def _unknown(kind: Literal["container request", "build", "mirror"], name: str) -> TokenNotFound:
    return TokenNotFound(f"no {kind} is known as {name[:_TEXT_LIMIT]!r}; ask for the container again")


def _single_platform(text: str | None) -> Platform | None:
    if not text:
        return None
    if "," in text:
        raise InvalidRequest("platform: one platform is inspected at a time; name a single one", field="platform")
    return Platform.parse(text, "platform")


def _filled(text: str | None, field: str) -> str:
    if text is None or not text.strip():
        raise InvalidRequest(f"{field}: is missing; userName, password and registry are needed", field=field)
    return text


def _registry_host(text: str) -> str:
    host = text.strip().rstrip("/")
    if "://" in host or not valid_host(host):
        message = f"registry: {text[:_TEXT_LIMIT]!r} is not a registry host; it takes HOST or HOST:PORT, without scheme"
        raise InvalidRequest(message, field="registry")
    return normalise(host, "library/any")[0]


def _json(answer: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


def _text(text: str) -> web.Response:
    return web.Response(text=text, headers={"X-Content-Type-Options": "nosniff"})
