"""The routes of SIF files: HTTP in, HTTP out. Other routes below `/sif` are longer, and so they are found first."""

from __future__ import annotations

from aiohttp import hdrs, web

from wavelet.errors import InvalidRequest, WaveletError
from wavelet.front.defects import defect
from wavelet.front.keys import CALLER
from wavelet.front.metrics import answered
from wavelet.front.registry.granted import note_granted
from wavelet.front.registry.headers import matches_etag
from wavelet.front.registry.routes import error_response
from wavelet.front.registry.scope import Scope, ScopeOpener
from wavelet.front.registry.sif_names import SifNames
from wavelet.front.registry.transfer import blob_headers, send_blob
from wavelet.front.sif.file_names import FileName, PublishedFile, RequestedFile, read_path
from wavelet.image.image import Content
from wavelet.image.reference import Platform
from wavelet.requests.access import Caller
from wavelet.requests.audit import Audit, decision_of


class SifDoor:
    """Handlers for files."""

    def __init__(self, scopes: ScopeOpener, content: SifNames, audit: Audit, *, reserved: bool) -> None:
        self._scopes = scopes
        self._content = content
        self._audit = audit
        self._reserved = reserved

    def add_routes(self, app: web.Application) -> None:
        """Register the routes."""
        app.router.add_get("/sif/{path:.+}", self.handle)  # and HEAD

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer with a file, or a part of one; errors as the registry answers them."""
        path = request.match_info["path"]
        try:
            response = await self._file(request, path)
        except WaveletError as error:
            self._audit.note(
                decision_of(error), door="sif", uid=request[CALLER].uid, name=f"sif/{path}", reason=error.message
            )
            response = error_response(error)
        except (ConnectionError, web.HTTPException):
            raise
        except Exception:  # noqa: BLE001 - the last resort of the door
            response = error_response(defect(request))
        answered("sif", "file", response.status).inc()
        return response

    async def _file(self, request: web.Request, path: str) -> web.StreamResponse:
        name = read_path(path, reserved=self._reserved)
        platform = request.query.get("platform")
        asked = None if platform is None else Platform.parse(platform, "platform")
        scope, manifest = await self._manifest(name, asked, request[CALLER])
        located = await self._content.file(scope, manifest)
        note_granted(self._audit, "sif", request, scope, located.digest)
        extra: dict[str, str] = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name.file_name}"'}
        answer = blob_headers(located.digest) | extra
        if matches_etag(request.headers.get(hdrs.IF_NONE_MATCH), located.digest):
            return web.Response(status=304, headers=answer)
        if request.method == hdrs.METH_HEAD:
            return web.Response(headers=answer | {hdrs.CONTENT_LENGTH: str(located.size)})
        return await send_blob(request, await self._content.blob(scope, located), located.digest, extra)

    async def _manifest(self, name: FileName, asked: Platform | None, caller: Caller) -> tuple[Scope, Content]:
        if isinstance(name, PublishedFile):
            scope = self._scopes.open_file(name.path, caller)
            return scope, await self._content.of_file(scope, name.plan)
        if isinstance(name, RequestedFile):
            scope = await self._scopes.open_token(name.token, caller)
            return scope, await self._content.of_image(scope, scope.tag or "", asked)
        if asked not in (None, name.platform) and name.platform is not None:
            raise InvalidRequest(f"platform: {asked}, where the tag says {name.platform}", field="platform")
        scope = await self._scopes.open(name.name, name.tag, caller)
        return scope, await self._content.of_image(scope, name.digest or name.tag, name.platform or asked)
