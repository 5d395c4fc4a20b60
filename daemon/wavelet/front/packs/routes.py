"""The routes of packs: HTTP in, HTTP out. Whoever may call this daemon may have what the site puts into containers."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import hdrs, web

from wavelet.errors import NotFound
from wavelet.front.metrics import answered
from wavelet.front.registry.headers import matches_etag
from wavelet.front.registry.transfer import blob_headers, send_blob
from wavelet.image.reference import Digest
from wavelet.packs.catalogue import ListedPack
from wavelet.packs.library import PackLibrary
from wavelet.packs.locations import PATH, base_url, document_of
from wavelet.packs.model import Pack, PackRefused
from wavelet.store.content import Committed

_DOCUMENT = ".json"


class PackDoor:
    """Handlers for packs; `authority` is this daemon's, as documents name it."""

    def __init__(self, library: PackLibrary, authority: str) -> None:
        self._library = library
        self._authority = authority

    def add_routes(self, app: web.Application) -> None:
        """Register the routes."""
        app.router.add_get("/packs", self._listing)  # and HEAD
        app.router.add_get(f"{PATH}{{document}}", self._document)
        app.router.add_get(f"{PATH}{{reference}}/{{file}}", self._file)

    async def _listing(self, request: web.Request) -> web.StreamResponse:
        await self._library.settled()
        packs = [_listed(each, self._authority) for each in self._library.listing()]
        return _counted("packs", _json(request, packs))

    async def _document(self, request: web.Request) -> web.StreamResponse:
        document: str = request.match_info["document"]
        if not document.endswith(_DOCUMENT):
            raise NotFound(f"no such route: {request.path[:300]!a}; a pack's document is {PATH}NAME[@VERSION].json")
        name, at, version = document.removesuffix(_DOCUMENT).partition("@")
        pack = await self._pack(name, version if at else None)
        return _counted("document", _json(request, document_of(pack, base_url(pack, self._authority))))

    async def _file(self, request: web.Request) -> web.StreamResponse:
        reference, file = request.match_info["reference"], request.match_info["file"]
        name, _, version = reference.partition("@")
        layer = self._library.layer(reference, file)
        if layer is None:
            await self._pack(name, version or None)
            raise NotFound(
                f"the pack {reference[:160]} has no file {file[:80]!a}; its document names those that it has"
            )
        headers = blob_headers(layer.digest)
        if matches_etag(request.headers.get(hdrs.IF_NONE_MATCH), layer.digest):
            return _counted("file", web.Response(status=304, headers=headers))
        assert layer.size is not None, "it was built here"
        path = self._library.layer_file(layer.digest)
        try:
            if path is None:
                raise FileNotFoundError
            response = await send_blob(request, Committed(layer.digest, layer.size, path), layer.digest, {})
        except FileNotFoundError:
            raise NotFound(
                f"the file {file} of the pack {reference} is damaged or gone here, and is built again; ask again"
            ) from None
        return _counted("file", response)

    async def _pack(self, name: str, version: str | None) -> Pack:
        """Return a pack.

        Raises:
            NotFound: there is none, and why.
        """
        await self._library.settled([name])
        try:
            return self._library.get(name, version)
        except PackRefused as error:
            raise NotFound(error.message) from None


def url_of(pack: Pack, authority: str) -> str:
    """Return where the document of exactly this version is."""
    return f"http://{authority}{PATH}{pack.reference}{_DOCUMENT}"


def _listed(each: ListedPack, authority: str) -> dict[str, Any]:
    pack = each.pack
    return {
        "name": each.name,
        "version": None if pack is None else pack.version,
        "url": None if pack is None else url_of(pack, authority),
        "architectures": [] if pack is None else sorted(pack.architectures),
        "shipped": each.shipped,
        "problem": each.problem or None,
    }


def _json(request: web.Request, value: object) -> web.Response:
    body = json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"
    digest = Digest.of(body)
    headers = {hdrs.ETAG: f'"{digest}"', hdrs.CACHE_CONTROL: "no-cache"}
    if matches_etag(request.headers.get(hdrs.IF_NONE_MATCH), digest):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers | {hdrs.CONTENT_TYPE: "application/json"})


def _counted(kind: str, response: web.StreamResponse) -> web.StreamResponse:
    answered("packs", kind, response.status).inc()
    return response
