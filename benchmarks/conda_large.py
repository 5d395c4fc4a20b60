"""Channels of the size of conda-forge (600,000 records) and bioconda (250,000), sharded
(CEP 16) and whole, and requests to them: what measures of solving share.

They are made of the shapes of a small real channel: each of its records as it is, with earlier builds that have the
same dependencies; and packages that are copies of its packages under other names, which earlier builds depend on. They
are records without packages, which is enough for solving. They are made once, in the directory for temporary files, and
kept there for the next run: 210 MB in 40,000 files, half a minute.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from lab.processes import LabError

SHAPES = Path(os.environ.get("WAVELET_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "nf-core"
"""Directory with the small real channel: `channel/<channel>/<subdir>/repodata.json`, and requests to it."""

RECORDS = {
    ("conda-forge", "linux-64"): 400_000,
    ("conda-forge", "noarch"): 200_000,
    ("bioconda", "linux-64"): 150_000,
    ("bioconda", "noarch"): 100_000,
}
"""Records of each index."""

EARLIER = 150
"""Earlier builds of each real package."""

BUILDS = 18
"""Builds of each copy of a package."""

_VERSION = "1"
"""Of what is made here; another one is another directory."""

Record = dict[str, Any]


def channels() -> Path:
    """Return the directory of both channels, `<channel>/<subdir>`; made if it is not there.

    Below `sharded`, channels have shards alone; below `whole`, nothing but `repodata.json.zst`.
    """
    place = Path(tempfile.gettempdir()) / f"wavelet-bench-channels-{_VERSION}-{os.getuid()}"
    if not place.exists():
        making = Path(tempfile.mkdtemp(prefix="wavelet-bench-channels-"))
        try:
            for (channel, subdir), count in RECORDS.items():
                _make(making, channel, subdir, count)
            making.chmod(0o755)  # other users' servers read it
            making.rename(place)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return place


def requests(count: int, server: str) -> list[list[str]]:
    """Return the specs of `count` different environments whose packages are all on a server with both channels."""
    versions: dict[str, set[str]] = defaultdict(set)
    for channel, subdir in RECORDS:
        for record in _real(channel, subdir).values():
            versions[record["name"]].add(record["version"])
    found: list[list[str]] = []
    for line in (SHAPES / "environments.jsonl").read_text().splitlines():
        specs = json.loads(line)["dependencies"]
        if specs not in found and all(isinstance(spec, str) and _is_there(spec, versions) for spec in specs):
            found.append(specs)
    if len(found) < count:
        raise LabError(f"{SHAPES} has no {count} requests whose packages it has")
    return [[f"{server}/{spec}" for spec in specs] for specs in found[:count]]


def _is_there(spec: str, versions: Mapping[str, set[str]]) -> bool:
    name, _, wanted = spec.rpartition("::")[2].partition("=")
    return any(version == wanted or version.startswith(f"{wanted}.") for version in versions.get(name, ()))


def _real(channel: str, subdir: str) -> dict[str, Record]:
    path = SHAPES / "channel" / channel / subdir / "repodata.json"
    if not path.exists():
        raise LabError(f"{path} is not there; it is looked for in WAVELET_SHARED")
    document = json.loads(path.read_bytes())
    return {**document.get("packages", {}), **document.get("packages.conda", {})}


def _records(channel: str, subdir: str, count: int) -> Iterator[tuple[str, str, Record]]:
    """Yield file names with the name of the package and its record, `count` in all, those of a package in a row."""
    real = _real(channel, subdir)
    by_name: dict[str, dict[str, Record]] = defaultdict(dict)
    for file, record in real.items():
        by_name[record["name"]][file] = record
    left = count
    for number, (name, files) in enumerate(by_name.items()):
        pattern = next(iter(files.values()))
        further = f"{name}-copy0" if number % 3 == 0 else ""
        for file, record in files.items():
            yield file, name, record
        for build in range(EARLIER):
            yield _build(pattern, name, f"0.0.0.{build}", further)
        left -= len(files) + EARLIER
    copy = 0
    while left > 0:
        name, files = list(by_name.items())[copy % len(by_name)]
        pattern = next(iter(files.values()))
        for build in range(min(BUILDS, left)):
            yield _build(pattern, f"{name}-copy{copy // len(by_name)}", f"1.{build}", "")
        left -= BUILDS
        copy += 1


def _build(pattern: Record, name: str, version: str, further: str) -> tuple[str, str, Record]:
    file = f"{name}-{version}-{pattern['build']}.conda"
    digest = hashlib.sha256(file.encode()).hexdigest()
    depends = [*pattern["depends"], further] if further else pattern["depends"]
    changed = {"name": name, "version": version, "depends": depends, "sha256": digest, "md5": digest[:32]}
    return file, name, pattern | changed


def _make(place: Path, channel: str, subdir: str, count: int) -> None:
    sharded, whole = (place / kind / channel / subdir for kind in ("sharded", "whole"))
    (sharded / "shards").mkdir(parents=True)
    whole.mkdir(parents=True)
    digests: dict[str, bytes] = {}
    parts: dict[str, dict[str, Record]] = {"packages": {}, "packages.conda": {}}
    last = ""
    with zstandard.open(whole / "repodata.json.zst", "wb") as out:
        out.write(json.dumps({"info": {"subdir": subdir}, "packages": {}, "repodata_version": 1}).encode()[:-1])
        out.write(b',"packages.conda":{')
        for number, (file, name, record) in enumerate(_records(channel, subdir, count)):
            if last and name != last:
                digests[last], parts = _write_shard(sharded, parts), {"packages": {}, "packages.conda": {}}
            last = name
            parts["packages" if file.endswith(".tar.bz2") else "packages.conda"][file] = record
            out.write(b"," if number else b"")
            out.write(f"{json.dumps(file)}:{json.dumps(record)}".encode())
        out.write(b"}}")
    digests[last] = _write_shard(sharded, parts)
    info = {"subdir": subdir, "base_url": "", "shards_base_url": "./shards/", "created_at": "2024-01-14T00:00:00Z"}
    index = msgspec.msgpack.encode({"info": info, "shards": digests})
    (sharded / "repodata_shards.msgpack.zst").write_bytes(zstandard.compress(index))


def _write_shard(place: Path, parts: dict[str, dict[str, Record]]) -> bytes:
    sums = {
        part: {
            file: record | {kind: bytes.fromhex(record[kind]) for kind in ("md5", "sha256") if record.get(kind)}
            for file, record in records.items()
        }
        for part, records in parts.items()
    }
    packed = zstandard.compress(msgspec.msgpack.encode({**sums, "removed": []}))
    digest = hashlib.sha256(packed).digest()
    (place / "shards" / f"{digest.hex()}.msgpack.zst").write_bytes(packed)
    return digest


if __name__ == "__main__":
    sys.stdout.write(f"{channels()}\n")
