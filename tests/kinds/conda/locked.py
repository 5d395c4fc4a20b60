"""The nf-core corpus's locks as values: packages with what their index.json says, as the channels' indexes have it."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from wavelet.archive.gzip_members import Fragment
from wavelet.image.image import Content, MadeBy
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.conda.compose.made_parts import Part
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.kinds.conda.model.node import LockedEnvironment
from wavelet.kinds.conda.model.packages import Package, Wheel
from wavelet.kinds.registry_image.node import RegistryImage

CHANNELS = "https://channels.test"
AMD64 = Platform.parse("amd64")


@functools.cache
def corpus() -> Path:
    """Return where the corpus is, or skip."""
    here = Path(os.environ.get("WAVELET_SHARED", Path(__file__).parents[4] / "shared")) / "data" / "nf-core"
    if not (here / "locks").is_dir():
        pytest.skip(f"no locks of nf-core at {here} (or in WAVELET_SHARED)")
    return here


@functools.cache
def records() -> dict[str, dict[str, Any]]:
    """Return the records of all packages, by `<channel>/<subdir>/<file>`."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((corpus() / "channel").glob("*/*/repodata.json")):
        index = json.loads(path.read_bytes())
        where = "/".join(path.parts[-3:-1])
        for member in ("packages", "packages.conda"):
            found |= {f"{where}/{name}": record for name, record in index.get(member, {}).items()}
    return found


@functools.cache
def locks() -> dict[str, list[dict[str, Any]]]:
    """Return each lock's records, with their `key`."""
    found = {}
    for path in sorted((corpus() / "locks").glob("*.json")):
        keys = json.loads(path.read_bytes())["packages"]
        found[path.stem] = [{**records()[key], "key": key} for key in keys]
    return found


def entry(record: dict[str, Any]) -> tuple[Package, LayerInfo]:
    """Return a record as a lock has it, with a document such as its layer would have."""
    package = Package.of(f"{CHANNELS}/{record['key']}", record["sha256"], record.get("md5"), record["size"])
    index = {name: value for name, value in record.items() if name not in ("key", "sha256", "md5", "size")}
    digest = Digest.of(record["sha256"].encode())
    fragment = Fragment(100, record["size"], record["size"] * 3)
    files = (f"share/{record['name']}/file",)
    directories = ("", "share", f"share/{record['name']}")
    return package, LayerInfo(
        kind="package",
        digest=digest,
        size=record["size"] + 200,
        diff_id=digest,
        fragment=fragment,
        files=files,
        directories=directories,
        index=index,
        about={"license": record.get("license", "")},
    )


def lock_of(packages: list[Package], wheels: tuple[Wheel, ...] = ()) -> LockedEnvironment:
    """Return the plan of an image of these packages."""
    base = RegistryImage(Reference.parse("quay.io/lab/base").at(Digest.of(b"base")), AMD64)
    return LockedEnvironment(tuple(sorted(packages)), wheels, AMD64, base)


def part(of: Package | Wheel, **members: object) -> Part:
    """Return a package or wheel with a document such as its layer would have."""
    info = LayerInfo(
        kind="package",
        digest=Digest.of(of.url.encode()),
        size=1,
        diff_id=Digest.of(b""),
        fragment=Fragment(0, 0, 0),
        **members,  # type: ignore[arg-type]
    )
    return Part(of, info, Content(info.descriptor, MadeBy("x")))
