"""The routes that change what is hosted: uploads, manifests and tags of `local/` names (distribution-spec, "Push")."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from aiohttp import hdrs, web

from wavelet.errors import (
    ChunkMisplaced,
    InvalidName,
    InvalidRequest,
    MethodRefused,
    TooLarge,
    WaveletError,
)
from wavelet.front.bodies import Bodies, stream_body
from wavelet.front.keys import CALLER
from wavelet.front.registry.names import LocalName, Route, SifName, parse_name
from wavelet.front.registry.own_names import OwnHosts
from wavelet.front.registry.scope import ScopeOpener
from wavelet.front.registry.service import RegistryService
from wavelet.hosted.model import HostedRepository, readers_view
from wavelet.hosted.service import HostedServices
from wavelet.hosted.uploads import Piece, Session
from wavelet.image.image import MANIFEST_LIMIT
from wavelet.image.reference import Digest, valid_tag
from wavelet.plan.hosted import FIRST
from wavelet.requests.access import AccessRules, Caller
from wavelet.requests.audit import Audit, Decision
from wavelet.store.content import Committed

MOUNT_WAIT = 5.0
"""Seconds that a push waits for whether a blob can be taken from what another name has answered."""

_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?")


@dataclass(frozen=True, slots=True)
class _Push:
    """A request that changes something."""

    request: web.Request
    route: Route
    repository: HostedRepository

    @property
    def digest(self) -> Digest | None:
        """What its query says that the content is."""
        text = self.request.query.get("digest")
        return None if text is None else Digest.parse(text, "digest")


class PushDoor:
    """Answers requests that change what is hosted, and those for uploads."""

    def __init__(
        self,
        hosted: HostedServices,
        rules: AccessRules,
        scopes: ScopeOpener,
        content: RegistryService,
        audit: Audit,
        *,
        reserved: bool,
        own_hosts: OwnHosts,
    ) -> None:
        self._hosted = hosted
        self._rules = rules
        self._scopes = scopes
        self._content = content
        self._audit = audit
        self._reserved = reserved
        self._own_hosts = own_hosts
        self._bodies = Bodies()

    async def handle(self, request: web.Request, route: Route) -> web.Response:
        """Answer one request.

        Raises:
            AccessRefused: the caller may not push.
            MethodRefused: nothing can be pushed to this name, or not so.
            WaveletError: why it cannot be done.
        """
        caller = request[CALLER]
        push = _Push(request, route, self._target(route, request, caller))
        match request.method, route.kind:
            case _, "uploads":
                return await self._upload(push, caller)
            case hdrs.METH_PUT, "manifests":
                return await self._put_manifest(push)
            case hdrs.METH_DELETE, "manifests" | "blobs":
                return await self._delete(push)
        raise _refused(push)

    def _target(self, route: Route, request: web.Request, caller: Caller) -> HostedRepository:
        namespace = request.query.get("ns")
        is_ours = namespace is None or namespace in self._own_hosts
        name = parse_name(route.name, None, reserved=self._reserved) if is_ours else None
        if not isinstance(name, LocalName):
            raise MethodRefused(
                f"nothing can be pushed to {route.name[:300]}, or deleted from it: {self._where(request.host)}"
            )
        self._hosted.check_pusher(caller.uid, hidden=caller.hidden)
        return HostedRepository(self._rules.pull_identity(caller).principal, name.path)

    def _where(self, host: str) -> str:
        if not self._reserved:
            return "`reserved_names` is false, so that all names are Docker Hub's"
        return f"images are pushed to {FIRST}/NAME alone, as in `docker push {host}/{FIRST}/tool:1`"

    # -- uploads ------------------------------------------------------------------------------------------------------

    async def _upload(self, push: _Push, caller: Caller) -> web.Response:
        method = push.request.method
        if not push.route.reference:
            if method != hdrs.METH_POST:
                raise _refused(push)
            return await self._begin(push, caller)
        session = self._hosted.uploads.get(push.repository, push.route.reference)
        match method:
            case hdrs.METH_GET | hdrs.METH_HEAD:
                return _in_progress(push, session, 204)
            case hdrs.METH_PATCH:
                return await self._receive(push, session) or _in_progress(push, session, 202)
            case hdrs.METH_PUT:
                return await self._end(push, session)
            case hdrs.METH_DELETE:
                self._hosted.uploads.cancel(session)
                return web.Response(status=204)
        raise _refused(push)

    async def _begin(self, push: _Push, caller: Caller) -> web.Response:
        mounted = push.request.query.get("mount")
        if mounted is not None and await self._mount(push, Digest.parse(mounted, "mount"), caller):
            return _kept(push, Digest(mounted))
        session = self._hosted.uploads.begin(push.repository, caller.uid)
        if mounted is not None or push.digest is None:
            return _in_progress(push, session, 202)
        try:
            return await self._end(push, session)
        finally:
            # Its client does not know how to go on with it.
            self._hosted.uploads.drop(session)

    async def _mount(self, push: _Push, digest: Digest, caller: Caller) -> bool:
        """Give the repository a blob of another one that the caller may read; tell whether it has it."""
        hosted, source = self._hosted, push.request.query.get("from")
        view = readers_view(self._rules.pull_identity(caller), push.repository.path)
        candidates = hosted.images.holders(view, digest)
        if source is not None:
            name = parse_name(source, None, reserved=self._reserved)
            if isinstance(name, SifName):
                return False  # its bytes lie in pieces: the client sends them
            if not isinstance(name, LocalName):
                return await self._mount_cached(push, digest, source, caller)
            candidates = [each for each in candidates if each.path == name.path]
        for candidate in candidates:
            found = hosted.images.blob([candidate], digest)
            if found is not None and await hosted.pushes.mount(
                push.repository, digest, found.size, candidate.source.origin
            ):
                return True
        return False

    async def _mount_cached(self, push: _Push, digest: Digest, source: str, caller: Caller) -> bool:
        """Do so with a blob of an image that another name of this daemon has answered, if the store has it."""
        try:
            async with asyncio.timeout(MOUNT_WAIT):
                scope = await self._scopes.open(parse_name(source, None, reserved=self._reserved), str(digest), caller)
                content = (await self._content.locate(scope, digest)).content
        except (WaveletError, TimeoutError):
            return False  # the client sends the bytes then
        blob = None if content is None else self._hosted.store.find(digest, content.source.origin)
        if content is None or not isinstance(blob, Committed):
            return False
        return await self._hosted.pushes.mount(push.repository, digest, blob.size, content.source.origin)

    async def _receive(self, push: _Push, session: Session) -> web.Response | None:
        """Take the body; a piece that does not begin where the last one ended is answered with where that is."""
        try:
            await self._hosted.uploads.receive(session, stream_body(push.request), _piece(push.request))
        except ChunkMisplaced as error:
            errors = [{"code": error.code, "message": error.message}]
            headers = _place(push, session)
            return web.json_response({"errors": errors}, status=error.status, headers=headers)
        return None

    async def _end(self, push: _Push, session: Session) -> web.Response:
        digest = push.digest
        if digest is None:
            raise InvalidRequest("digest: is missing; an upload ends with the digest of what it is", field="digest")
        if (misplaced := await self._receive(push, session)) is not None:
            return misplaced
        await self._hosted.uploads.finish(session, digest)
        return _kept(push, digest)

    # -- manifests ----------------------------------------------------------------------------------------------------

    async def _put_manifest(self, push: _Push) -> web.Response:
        reference, query = push.route.reference, push.request.query
        tags = query.getall("tag", [])
        for tag in [*tags, *(() if ":" in reference else (reference,))]:
            if not valid_tag(tag):
                raise InvalidName(f"{tag[:150]!r} is not a tag")
        if (push.request.content_length or 0) > MANIFEST_LIMIT:
            raise _too_large()
        named = Digest.parse(reference) if ":" in reference else reference
        async with self._bodies.read(push.request) as data:
            if len(data) > MANIFEST_LIMIT:
                raise _too_large()
            content_type = push.request.headers.get(hdrs.CONTENT_TYPE, "")
            put = await self._hosted.pushes.put_manifest(push.repository, named, data, content_type, tags)
        self._note("pushed", push, reference, put.digest)
        extra = {} if put.subject is None else {"OCI-Subject": str(put.subject)}
        if tags:
            extra["OCI-Tag"] = ", ".join(tags)
        location = f"/v2/{push.route.name}/manifests/{put.digest}"
        headers = {hdrs.LOCATION: location, "Docker-Content-Digest": str(put.digest)} | extra
        return web.Response(status=201, headers=headers)

    async def _delete(self, push: _Push) -> web.Response:
        reference = push.route.reference
        digest = Digest.parse(reference) if ":" in reference or push.route.kind == "blobs" else None
        pushes, repository = self._hosted.pushes, push.repository
        if push.route.kind == "blobs":
            assert digest is not None, "it was parsed"
            await pushes.delete_blob(repository, digest)
        elif digest is not None:
            await pushes.delete_manifest(repository, digest)
        else:
            digest = await pushes.delete_tag(repository, reference)
        self._note("deleted", push, reference, digest)
        return web.Response(status=202)

    def _note(self, decision: Decision, push: _Push, reference: str, digest: Digest) -> None:
        self._audit.note(
            decision,
            door="registry",
            uid=push.request[CALLER].uid,
            principal=push.repository.owner,
            name=f"{push.route.name}{'@' if ':' in reference else ':'}{reference}",
            digest=str(digest),
        )


def _too_large() -> TooLarge:
    return TooLarge(f'a manifest has at most {MANIFEST_LIMIT} bytes (distribution-spec, "Pushing Manifests")')


def _piece(request: web.Request) -> Piece | None:
    """Return where the body begins and ends, if the request says that.

    Raises:
        InvalidRequest: it says something else.
    """
    header = request.headers.get(hdrs.CONTENT_RANGE)
    if header is None:
        return None
    found = _CONTENT_RANGE.fullmatch(header.strip())
    if found is None or int(found[2]) < int(found[1]):
        raise InvalidRequest(f"Content-Range: {header[:100]!r} is not FIRST-LAST, in bytes of the whole blob")
    return Piece(int(found[1]), int(found[2]))


def _refused(push: _Push) -> MethodRefused:
    return MethodRefused(f"/v2/{push.route.name}/…: this route does not take {push.request.method}")


def _in_progress(push: _Push, session: Session, status: int) -> web.Response:
    return web.Response(status=status, headers=_place(push, session))


def _place(push: _Push, session: Session) -> dict[str, str]:
    """Return where an upload goes on, and what of it has come."""
    return {
        hdrs.LOCATION: f"/v2/{push.route.name}/blobs/uploads/{session.id}",
        hdrs.RANGE: f"0-{max(0, session.upload.size - 1)}",
        "Docker-Upload-UUID": session.id,
    }


def _kept(push: _Push, digest: Digest) -> web.Response:
    headers = {hdrs.LOCATION: f"/v2/{push.route.name}/blobs/{digest}", "Docker-Content-Digest": str(digest)}
    return web.Response(status=201, headers=headers)
