"""The routes of the registry: HTTP in, HTTP out."""

from __future__ import annotations

import json

from aiohttp import hdrs, web

from wavelet.errors import AccessRefused, ImageNotFound, MethodRefused, WaveletError
from wavelet.front.defects import defect
from wavelet.front.keys import CALLER
from wavelet.front.metrics import answered
from wavelet.front.registry import headers, setup_image
from wavelet.front.registry.granted import note_granted
from wavelet.front.registry.local_names import LocalNames
from wavelet.front.registry.names import (
    LocalName,
    Route,
    SifName,
    UpstreamName,
    parse_name,
    parse_route,
    parse_upload_route,
)
from wavelet.front.registry.own_names import OwnHosts
from wavelet.front.registry.pushes import PushDoor
from wavelet.front.registry.scope import Scope, ScopeOpener
from wavelet.front.registry.service import RegistryService
from wavelet.front.registry.sif_names import SifNames
from wavelet.front.registry.transfer import blob_headers, send_blob
from wavelet.image.image import INDEX_TYPES, OCI_INDEX, Content, Index, parse_document
from wavelet.image.reference import DEFAULT_PLATFORM, Digest, valid_tag
from wavelet.plan.hosted import FIRST as LOCAL_PREFIX
from wavelet.requests.audit import Audit, decision_of

_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
_READING = (hdrs.METH_GET, hdrs.METH_HEAD)


class RegistryDoor:
    """Handlers for everything under `/v2/`."""

    def __init__(
        self,
        scopes: ScopeOpener,
        content: RegistryService,
        local: LocalNames,
        sif: SifNames,
        pushes: PushDoor,
        audit: Audit,
        *,
        reserved: bool,
        own_hosts: OwnHosts,
    ) -> None:
        self._scopes = scopes
        self._upstream = content
        self._local = local
        self._sif = sif
        self._pushes = pushes
        self._audit = audit
        self._reserved = reserved
        self._own_hosts = own_hosts

    def add_routes(self, app: web.Application) -> None:
        """Register the routes."""
        app.router.add_route("*", "/v2", self.handle)
        app.router.add_route("*", "/v2/{path:.*}", self.handle)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; errors in the form of the distribution-spec ("Error Codes")."""
        kind = "ping"
        route: Route | None = None
        try:
            path = request.match_info.get("path", "")
            if not path:
                return _ping(request)
            route = _route_of(request, path)
            kind = route.kind
            response = await self._dispatch(request, route)
        except WaveletError as error:
            self._refused(request, route, error)
            response = error_response(error)
        except (ConnectionError, web.HTTPException):
            raise
        except Exception:  # noqa: BLE001 - the last resort of the door
            response = error_response(defect(request))
        answered("registry", kind, response.status).inc()
        return response

    def _refused(self, request: web.Request, route: Route | None, error: WaveletError) -> None:
        """Write down that something was not given; of a blob, if the caller may not have it: clients look for those."""
        if route is None:
            return
        if route.kind in ("blobs", "uploads") and not isinstance(error, AccessRefused | MethodRefused):
            return
        asked = f"{'@' if ':' in route.reference else ':'}{route.reference}" if route.reference else ""
        self._audit.note(
            decision_of(error),
            door="registry",
            uid=request[CALLER].uid,
            name=f"{route.name}{asked}",
            reason=error.message,
        )

    async def _dispatch(self, request: web.Request, route: Route) -> web.StreamResponse:
        if route.kind == "uploads" or request.method not in _READING:
            pushed = await self._pushes.handle(request, route)
            pushed.headers.update(_VERSION)
            return pushed
        namespace = request.query.get("ns")
        if namespace is not None and namespace in self._own_hosts:
            namespace = None
        extra = dict(_VERSION) if namespace is None else _VERSION | {"OCI-Namespace": namespace}
        name = parse_name(route.name, namespace, reserved=self._reserved)
        if isinstance(name, UpstreamName) and (built_in := setup_image.find(name.repository.path, route.reference)):
            return _of_setup(built_in, extra)
        scope = await self._scopes.open(name, route.reference, request[CALLER])
        match route.kind:
            case "manifests":
                return await self._manifest(request, scope, route.reference, extra)
            case "blobs":
                return await self._blob(request, scope, Digest.parse(route.reference), extra)
            case "tags":
                return await self._tags(request, scope, route, extra)
            case "referrers":
                return await self._referrers(request, scope, Digest.parse(route.reference), extra)
        raise AssertionError("uploads are answered elsewhere")

    def _content(self, scope: Scope) -> RegistryService | LocalNames | SifNames:
        return self._sif if isinstance(scope.named, SifName) else self._images(scope)

    def _images(self, scope: Scope) -> RegistryService | LocalNames:
        return self._local if isinstance(scope.named, LocalName) else self._upstream

    async def _manifest(
        self, request: web.Request, scope: Scope, reference: str, extra: dict[str, str]
    ) -> web.StreamResponse:
        accept = request.headers.getall(hdrs.ACCEPT, [])
        if ":" in reference:
            content = await self._content(scope).manifest(scope, Digest.parse(reference))
        else:
            if not valid_tag(reference):
                raise ImageNotFound(f"{reference[:150]!r} is not a tag")
            content = await self._content(scope).get_tag(scope, reference)
            content = await self._negotiated(scope, content, accept)
        descriptor = content.descriptor
        answer = {
            "Docker-Content-Digest": str(descriptor.digest),
            hdrs.ETAG: f'"{descriptor.digest}"',
            hdrs.CONTENT_TYPE: descriptor.media_type,
        } | extra
        is_known = headers.matches_etag(request.headers.get(hdrs.IF_NONE_MATCH), descriptor.digest)
        data = None if is_known else await self._content(scope).document(scope, content)
        note_granted(self._audit, "registry", request, scope, descriptor.digest)
        if data is None:
            return web.Response(status=304, headers=answer)
        return web.Response(body=data, headers=answer)

    async def _blob(
        self, request: web.Request, scope: Scope, digest: Digest, extra: dict[str, str]
    ) -> web.StreamResponse:
        located = await self._content(scope).locate(scope, digest)
        answer = blob_headers(digest) | extra
        if headers.matches_etag(request.headers.get(hdrs.IF_NONE_MATCH), digest):
            return web.Response(status=304, headers=answer)
        if request.method == hdrs.METH_HEAD:
            # A client that only looks does not make the store fetch.
            size = {} if located.size is None else {hdrs.CONTENT_LENGTH: str(located.size)}
            return web.Response(headers=answer | size)
        return await send_blob(request, await self._content(scope).blob(scope, located), digest, extra)

    async def _negotiated(self, scope: Scope, content: Content, accept: list[str]) -> Content:
        """Give a client that reads no indexes the manifest of the default platform, as registries do."""
        media_type = content.descriptor.media_type
        if media_type not in INDEX_TYPES or any(headers.accepts(accept, each) for each in INDEX_TYPES):
            return content
        view = parse_document(await self._content(scope).document(scope, content), media_type)
        entry = view.select(DEFAULT_PLATFORM) if isinstance(view, Index) else None
        if entry is not None and entry.descriptor.media_type not in INDEX_TYPES:
            return await self._content(scope).manifest(scope, entry.descriptor.digest)
        return await self._content(scope).looked_into(scope, content, DEFAULT_PLATFORM)

    async def _tags(
        self, request: web.Request, scope: Scope, route: Route, extra: dict[str, str]
    ) -> web.StreamResponse:
        n = headers.parse_page_size(request.query.get("n"))
        asked = scope.image or scope  # a SIF has the tags of its image
        tags, more = await self._images(asked).tags(asked, n, request.query.get("last"))
        if more and n and tags:
            namespace = extra.get("OCI-Namespace")
            extra[hdrs.LINK] = headers.next_link(f"/v2/{route.name}/tags/list", n, tags[-1], namespace)
        name = scope.repository.path if scope.repository and "OCI-Namespace" in extra else route.name
        return web.json_response({"name": name, "tags": tags}, headers=extra)

    async def _referrers(
        self, request: web.Request, scope: Scope, digest: Digest, extra: dict[str, str]
    ) -> web.StreamResponse:
        referrers = await self._content(scope).referrers(scope, digest)
        found = referrers.descriptors
        if referrers.missing:
            extra["Warning"] = headers.warning(referrers.missing)
        wanted = request.query.getall("artifactType", [])
        if wanted:
            found = [descriptor for descriptor in found if descriptor.get("artifactType") in wanted]
            extra["OCI-Filters-Applied"] = "artifactType"
        index: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
        return web.Response(body=json.dumps(index).encode(), content_type=OCI_INDEX, headers=extra)


def _of_setup(part: setup_image.Part, extra: dict[str, str]) -> web.Response:
    descriptor = part.descriptor
    answer = {"Docker-Content-Digest": str(descriptor.digest), hdrs.CONTENT_TYPE: descriptor.media_type}
    return web.Response(body=part.data, headers=answer | extra)


def _ping(request: web.Request) -> web.Response:
    """Answer whether this is a registry (distribution-spec, "Determining Support").

    Raises:
        MethodRefused: it is not asked.
    """
    if request.method not in _READING:
        raise MethodRefused(f"/v2/: this route does not take {request.method}")
    return web.json_response({}, headers=_VERSION)


def _route_of(request: web.Request, path: str) -> Route:
    """Take a path apart; that of an upload is one where something can be pushed, or something is.

    Raises:
        NotFound: no such route.
    """
    upload = parse_upload_route(path)
    if upload is not None and (request.method not in _READING or upload.name.startswith(f"{LOCAL_PREFIX}/")):
        return upload
    return parse_route(path)


def error_response(error: WaveletError) -> web.Response:
    """Return an error as the distribution-spec has it, its sentence in the status line too."""
    extra = dict(_VERSION)
    if error.retry_after is not None:
        extra[hdrs.RETRY_AFTER] = str(max(1, round(error.retry_after)))
    if error.status == 416:
        extra[hdrs.CONTENT_RANGE] = f"bytes */{getattr(error, 'size', '*')}"
    body = {"errors": [{"code": error.code, "message": error.message, "detail": {"fault": error.fault.value}}]}
    return web.json_response(body, status=error.status, reason=headers.reason_phrase(error.message), headers=extra)
