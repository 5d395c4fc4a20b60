"""What the registry double takes: uploads, mounts and manifests, by rules that can be set as registries differ."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from doubles.faults import Fault

_RANGE = re.compile(r"(\d+)-(\d+)")

Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Uploads:
    """The rules, and the uploads that have begun.

    Attributes:
        location: makes the `Location` of an upload of its path; by default the path, with a query that has to stay.
        keeps_broken: whether what came of a request that broke off counts.
        tells: whether it tells how far an upload got.
        chunks: whether it takes parts of a blob.
        order: whether it refuses a part that does not go on where the last one ended.
        least: `OCI-Chunk-Min-Length`, if any; smaller parts but the last are refused.
        largest: bytes of a body that it takes, None for all.
        mounts: whether it mounts blobs of other repositories.
        subjects: whether it lists what refers to a manifest that is pushed, and says so.
        disputes: how many blobs more it takes for others.
        forgets: how many uploads more are lost after they have begun.
    """

    error: Callable[[int, str], Reply]
    location: Callable[[str], str] = lambda path: f"{path}?_state=a%2Bb%3D%3D"
    keeps_broken: bool = True
    tells: bool = True
    chunks: bool = True
    order: bool = True
    least: int = 0
    largest: int | None = None
    mounts: bool = True
    subjects: bool = True
    disputes: int = 0
    forgets: int = 0
    begun: dict[str, bytearray] = field(default_factory=dict)
    number: int = 0
    """Of uploads that were begun, also those that have ended: no two have one path."""

    received: int = 0
    """Bytes of blobs that came, all together."""

    def begin(self, path: str) -> Reply:
        """Begin an upload below a path."""
        self.number += 1
        own = f"{path}{hashlib.sha256(f'{path}{self.number}'.encode()).hexdigest()[:12]}"
        self.begun[own] = bytearray()
        least = {"OCI-Chunk-Min-Length": str(self.least)} if self.least else {}
        return 202, {"Location": self.location(own), "Range": "0-0"} | least, b""

    async def take(self, request: web.Request, fault: Fault, keep: Callable[[str, bytes], None]) -> Reply:
        """Answer a request for an upload; `keep` is given a blob that is whole. `fault` may end the reading early."""
        held = self.begun.get(request.path)
        if held is None or "a+b==" not in request.query.get("_state", "a+b=="):
            return self.error(404, "BLOB_UPLOAD_UNKNOWN")
        if request.method == "DELETE":
            del self.begun[request.path]
            return 204, {}, b""
        if request.method == "GET":
            return self._tell(request.path, held, 204) if self.tells else self.error(404, "BLOB_UPLOAD_UNKNOWN")
        if self.forgets:
            self.forgets -= 1
            del self.begun[request.path]
            return self.error(404, "BLOB_UPLOAD_UNKNOWN")
        refused = self._refusal(request, held)
        if refused is not None:
            return refused
        data = await read(request, fault.reads)
        self.received += len(data)
        whole = len(data) == int(request.headers["Content-Length"])
        if whole or self.keeps_broken:
            held += data
        if fault.reads is not None or not whole:
            return self.error(500, "UNKNOWN")  # what is answered is the fault's
        return self._finish(request, held, keep) if request.method == "PUT" else self._tell(request.path, held, 202)

    def _refusal(self, request: web.Request, held: bytearray) -> Reply | None:
        size = int(request.headers["Content-Length"])
        if self.largest is not None and size > self.largest:
            return 413, {"Connection": "close"}, b"<html>too large</html>"
        if request.method != "PATCH":
            return None
        found = _RANGE.fullmatch(request.headers.get("Content-Range", ""))
        if not self.chunks:
            return self.error(405, "UNSUPPORTED")
        if self.order and (found is None or int(found[1]) != len(held) or int(found[2]) - int(found[1]) + 1 != size):
            return self._tell(request.path, held, 416)
        return None

    def _tell(self, path: str, held: bytearray, status: int) -> Reply:
        return status, {"Location": self.location(path), "Range": f"0-{max(0, len(held) - 1)}"}, b""

    def _finish(self, request: web.Request, held: bytearray, keep: Callable[[str, bytes], None]) -> Reply:
        digest = request.query.get("digest", "")
        if self.disputes or f"sha256:{hashlib.sha256(held).hexdigest()}" != digest:
            self.disputes = max(0, self.disputes - 1)
            return self.error(400, "DIGEST_INVALID")
        del self.begun[request.path]
        keep(digest, bytes(held))
        return 201, {"Location": "/v2/", "Docker-Content-Digest": digest}, b""


async def read(request: web.Request, limit: int | None = None) -> bytes:
    """Read what is sent, as far as it comes, or its first `limit` bytes at least."""
    data = bytearray()
    while limit is None or len(data) < limit:
        try:
            more = await request.content.readany()
        except (OSError, web.RequestPayloadError):
            break
        if not more:
            break
        data += more
    return bytes(data)
