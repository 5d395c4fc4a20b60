"""A registry on loopback that misbehaves on demand.

It stands in for registries with faults that real ones cannot be told to show: bodies that break off, lie about their
length or stall, "not now" for exactly two requests, redirect loops, tokens that end too soon, APIs left out. It also
counts what it was asked. Where a real registry will do, use that one.

    async with Registry() as registry:
        image = registry.add_image("lab/tool", "1")
        registry.fault("/blobs/", truncate=100, times=1)
        ...
        assert registry.count("GET", "/blobs/") == 2
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import ssl
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDictProxy

from doubles.faults import NONE, Fault, send
from doubles.logins import Doors, doors
from doubles.uploads import Reply, Uploads, read

_TYPES = {
    "oci": {
        "manifest": "application/vnd.oci.image.manifest.v1+json",
        "index": "application/vnd.oci.image.index.v1+json",
        "config": "application/vnd.oci.image.config.v1+json",
        "layer": "application/vnd.oci.image.layer.v1.tar+gzip",
    },
    "docker": {
        "manifest": "application/vnd.docker.distribution.manifest.v2+json",
        "index": "application/vnd.docker.distribution.manifest.list.v2+json",
        "config": "application/vnd.docker.container.image.v1+json",
        "layer": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    },
}
_ROUTE = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<what>[^/]+)")
_UPLOADS = re.compile(r"/v2/(?P<repository>.+)/blobs/uploads/(?P<upload>[^/]*)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: CIMultiDictProxy[str]


class Registry:
    """One registry. Its attributes may be changed while it runs.

    Attributes:
        heads: whether it knows HEAD of manifests.
        digest_header: whether it says Docker-Content-Digest.
        ranges: whether it honours Range.
        referrers_api: whether it has the referrers API.
        page: most tags of one page, None for all at once.
        doors: the rules about logins, None while everybody may read all.
        uploads: the rules about what it takes.
    """

    def __init__(self, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.heads = self.digest_header = self.ranges = self.referrers_api = True
        self.page: int | None = None
        self.doors: Doors | None = None
        self.uploads = Uploads(_error)
        self.requests: list[Seen] = []
        self.open_now = 0
        self.most_open = 0
        self._address = host
        self._tls = tls
        self._port = 0
        self._blobs: dict[tuple[str, str], bytes] = {}
        self._manifests: dict[tuple[str, str], tuple[bytes, str]] = {}
        self._tags: dict[tuple[str, str], str] = {}
        self._faults: list[Fault] = []
        self._runner: web.AppRunner | None = None

    # Running

    async def start(self, port: int = 0) -> Self:
        """Listen, on `port`, on the port it had before, or on a free one."""
        app = web.Application(middlewares=[self._watch], client_max_size=2**24)
        app.router.add_route("*", "/token", self._token)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, max_line_size=2**16)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._address, port or self._port, ssl_context=self._tls, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        """Stop listening and drop all connections. It can be started again, with all its content."""
        self.clear_faults()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def host(self) -> str:
        """Host and port, as they stand in image names."""
        return f"[{self._address}]:{self._port}" if ":" in self._address else f"{self._address}:{self._port}"

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'http' if self._tls is None else 'https'}://{self.host}"

    # Content

    def add_blob(self, repository: str, data: bytes) -> str:
        """Add a blob and return its digest."""
        digest = _digest(data)
        self._blobs[repository, digest] = data
        return digest

    def add_manifest(
        self, repository: str, data: bytes, media_type: str = _TYPES["oci"]["manifest"], tag: str | None = None
    ) -> str:
        """Add a manifest or index, bytes as they are, and return its digest."""
        digest = _digest(data)
        self._manifests[repository, digest] = (data, media_type)
        if tag is not None:
            self._tags[repository, tag] = digest
        return digest

    def add_image(
        self,
        repository: str,
        tag: str | None,
        layers: Sequence[bytes] | None = None,
        config: Mapping[str, Any] | None = None,
        family: str = "oci",
        platform: str = "linux/amd64",
    ) -> dict[str, Any]:
        """Add an image: layers as compressed blobs (by default one small one), `config` over a plain configuration.

        Returns:
            `manifest` and `config` (digests), `layers` (list of digests), `size` and `media_type` of the manifest,
            `platform`.
        """
        types = _TYPES[family]
        blobs = [small_layer({"hello": f"{repository}:{tag} {platform}\n".encode()})] if layers is None else layers
        system, architecture, *variant = platform.split("/")
        document: dict[str, Any] = {
            "architecture": architecture,
            "os": system,
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [_diff_id(blob) for blob in blobs]},
        }
        document |= ({"variant": variant[0]} if variant else {}) | dict(config or {})
        configuration = json.dumps(document).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": types["manifest"],
                "config": _descriptor(configuration, types["config"]),
                "layers": [_descriptor(blob, types["layer"]) for blob in blobs],
            }
        ).encode()
        return {
            "config": self.add_blob(repository, configuration),
            "layers": [self.add_blob(repository, blob) for blob in blobs],
            "manifest": self.add_manifest(repository, manifest, types["manifest"], tag),
            "size": len(manifest),
            "media_type": types["manifest"],
            "platform": platform,
        }

    def add_index(
        self, repository: str, tag: str | None, images: Iterable[Mapping[str, Any]], family: str = "oci"
    ) -> str:
        """Add an index of images that `add_image` returned, and return its digest."""
        entries = []
        for image in images:
            system, architecture, *variant = image["platform"].split("/")
            platform = {"os": system, "architecture": architecture} | ({"variant": variant[0]} if variant else {})
            entry = {"mediaType": image["media_type"], "digest": image["manifest"], "size": image["size"]}
            entries.append(entry | {"platform": platform})
        media_type = _TYPES[family]["index"]
        data = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).encode()
        return self.add_manifest(repository, data, media_type, tag)

    def remove(self, repository: str, what: str) -> None:
        """Remove a tag, manifest or blob."""
        for content in (self._tags, self._manifests, self._blobs):
            content.pop((repository, what), None)

    # Misbehaviour

    def fault(self, pattern: str, **members: Any) -> Fault:
        """Let requests go wrong from now on (see Fault); the fault set last goes first."""
        fault = Fault(pattern, **members)
        self._faults.insert(0, fault)
        return fault

    def clear_faults(self) -> None:
        """End all faults."""
        for fault in self._faults:
            fault.lift()
        self._faults.clear()

    def require_login(
        self,
        scheme: str = "bearer",
        users: Mapping[str, tuple[str, Iterable[str]]] = {"alice": ("wonder", ("*",))},
        public: Iterable[str] = (),
        realm: str | None = None,
        lifetime: float = 300.0,
    ) -> Doors:
        """Ask for logins from now on: `users` maps a name to a password and patterns of repositories it may read."""
        self.doors = doors(scheme, users, public, realm or f"{self.url}/token", lifetime)
        return self.doors

    # What it saw

    def count(self, method: str | None = None, pattern: str = "") -> int:
        """Return the number of requests so far, by method and pattern of the path."""
        return len(self.seen(method, pattern))

    def seen(self, method: str | None = None, pattern: str = "") -> list[Seen]:
        """Return the requests so far, by method and pattern of the path."""
        return [r for r in self.requests if method in (None, r.method) and re.search(pattern, r.path)]

    # Answers

    @web.middleware
    async def _watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests.append(Seen(request.method, request.path, dict(request.query), request.headers))
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            return await handler(request)
        finally:
            self.open_now -= 1

    def _strike(self, request: web.Request) -> Fault:
        return next((f for f in self._faults if f.strikes(request.method, request.path)), NONE)

    async def _token(self, request: web.Request) -> web.StreamResponse:
        fault = self._strike(request)
        if fault is not NONE or self.doors is None:
            return await send(request, 404, {}, b"", fault)
        return await self.doors.token(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        fault = self._strike(request)
        status, headers, body = await self._content(request, fault)
        return await send(request, status, headers, body, fault)

    async def _content(self, request: web.Request, fault: Fault) -> Reply:
        found = _ROUTE.fullmatch(request.path) or _UPLOADS.fullmatch(request.path)
        if found is None and request.path != "/v2/":
            return _error(404, "NOT_FOUND")
        refused = None if self.doors is None else self.doors.refusal(request, found and found["repository"])
        if refused is not None:
            status, headers = refused
            return status, headers, _error(status, "UNAUTHORIZED")[2]
        if found is None:
            return 200, {"Content-Type": "application/json"}, b"{}"
        if found.re is _UPLOADS:
            return await self._answer_upload(request, fault, found["repository"], found["upload"])
        if request.method == "PUT":
            return await self._take_manifest(request, found["repository"], found["what"])
        answer = {
            "manifests": self._answer_manifest,
            "blobs": self._answer_blob,
            "tags": self._answer_tags,
            "referrers": self._answer_referrers,
        }[found["kind"]]
        return answer(request, found["repository"], found["what"])

    async def _answer_upload(self, request: web.Request, fault: Fault, repository: str, upload: str) -> Reply:
        if upload:
            return await self.uploads.take(
                request, fault, lambda digest, data: self._blobs.update({(repository, digest): data})
            )
        digest, source = request.query.get("mount", ""), request.query.get("from", "")
        data = self._blobs.get((source, digest)) if self.uploads.mounts else None
        if data is None:
            return self.uploads.begin(request.path)
        self._blobs[repository, digest] = data
        return 201, {"Location": f"/v2/{repository}/blobs/{digest}"}, b""

    async def _take_manifest(self, request: web.Request, repository: str, what: str) -> Reply:
        data = await read(request)
        tag = None if ":" in what else what
        digest = self.add_manifest(repository, data, request.headers["Content-Type"], tag)
        subject = json.loads(data).get("subject")
        says = {"OCI-Subject": subject["digest"]} if subject and self.uploads.subjects else {}
        return 201, {"Location": f"/v2/{repository}/manifests/{digest}"} | self._says(digest) | says, b""

    def _answer_manifest(self, request: web.Request, repository: str, what: str) -> tuple[int, dict[str, str], bytes]:
        if request.method == "HEAD" and not self.heads:
            return 405, {}, b""
        digest = self._tags.get((repository, what), what)
        if (repository, digest) not in self._manifests:
            return _error(404, "MANIFEST_UNKNOWN")
        data, media_type = self._manifests[repository, digest]
        return 200, {"Content-Type": media_type} | self._says(digest), data

    def _answer_blob(self, request: web.Request, repository: str, what: str) -> tuple[int, dict[str, str], bytes]:
        data = self._blobs.get((repository, what))
        if data is None:
            return _error(404, "BLOB_UNKNOWN")
        found = _RANGE.fullmatch(request.headers.get("Range", "")) if self.ranges else None
        if found is None:
            return 200, self._says(what), data
        start, end = int(found[1]), min(int(found[2] or len(data) - 1), len(data) - 1)
        if start >= len(data):
            return 416, {"Content-Range": f"bytes */{len(data)}"}, b""
        return 206, {"Content-Range": f"bytes {start}-{end}/{len(data)}"} | self._says(what), data[start : end + 1]

    def _says(self, digest: str) -> dict[str, str]:
        return {"Docker-Content-Digest": digest} if self.digest_header else {}

    def _answer_tags(self, request: web.Request, repository: str, _: str) -> tuple[int, dict[str, str], bytes]:
        every = sorted(tag for name, tag in self._tags if name == repository)
        if not every and not any(name == repository for name, _ in self._manifests):
            return _error(404, "NAME_UNKNOWN")
        headers = {"Content-Type": "application/json"}
        tags = every
        if self.page is not None:
            tags = [tag for tag in every if tag > request.query.get("last", "")]
            size = min(self.page, int(request.query.get("n", self.page)))
            if len(tags) > size:
                tags = tags[:size]
                headers["Link"] = f'</v2/{repository}/tags/list?last={tags[-1]}&n={size}>; rel="next"'
        return 200, headers, json.dumps({"name": repository, "tags": tags}).encode()

    def _answer_referrers(self, _: web.Request, repository: str, what: str) -> tuple[int, dict[str, str], bytes]:
        if not self.referrers_api:
            return _error(404, "NOT_FOUND")
        entries = []
        for (name, digest), (data, media_type) in self._manifests.items():
            document = json.loads(data) if data.startswith(b"{") else {}
            if name == repository and (document.get("subject") or {}).get("digest") == what:
                entry = {"mediaType": media_type, "digest": digest, "size": len(data)}
                entries.append(
                    entry | {key: document[key] for key in ("artifactType", "annotations") if key in document}
                )
        index = {"schemaVersion": 2, "mediaType": _TYPES["oci"]["index"], "manifests": entries}
        return 200, {"Content-Type": _TYPES["oci"]["index"]}, json.dumps(index).encode()


def small_layer(files: Mapping[str, bytes]) -> bytes:
    """Return a gzipped tar of `files`, the same for the same files."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(tar.getvalue(), mtime=0)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _diff_id(blob: bytes) -> str:
    return _digest(gzip.decompress(blob) if blob.startswith(b"\x1f\x8b") else blob)


def _descriptor(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}


def _error(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    body = json.dumps({"errors": [{"code": code, "message": code.replace("_", " ").lower()}]}).encode()
    return status, {"Content-Type": "application/json"}, body
