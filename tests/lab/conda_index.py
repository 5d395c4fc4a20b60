"""The index of a channel: repodata.json, its .zst and shards (CEP 16), written by rattler, changed as tests like.

All three always say the same. Records have no `indexed_timestamp`, which would come before `timestamp` for "as of".
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from lab.conda_oracle import ask_rattler

SUBDIRS = ("linux-64", "linux-aarch64", "noarch")
PARTS = ("packages", "packages.conda")


def index(directory: Path) -> Path:
    """Index the packages that are in a channel's directory now, and return it."""
    for subdir in SUBDIRS:
        (directory / subdir).mkdir(parents=True, exist_ok=True)
    ask_rattler({"do": "index", "directory": str(directory)})
    for subdir in SUBDIRS:
        edit_repodata(directory, subdir, _without_indexed_timestamp)
    return directory


def repodata(channel: Path, subdir: str) -> dict[str, Any]:
    """Return the parsed repodata.json; an empty one if there is none."""
    path = channel / subdir / "repodata.json"
    empty: dict[str, Any] = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": {}, "repodata_version": 1}
    return empty | (json.loads(path.read_bytes()) if path.exists() else {})


def record(channel: Path, file_name: str) -> dict[str, Any]:
    """Return what the index says of a package, with its `subdir` and file name `fn`."""
    for subdir in SUBDIRS:
        document = repodata(channel, subdir)
        for part in PARTS:
            if file_name in document[part]:
                return {**document[part][file_name], "fn": file_name, "subdir": subdir}
    raise KeyError(file_name)


def edit_repodata(channel: Path, subdir: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Let `change` change the parsed repodata.json, as a channel's repodata patches do."""
    place = channel / subdir
    document = repodata(channel, subdir)
    change(document)
    raw = json.dumps(document, sort_keys=True).encode()
    (place / "repodata.json").write_bytes(raw)
    (place / "repodata.json.zst").write_bytes(_compressed(raw))
    _write_shards(place, document)


def edit_record(channel: Path, file_name: str, **members: object) -> None:
    """Change members of a package's record, `sha256="0" * 64`; None removes one."""

    def change(document: dict[str, Any]) -> None:
        for part in PARTS:
            if file_name in document[part]:
                merged = document[part][file_name] | members
                document[part][file_name] = {key: value for key, value in merged.items() if value is not None}

    edit_repodata(channel, record(channel, file_name)["subdir"], change)


def without_shards(channel: Path) -> Path:
    """Take the shards away, as from channels that have none, and return the channel."""
    for subdir in SUBDIRS:
        (channel / subdir / "repodata_shards.msgpack.zst").unlink(missing_ok=True)
        shutil.rmtree(channel / subdir / "shards", ignore_errors=True)
    return channel


def _without_indexed_timestamp(document: dict[str, Any]) -> None:
    for part in PARTS:
        for found in document[part].values():
            found.pop("indexed_timestamp", None)


def _write_shards(place: Path, document: dict[str, Any]) -> None:
    shards: dict[str, dict[str, Any]] = {}
    for part in PARTS:
        for file_name, found in sorted(document[part].items()):
            shard = shards.setdefault(found["name"], {"packages": {}, "packages.conda": {}, "removed": []})
            sums = {kind: bytes.fromhex(found[kind]) for kind in ("md5", "sha256") if kind in found}
            shard[part][file_name] = found | sums
    shutil.rmtree(place / "shards", ignore_errors=True)
    (place / "shards").mkdir()
    digests = {}
    for name, shard in shards.items():
        packed = _compressed(msgspec.msgpack.encode(shard))
        digests[name] = hashlib.sha256(packed).digest()
        (place / "shards" / f"{digests[name].hex()}.msgpack.zst").write_bytes(packed)
    info = {"subdir": place.name, "base_url": "", "shards_base_url": "./shards/", "created_at": "2024-01-14T00:00:00Z"}
    packed = _compressed(msgspec.msgpack.encode({"info": info, "shards": digests}))
    (place / "repodata_shards.msgpack.zst").write_bytes(packed)


def _compressed(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(raw)
