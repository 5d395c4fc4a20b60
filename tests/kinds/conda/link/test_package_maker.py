"""The maker of package layers: fetches, links in a worker, keeps both documents, and says so."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from lab.conda_packages import Noise, text, write
from lab.conda_packages import Package as LabPackage
from wavelet.errors import UpstreamBroken
from wavelet.image.image import Content, Descriptor, MadeBy
from wavelet.image.reference import Digest
from wavelet.kinds.conda.link import package as maker
from wavelet.kinds.conda.link.layer_info import MEDIA_TYPE, LayerInfo
from wavelet.kinds.conda.link.package import make
from wavelet.kinds.conda.model.node import PackageLayer
from wavelet.kinds.conda.model.packages import Package


class OneArchive:
    """A `Work` that has one archive, and runs workers' functions where it is."""

    key = "a key"

    def __init__(self, archive: Path, directory: Path) -> None:
        self.file = archive
        self.directory = directory
        self.kept: dict[Digest, bytes] = {}
        self.asked: list[tuple[str, Digest, int | None]] = []
        self.lines: list[str] = []
        self.reserved: list[int] = []

    async def archive(self, location: str, digest: Digest, size: int | None) -> Path:
        self.asked.append((location, digest, size))
        return self.file

    @contextlib.asynccontextmanager
    async def scratch(self, size: int) -> AsyncIterator[Path]:
        self.reserved.append(size)
        self.directory.mkdir()
        try:
            yield self.directory
        finally:
            shutil.rmtree(self.directory)

    async def run(self, function: Callable[..., Any], *arguments: object) -> Any:
        return function(*arguments)

    async def adopt(self, file: Path, descriptor: Descriptor, *, derived: bool = False) -> Content:
        assert not derived
        self.kept[descriptor.digest] = file.read_bytes()
        return Content(descriptor, MadeBy(self.key))

    async def keep(self, data: bytes, media_type: str) -> Content:
        descriptor = Descriptor(media_type, Digest.of(data), len(data))
        self.kept[descriptor.digest] = data
        return Content(descriptor, MadeBy(self.key))

    def report(self, line: str) -> None:
        self.lines.append(line)


def asked(package: LabPackage, archive: Path) -> PackageLayer:
    """Return the plan of a package's layer."""
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    url = f"https://packages.test/lab/{package.subdir}/{package.file_name}"
    return PackageLayer(Package(url, sha256, None, archive.stat().st_size))


async def test_a_layer_and_its_document_are_kept(tmp_path: Path) -> None:
    package = LabPackage("tool", files={"bin/tool": text("tool\n"), "share/noise": Noise(300_000)})
    archive = write(tmp_path, package)
    work = OneArchive(archive, tmp_path / "scratch")
    plan = asked(package, archive)

    image = await make(plan, work)  # type: ignore[arg-type]

    document, layer = image.contents
    assert image.descriptor == document.descriptor
    assert document.descriptor.media_type == MEDIA_TYPE
    info = LayerInfo.decode(work.kept[image.descriptor.digest])
    assert layer.descriptor == info.descriptor
    assert Digest.of(work.kept[layer.descriptor.digest]) == info.digest
    assert {content.source for content in image.contents} == {MadeBy("a key")}
    assert work.asked == [(plan.package.url, Digest(f"sha256:{plan.package.sha256}"), plan.package.size)]
    assert work.reserved[0] >= info.size
    (line,) = work.lines
    assert line.startswith(f"tool-1.0-h0_0.conda: {info.size} bytes, made in ")


async def test_a_package_that_is_too_big_is_refused(tmp_path: Path) -> None:
    package = LabPackage("tool", files={"share/noise": Noise(300_000)})
    archive = write(tmp_path, package)
    work = OneArchive(archive, tmp_path / "scratch")
    with pytest.raises(UpstreamBroken, match=r"https://packages.test/lab/linux-64/tool-1.0-h0_0.conda: it inflates"):
        await make(asked(package, archive), work, 100_000)  # type: ignore[arg-type]
    assert work.kept == {}


async def test_a_layer_that_outgrows_its_room_is_given_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "LEAST", 10)
    monkeypatch.setattr(maker, "GROWTHS", (0, 0, 100))
    archive = write(tmp_path, LabPackage("p", files={"share/noise": Noise(50_000, 1)}))
    work = OneArchive(archive, tmp_path / "scratch")
    package = Package(f"https://c.test/lab/linux-64/{archive.name}", hashlib.sha256(archive.read_bytes()).hexdigest())
    await make(PackageLayer(package), work)  # type: ignore[arg-type]
    assert work.reserved == [10, 10, 100 * archive.stat().st_size]


async def test_a_layer_that_no_honest_package_has_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "LEAST", 10)
    monkeypatch.setattr(maker, "GROWTHS", (0, 0))
    archive = write(tmp_path, LabPackage("p", files={"share/noise": Noise(50_000, 1)}))
    package = Package(f"https://c.test/lab/linux-64/{archive.name}", hashlib.sha256(archive.read_bytes()).hexdigest())
    with pytest.raises(UpstreamBroken, match="more than 0 times"):
        await make(PackageLayer(package), OneArchive(archive, tmp_path / "scratch"))  # type: ignore[arg-type]
