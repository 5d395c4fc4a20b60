"""Images made in the test, as bytes: layers, configs, manifests and indexes, pushed over HTTP without an engine."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import random
import tarfile
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lab.http import request
from lab.processes import LabError

DOCKER = "docker"
OCI = "oci"
_TYPES = {
    DOCKER: {
        "manifest": "application/vnd.docker.distribution.manifest.v2+json",
        "index": "application/vnd.docker.distribution.manifest.list.v2+json",
        "config": "application/vnd.docker.container.image.v1+json",
        "layer": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    },
    OCI: {
        "manifest": "application/vnd.oci.image.manifest.v1+json",
        "index": "application/vnd.oci.image.index.v1+json",
        "config": "application/vnd.oci.image.config.v1+json",
        "layer": "application/vnd.oci.image.layer.v1.tar+gzip",
    },
}
MANIFEST_TYPES = tuple(types[kind] for types in _TYPES.values() for kind in ("index", "manifest"))
"""What an engine says in `Accept`."""

_BUSYBOX_LINKS = ("sh", "cat", "echo", "env", "ls", "pwd", "id", "sleep", "true", "test", "wc", "sha256sum", "printf")


def sha256(content: bytes) -> str:
    """Return the digest as OCI writes it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Layer:
    """A gzip'd tar."""

    tar: bytes
    blob: bytes

    @property
    def digest(self) -> str:
        """Digest of the blob."""
        return sha256(self.blob)

    @property
    def diff_id(self) -> str:
        """Digest of the tar."""
        return sha256(self.tar)

    def in_request(self, location: str = "") -> dict[str, Any]:
        """Return the layer as nf-wave puts it into a request; its bytes are inline where no location is given."""
        return {
            "location": location or "data:" + base64.b64encode(self.blob).decode(),
            "gzipDigest": self.digest,
            "gzipSize": len(self.blob),
            "tarDigest": self.diff_id,
            "skipHashing": None,
        }


def layer(files: Mapping[str, bytes | str], *, executable: Iterable[str] = (), level: int = 6) -> Layer:
    """Pack files as nf-wave does: sorted, with directories, owner root, time 0; a `str` is a link's target."""
    names = set(files)
    for name in files:
        names |= {f"{parent}/" for parent in map(str, Path(name).parents) if parent != "."}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(names):
            member = tarfile.TarInfo(name)
            member.uname = member.gname = "root"
            content = files.get(name, b"")
            if name.endswith("/"):
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, content, 0o777
            else:
                member.size, member.mode = len(content), 0o755 if name in set(executable) else 0o644
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) and member.size else None)
    return Layer(buffer.getvalue(), gzip.compress(buffer.getvalue(), level, mtime=0))


def random_layer(megabytes: float, seed: int, name: str = "data/random") -> Layer:
    """Return a layer with one incompressible file; the same seed gives the same bytes."""
    # Each level of gzip stores what it cannot compress; the lowest does not try.
    return layer({name: random.Random(seed).randbytes(int(megabytes * 1024 * 1024))}, level=0)


@cache
def busybox_layer() -> Layer:
    """Return a root file system: the machine's static busybox and its usual names."""
    files: dict[str, bytes | str] = {f"bin/{name}": "busybox" for name in _BUSYBOX_LINKS}
    files["bin/busybox"] = _static_busybox().read_bytes()
    files |= {"etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "tmp/": b"", "root/": b"", "proc/": b"", "sys/": b""}
    return layer(files, executable=["bin/busybox"])


def _static_busybox() -> Path:
    for path in map(Path, ("/bin/busybox", "/usr/bin/busybox")):
        if path.exists() and b"/ld-linux" not in path.read_bytes():
            return path
    raise LabError("no static busybox on this machine; apt-get install busybox-static")


@dataclass(frozen=True)
class Image:
    """One manifest, or an index, with everything that it names."""

    document: bytes
    media_type: str
    blobs: dict[str, bytes] = field(default_factory=dict)
    members: tuple[Image, ...] = ()
    platform: str = "linux/amd64"

    @property
    def digest(self) -> str:
        """Digest of the manifest or index."""
        return sha256(self.document)

    def json(self) -> Any:
        """Return the parsed manifest or index."""
        return json.loads(self.document)


def image(
    layers: Sequence[Layer],
    *,
    family: str = DOCKER,
    platform: str = "linux/amd64",
    entrypoint: Sequence[str] = (),
    cmd: Sequence[str] = ("/bin/sh",),
    env: Sequence[str] = ("PATH=/bin",),
    labels: Mapping[str, str] | None = None,
) -> Image:
    """Return an image of these layers, of the Docker or the OCI family of media types."""
    types = _TYPES[family]
    system, architecture = platform.split("/")[:2]
    settings = {"Env": list(env), "Cmd": list(cmd), "Entrypoint": list(entrypoint) or None, "Labels": labels or None}
    config = {
        "architecture": architecture,
        "os": system,
        "created": "1970-01-01T00:00:00Z",
        "config": {name: value for name, value in settings.items() if value is not None},
        "rootfs": {"type": "layers", "diff_ids": [part.diff_id for part in layers]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "lab"} for _ in layers],
    }
    config_blob = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": types["manifest"],
        "config": {"mediaType": types["config"], "digest": sha256(config_blob), "size": len(config_blob)},
        "layers": [{"mediaType": types["layer"], "digest": p.digest, "size": len(p.blob)} for p in layers],
    }
    blobs = {sha256(config_blob): config_blob} | {part.digest: part.blob for part in layers}
    return Image(json.dumps(manifest, indent=3).encode(), types["manifest"], blobs, platform=platform)


def busybox(*more: Layer, **settings: Any) -> Image:
    """Return an image that runs: busybox, and layers on top."""
    return image([busybox_layer(), *more], **settings)


def index(members: Sequence[Image], *, family: str = DOCKER) -> Image:
    """Return a multi-architecture index of these images."""
    entries = []
    for member in members:
        system, architecture = member.platform.split("/")[:2]
        entries.append(
            {
                "mediaType": member.media_type,
                "digest": member.digest,
                "size": len(member.document),
                "platform": {"architecture": architecture, "os": system},
            }
        )
    media_type = _TYPES[family]["index"]
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    return Image(json.dumps(document, indent=3).encode(), media_type, members=tuple(members))


def two_architectures(family: str = DOCKER) -> Image:
    """Return an index of a busybox for linux/amd64 and a made-up image for linux/arm64; each holds a file `arch`."""
    amd64 = busybox(layer({"arch": b"amd64\n"}), family=family)
    arm64 = image([layer({"arch": b"arm64\n"})], family=family, platform="linux/arm64")
    return index([amd64, arm64], family=family)


def push(registry: str, repository: str, reference: str, content: Image, login: tuple[str, str] | None = None) -> str:
    """Push an image to a registry's URL by the distribution-spec's monolithic upload; return its digest."""
    headers = {}
    if login:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
    for member in content.members:
        push(registry, repository, member.digest, member, login)
    base = f"{registry}/v2/{repository}"
    for digest, blob in content.blobs.items():
        if request("HEAD", f"{base}/blobs/{digest}", headers=headers).status == 200:
            continue
        started = request("POST", f"{base}/blobs/uploads/", headers=headers)
        _expect(started.status, 202, f"start of an upload to {base}")
        target = urllib.parse.urljoin(base, started.headers["location"])
        target += ("&" if "?" in target else "?") + "digest=" + urllib.parse.quote(digest)
        sent = request("PUT", target, headers=headers | {"Content-Type": "application/octet-stream"}, body=blob)
        _expect(sent.status, 201, f"upload of {digest}")
    sent = request(
        "PUT",
        f"{base}/manifests/{reference}",
        headers=headers | {"Content-Type": content.media_type},
        body=content.document,
    )
    _expect(sent.status, 201, f"push of {base}/manifests/{reference}: {sent.body!r}")
    return content.digest


def _expect(status: int, wanted: int, what: str) -> None:
    if status != wanted:
        raise LabError(f"{what}: status {status}")
