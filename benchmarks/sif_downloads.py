"""A SIF of 100 conda packages (170 MB, which lie in the store in a hundred parts) that is there already: its download
by `oras pull` and by curl, beside the same client on nginx (one worker, sendfile), which has the same as one file.
Seven rounds in turn; each writes to disk as the client does, so a ratio is of the clients' whole time.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import conda_set
import sif_site
from conda_site import open_site
from field import Field
from report import Row, against
from rounds import alternate

from lab import conda_asks, images, nextflow, oras
from lab.daemon import Daemon
from lab.images import Image
from lab.processes import LabError

ROUNDS = 7
MARK = 0.8
REPOSITORY = "bench/sif"


def measure(field: Field) -> list[Row]:
    """Return gigabytes a second against nginx."""
    site = open_site(field)
    with site.daemon() as daemon:
        url = sif_site.ask(daemon, *conda_set.specs()).url
        name = _name(daemon)
        image = _image(daemon, name)
        (layer,) = image.json()["layers"]
        field.nginx.add(REPOSITORY, "1", image)
        peer = f"{field.nginx.url.removeprefix('http://')}/{REPOSITORY}:1"
        blob = f"{field.nginx.url}/v2/{REPOSITORY}/blobs/{layer['digest']}"
        rows = [
            _compare("oras pull", field, layer["size"], _oras, {"wavelet": name, "nginx": peer}),
            _compare("curl", field, layer["size"], _curl, {"wavelet": url, "nginx": blob}),
        ]
    shutil.rmtree(daemon.state)
    return rows


def _name(daemon: Daemon) -> str:
    """Return the name by which the SIF is pulled."""
    answer = conda_asks.ask(daemon, *conda_set.specs(), format="sif")
    if not answer["targetImage"].startswith("oras://"):
        raise LabError(f"no name for ORAS: {answer['targetImage']}")
    return str(answer["targetImage"].removeprefix("oras://"))


def _image(daemon: Daemon, name: str) -> Image:
    """Read the SIF as the image that it is in a registry."""
    document = daemon.get(nextflow.manifest_path(name), Accept=conda_asks.ACCEPT)
    manifest = json.loads(document.body)
    parts = [manifest["config"], *manifest["layers"]]
    blobs = {part["digest"]: conda_asks.blob(daemon, name, part["digest"]) for part in parts}
    return Image(document.body, images.MANIFEST_TYPES[-1], blobs)


def _compare(client: str, field: Field, size: int, pull: Callable[[str, Path], object], names: dict[str, str]) -> Row:
    def rate(name: str) -> float:
        place = field.fresh("pulled")
        place.mkdir()
        started = time.monotonic()
        pull(name, place)
        seconds = time.monotonic() - started
        shutil.rmtree(place)
        return size / 1e9 / seconds

    rounds = alternate(ROUNDS, {server: partial(rate, name) for server, name in names.items()})
    return against(f"SIF, warm, {client}", "nginx", rounds["wavelet"], rounds["nginx"], "GB/s", at_least=MARK)


def _oras(name: str, place: Path) -> None:
    oras.pull(name, place / "in")


def _curl(url: str, place: Path) -> None:
    sif_site.download(url, place / "made.sif")
