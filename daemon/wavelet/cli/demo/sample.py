"""A tiny real image and a registry that holds it: the upstream of `wavelet demo`, made on the spot."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
from dataclasses import dataclass

from aiohttp import web

from wavelet.image.image import OCI_CONFIG, OCI_MANIFEST, Descriptor, Family
from wavelet.image.reference import Digest

REPOSITORY = "demo/hello"
TAG = "1"
_MESSAGE = b"Hello from an image that wavelet served.\n"
_BASE_ADDRESS = 0x400000
_CODE_OFFSET = 64 + 56


@dataclass(frozen=True, slots=True)
class Packed:
    """A layer: the tar's digest, and its gzip."""

    diff_id: Digest
    blob: bytes


def pack(files: dict[str, tuple[bytes, int]]) -> Packed:
    """Return a layer of `files`: name to content and mode."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), mode, 1
            archive.addfile(member, io.BytesIO(content))
    tar = buffer.getvalue()
    return Packed(Digest.of(tar), gzip.compress(tar, mtime=0))


def hello_program() -> bytes:
    """Return a static ELF program for linux/amd64 that writes one line: all that a runnable image needs."""
    code_size = 34
    message_address = _BASE_ADDRESS + _CODE_OFFSET + code_size
    code = b"".join(
        (
            b"\xbf\x01\x00\x00\x00",  # mov edi, 1: standard output
            b"\xbe" + struct.pack("<I", message_address),  # mov esi, the message
            b"\xba" + struct.pack("<I", len(_MESSAGE)),  # mov edx, its length
            b"\xb8\x01\x00\x00\x00\x0f\x05",  # write
            b"\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05",  # exit(0)
            b"\x90\x90\x90",
        )
    )
    size = _CODE_OFFSET + len(code) + len(_MESSAGE)
    entry = _BASE_ADDRESS + _CODE_OFFSET
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE_ADDRESS, _BASE_ADDRESS, size, size, 0x1000)
    return header + segment + code + _MESSAGE


class SampleRegistry:
    """A registry on loopback with one image, `demo/hello:1`, of platform linux/amd64."""

    def __init__(self) -> None:
        self._blobs: dict[str, tuple[bytes, str]] = {}
        self._runner: web.AppRunner | None = None
        layer = pack({"hello": (hello_program(), 0o755), "etc/motd": (b"made on the spot\n", 0o644)})
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/hello"], "Env": ["PATH=/"]},
            "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id)]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "wavelet demo"}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self._add(json.dumps(config).encode(), OCI_CONFIG).as_json(),
            "layers": [self._add(layer.blob, Family.OCI.layer()).as_json()],
        }
        self._manifest = self._add(json.dumps(manifest).encode(), OCI_MANIFEST)

    def _add(self, data: bytes, media_type: str) -> Descriptor:
        descriptor = Descriptor(media_type, Digest.of(data), len(data))
        self._blobs[descriptor.digest] = data, media_type
        return descriptor

    async def start(self) -> str:
        """Start to serve and return the image's name."""
        app = web.Application()
        app.router.add_get("/v2/", self._ping)
        app.router.add_get(f"/v2/{REPOSITORY}/{{kind:manifests|blobs}}/{{reference}}", self._get)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        return f"127.0.0.1:{port}/{REPOSITORY}:{TAG}"

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _ping(self, _: web.Request) -> web.Response:
        return web.json_response({})

    async def _get(self, request: web.Request) -> web.Response:
        reference = request.match_info["reference"]
        digest = self._manifest.digest if reference == TAG else reference
        if digest not in self._blobs:
            raise web.HTTPNotFound
        data, media_type = self._blobs[digest]
        return web.Response(body=data, headers={"Content-Type": media_type, "Docker-Content-Digest": digest})
