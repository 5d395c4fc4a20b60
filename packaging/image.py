"""Makes the image of wavelet by wavelet: Python from conda, wavelet's wheel and what it needs from the package index.

Where packages come from is what the settings say (`--config`, as for `wavelet serve`) and pip's configuration. What
is written is a tar that is an OCI layout and what `docker load` reads in one; `podman load` and skopeo take it as well.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import functools
import hashlib
import http.server
import json
import os
import shutil
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wavelet.app import running
from wavelet.config import load
from wavelet.logs import setup_logging

PYTHON = "python >=3.11,<3.14"
"""Interpreters for which everything that wavelet needs is on the package index as a wheel."""

PLATFORM = "linux/amd64"

SETTINGS = {
    "entrypoint": ["wavelet"],
    "cmd": ["serve"],
    # What is published on the host is published by the engine; whoever runs the image says on which of its addresses.
    "env": [
        "WAVELET_LISTEN=0.0.0.0:9090",
        "WAVELET_ALLOW_REMOTE=true",
        "WAVELET_AUTHORITY=127.0.0.1:9090",
        "WAVELET_STATE=/var/lib/wavelet",
    ],
}

MADE_WITHIN = 900.0
"""Seconds for solving, fetching and making layers."""

ANSWER_WITHIN = 60.0
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
TYPES = f"{MANIFEST_TYPE}, application/vnd.docker.distribution.manifest.v2+json"


def main() -> int:
    """Make the image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--directory", type=Path, default=Path("dist"), help="where to put it (dist)")
    parser.add_argument("--config", type=Path, help="settings of the wavelet that makes it")
    options = parser.parse_args()
    version = options.wheel.name.split("-")[1]
    target = options.directory / f"wavelet-{version}-linux-amd64.oci.tar"
    with tempfile.TemporaryDirectory() as directory, index_of(options.wheel, Path(directory) / "index") as index:
        os.environ["PIP_EXTRA_INDEX_URL"] = f"{index} {os.environ.get('PIP_EXTRA_INDEX_URL', '')}".strip()
        asyncio.run(_make(options.wheel, version, options.config, Path(directory), target))
    print(f"{target} ({target.stat().st_size / 1e6:.0f} MB)")  # noqa: T201
    return 0


@contextlib.contextmanager
def index_of(wheel: Path, directory: Path) -> Iterator[str]:
    """Serve a package index with nothing but the wheel on loopback, and give its URL."""
    page = directory / "simple" / "wavelet"
    page.mkdir(parents=True)
    shutil.copy(wheel, page)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (page / "index.html").write_text(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>', "utf-8")
    handler = functools.partial(_Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


async def _make(wheel: Path, version: str, config: Path | None, directory: Path, target: Path) -> None:
    setup_logging("text", "warning")
    settings = load(config, os.environ, {"listen": "127.0.0.1:0", "state": str(directory / "state")})
    channels = settings.conda.channels[:1]
    async with running(settings) as address:
        await asyncio.to_thread(_ask_and_save, f"http://{address}", wheel, version, channels, directory, target)


def _ask_and_save(
    url: str, wheel: Path, version: str, channels: tuple[str, ...], directory: Path, target: Path
) -> None:
    asked = _post(f"{url}/v1alpha2/container", request_body(version, channels))
    _wait(f"{url}/v1alpha2/container/{asked['requestId']}/status")
    lock = _get(f"{url}/v1alpha1/builds/{asked['buildId']}/condalock").decode()
    if hashlib.sha256(wheel.read_bytes()).hexdigest() not in lock:
        raise SystemExit(
            f"the package index has another wavelet {version} than {wheel}; give the wheel another version"
        )
    repository, _, tag = asked["targetImage"].partition("/")[2].rpartition(":")
    _save(f"{url}/v2/{repository}", tag, f"wavelet:{version}", directory / "layout", target)


def request_body(version: str, channels: tuple[str, ...]) -> dict[str, Any]:
    """Return the request as the Wave door takes it."""
    file = f"dependencies:\n  - {PYTHON}\n  - pip\n  - pip:\n    - wavelet=={version}\n"
    packages = {
        "type": "CONDA",
        "environment": base64.b64encode(file.encode()).decode(),
        "channels": list(channels),
    }
    return {"packages": packages, "containerConfig": SETTINGS, "containerPlatform": PLATFORM}


def _wait(status_url: str) -> None:
    limit = time.monotonic() + MADE_WITHIN
    while (state := json.loads(_get(status_url)))["status"] != "DONE":
        if time.monotonic() > limit:
            raise SystemExit(f"the image is not made within {MADE_WITHIN:.0f} s")
        time.sleep(0.2)
    if not state["succeeded"]:
        raise SystemExit(f"the image cannot be made: {state.get('reason')}")


def _save(repository_url: str, tag: str, name: str, layout: Path, target: Path) -> None:
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifest = _get(f"{repository_url}/manifests/{tag}", TYPES)
    document = json.loads(manifest)
    own_digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    (blobs / own_digest[7:]).write_bytes(manifest)
    for each in (document["config"], *document["layers"]):
        _fetch(f"{repository_url}/blobs/{each['digest']}", blobs / each["digest"][7:])
    described = {
        "mediaType": document.get("mediaType", MANIFEST_TYPE),
        "digest": own_digest,
        "size": len(manifest),
        "annotations": {"org.opencontainers.image.ref.name": name},
    }
    for_docker = {
        "Config": f"blobs/sha256/{document['config']['digest'][7:]}",
        "RepoTags": [name],
        "Layers": [f"blobs/sha256/{layer['digest'][7:]}" for layer in document["layers"]],
    }
    _write(layout / "oci-layout", {"imageLayoutVersion": "1.0.0"})
    _write(layout / "index.json", {"schemaVersion": 2, "manifests": [described]})
    _write(layout / "manifest.json", [for_docker])
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(layout.rglob("*")):
            archive.add(path, path.relative_to(layout), recursive=False, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, separators=(",", ":")), "utf-8")


def _fetch(url: str, target: Path) -> None:
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=ANSWER_WITHIN) as answer, target.open("wb") as output:
        while part := answer.read(1 << 20):
            digest.update(part)
            output.write(part)
    if digest.hexdigest() != target.name:
        raise SystemExit(f"{url} has given other bytes than its digest says")


def _get(url: str, accept: str = "*/*") -> bytes:
    asked = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(asked, timeout=ANSWER_WITHIN) as answer:
        return bytes(answer.read())


def _post(url: str, document: object) -> dict[str, Any]:
    asked = urllib.request.Request(url, json.dumps(document).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=ANSWER_WITHIN) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        raise SystemExit(f"the image cannot be made: {error.read().decode('utf-8', 'replace')}") from None


if __name__ == "__main__":
    sys.exit(main())
