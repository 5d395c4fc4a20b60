"""The maker of images of locked packages, on real package layers: against rattler's installation, and its documents."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from memory_work import AMD64, Everything

from lab import conda_oracle, images
from lab.conda_packages import Package as LabPackage
from lab.conda_packages import Symlink, text, write
from wavelet.archive.gzip_members import Fragment
from wavelet.errors import ImageNotFound, InvalidRequest, UpstreamBroken
from wavelet.image.image import Image, MadeBy
from wavelet.image.reference import Digest, Platform
from wavelet.kinds.conda.compose import layering, sbom
from wavelet.kinds.conda.compose.image import LOCK_TYPE
from wavelet.kinds.conda.link.layer_info import MEDIA_TYPE, LayerInfo
from wavelet.kinds.conda.link.prefix_layer import prefix_layer
from wavelet.kinds.conda.locks.read_explicit import read_explicit
from wavelet.kinds.conda.model.node import LockedEnvironment, ScriptsLayer, WheelLayer
from wavelet.kinds.conda.model.packages import Wheel
from wavelet.plan.canonical import key as key_of

pytestmark = pytest.mark.timeout(120)

BASE = images.busybox(entrypoint=["/bin/env"], labels={"own": "label"}, family=images.OCI)


@pytest.fixture
def everything(tmp_path: Path) -> Everything:
    return Everything(tmp_path / "content")


Locking = Callable[..., LockedEnvironment]


@pytest.fixture
def locking(everything: Everything, channel: Path) -> Locking:
    """Return what makes a lock of names (or archives), each package of the standard channel in its first version."""

    def lock(*names: str | Path, base: images.Image = BASE) -> LockedEnvironment:
        found = [name if isinstance(name, Path) else archive_of(channel, name) for name in names]
        packages = tuple(sorted(everything.package(archive) for archive in found))
        return LockedEnvironment(packages, (), AMD64, everything.base(base))

    return lock


def archive_of(channel: Path, name: str) -> Path:
    """Return the archive of `name`, or of `name-version` (or its beginning), that is first by name."""

    def is_it(path: Path) -> bool:
        parts = path.name.rsplit("-", 2)
        return parts[0] == name or (len(parts) == 3 and "-".join(parts[:2]).startswith(name) and parts[0] in name)

    return sorted(p for s in ("linux-64", "noarch") for p in (channel / s).glob("*-*-*") if is_it(p))[0]


def layers_of(everything: Everything, image: Image) -> list[Path]:
    """Return the blobs above the base."""
    manifest = json.loads(everything.file(image.closure[image.descriptor.digest]).read_bytes())
    return [everything.directory / layer["digest"].partition(":")[2] for layer in manifest["layers"][1:]]


def read(everything: Everything, image: Image, digest: str) -> Any:
    """Return a JSON document of an image."""
    return json.loads(everything.file(image.closure[Digest(digest)]).read_bytes())


def documents(everything: Everything, image: Image) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return manifest and configuration."""
    manifest = read(everything, image, image.descriptor.digest)
    return manifest, read(everything, image, manifest["config"]["digest"])


def same_as_rattler(everything: Everything, image: Image, archives: Sequence[Path], directory: Path) -> list[str]:
    """Return the differences to what rattler installs of the same archives."""
    expected = conda_oracle.tree_of(conda_oracle.install(archives, directory))
    found = conda_oracle.tree_of_layers(layers_of(everything, image))
    return conda_oracle.differences(expected, found, allowed=r"^etc(/wavelet(/.*)?)?$")


TOOLS = ("samtools-1.17", "htslib-1.17", "libdeflate-lab", "libzlab", "libgcc-lab", "procps-ng", "bwa")


async def test_an_image_has_what_rattler_installs(
    everything: Everything, locking: Locking, channel: Path, tmp_path: Path
) -> None:
    names = (
        *TOOLS,
        "python-3.11",
        "labtool",
        "labscripts",
        "lab-report",
        "symlinks",
        "oddnames",
        "hardlinks",
        "lab-data",
    )
    plan = locking(*names, "clobber-a", "clobber-b", "clobber-c", "tzdata")
    image = await everything.realise(plan)
    assert same_as_rattler(everything, image, [everything.archives[p.url] for p in plan.packages], tmp_path / "r") == []


@pytest.mark.parametrize("own", [0, 1, 3])
async def test_however_layers_are_shared(
    everything: Everything, locking: Locking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: int
) -> None:
    monkeypatch.setattr(layering, "OWN_LIMIT", own)
    plan = locking(*TOOLS, "symlinks", "hardlinks", "oddnames", "clobber-a", "clobber-b", "clobber-c")
    image = await everything.realise(plan)
    assert same_as_rattler(everything, image, [everything.archives[p.url] for p in plan.packages], tmp_path / "r") == []
    assert everything.derived
    assert any("packages in one layer" in line for line in everything.lines)


@pytest.mark.parametrize("languages", [True, False])
async def test_an_image_of_few_layers_has_four_at_most_and_the_same_files(
    everything: Everything, locking: Locking, tmp_path: Path, languages: bool
) -> None:
    names = ["symlinks", "hardlinks", "oddnames", "clobber-a", "clobber-b", "clobber-c", *TOOLS]
    many = locking(*names, *(["python-3.11", "labtool", "labscripts"] if languages else []))
    plan = replace(many, layers="few")
    image = await everything.realise(plan)
    assert len(layers_of(everything, image)) <= 4 < len(layers_of(everything, await everything.realise(many)))
    assert same_as_rattler(everything, image, [everything.archives[p.url] for p in plan.packages], tmp_path / "r") == []


async def test_packages_that_clobber_are_merged_when_layers_run_out(
    everything: Everything, locking: Locking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layering, "RANKS", 1)
    plan = locking(*TOOLS, "symlinks", "hardlinks", "oddnames", "clobber-a", "clobber-b", "clobber-c")
    image = await everything.realise(plan)
    assert same_as_rattler(everything, image, [everything.archives[p.url] for p in plan.packages], tmp_path / "r") == []


@pytest.mark.parametrize("ranks", [1, 12])
async def test_paths_that_are_different_things_to_two_packages(
    everything: Everything, locking: Locking, monkeypatch: pytest.MonkeyPatch, ranks: int
) -> None:
    monkeypatch.setattr(layering, "RANKS", ranks)
    image = await everything.realise(locking("path-is-file", "path-is-directory", "path-is-link", "path-is-under-link"))
    tree = conda_oracle.tree_of_layers(layers_of(everything, image))
    assert tree["share/disputed"].kind == "directory", "of two that do not need each other the first by name wins"
    assert "share/disputed/inside" in tree
    assert tree["share/disputed-too"].kind == "link"
    for blob in layers_of(everything, image):
        with tarfile.open(blob) as tar:
            entries = {entry.name for entry in tar}
        assert {name.rpartition("/")[0] for name in entries} - {"opt", "", "etc/profile.d"} <= entries, (
            "a layer has its directories"
        )


async def test_the_documents(everything: Everything, locking: Locking) -> None:
    plan = locking(*TOOLS, "lab-settings", "meta")
    image = await everything.realise(plan)
    manifest, config = documents(everything, image)
    base = BASE.json()
    assert manifest["mediaType"] == image.descriptor.media_type == base["mediaType"]
    assert manifest["layers"][: len(base["layers"])] == base["layers"]
    assert manifest["annotations"]["org.opencontainers.image.base.digest"] == BASE.digest
    assert manifest["annotations"]["org.opencontainers.image.base.name"] == "quay.io/lab/base"
    assert config["config"]["Labels"] == {"own": "label", **manifest["annotations"]}
    assert len(config["rootfs"]["diff_ids"]) == len(config["history"]) == len(manifest["layers"])
    assert config["config"]["Entrypoint"] == ["/bin/env"]
    environment = dict(entry.split("=", 1) for entry in config["config"]["Env"])
    assert environment["PATH"] == "/opt/conda/bin:/bin"
    assert environment["LAB_COLOUR"]
    assert "BASH_ENV" not in environment
    titles = [layer.get("annotations", {}).get("org.opencontainers.image.title") for layer in manifest["layers"]]
    assert any(title and title.startswith("samtools 1.17 ") for title in titles)
    assert not any(title and title.startswith("meta ") for title in titles), "what has no files needs no layer"
    assert any("pkg:conda/bwa@0.7.17?build=" in json.dumps(layer) for layer in manifest["layers"])
    for digest in (layer["digest"] for layer in manifest["layers"]):
        assert Digest(digest) in image.closure
    parts = {c.descriptor.digest: c.source for c in image.contents}
    own = [layer["digest"] for layer in manifest["layers"][len(base["layers"]) :]]
    assert sum(parts[Digest(d)] == MadeBy(key_of(plan)) for d in own) == 1, "package layers are their own makers'"


async def test_docker_documents_have_no_annotations(everything: Everything, locking: Locking) -> None:
    base = images.busybox(family=images.DOCKER)
    manifest, config = documents(everything, await everything.realise(locking("bwa", base=base)))
    assert "annotations" not in json.dumps(manifest)
    assert {layer["mediaType"] for layer in manifest["layers"]} == {base.json()["layers"][0]["mediaType"]}
    assert config["config"]["Labels"]["wavelet.packages"] == "1"


async def test_conda_meta_and_lock(everything: Everything, locking: Locking) -> None:
    plan = locking(*TOOLS)
    image = await everything.realise(plan)
    tree = conda_oracle.tree_of_layers(layers_of(everything, image)[-1:])
    assert tree == {}, "the image's own layer has conda-meta alone"
    raw = gzip.decompress(layers_of(everything, image)[-1].read_bytes())
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        names = tar.getnames()
    assert {f"opt/conda/conda-meta/{p.stem}.json" for p in plan.packages} < set(names)
    assert {"opt/conda/conda-meta/history", "opt/conda/conda-meta/explicit.txt"} < set(names)


async def test_scripts_of_packages_make_an_entry_point(everything: Everything, locking: Locking) -> None:
    _, config = documents(everything, await everything.realise(locking("openjdk", "r-base")))
    assert config["config"]["Entrypoint"] == ["/opt/conda/etc/wavelet/entrypoint.sh", "/bin/env"]
    assert "BASH_ENV=/opt/conda/etc/wavelet/activate.sh" in config["config"]["Env"]


async def test_bill_of_materials_and_lock_are_referrers(everything: Everything, locking: Locking) -> None:
    plan = locking(*TOOLS)
    image = await everything.realise(plan)
    attached = [c for c in image.contents if c.descriptor.media_type == "application/vnd.oci.image.manifest.v1+json"]
    manifests = [m for m in (read(everything, image, c.descriptor.digest) for c in attached) if m.get("artifactType")]
    referrers = {each["artifactType"]: each for each in manifests}
    assert referrers.keys() == {sbom.MEDIA_TYPE, LOCK_TYPE}
    for each in referrers.values():
        assert each["subject"] == image.descriptor.as_json()
        assert read(everything, image, each["config"]["digest"]) == {}
    bom = read(everything, image, referrers[sbom.MEDIA_TYPE]["layers"][0]["digest"])
    assert {c["name"] for c in bom["components"]} == {name.removesuffix("-1.17") for name in TOOLS}
    (lock,) = referrers[LOCK_TYPE]["layers"]
    assert lock["digest"] == plan.lock_digest
    text = everything.file(image.closure[Digest(lock["digest"])]).read_text()
    (read_back,) = read_explicit(text, "packages")
    assert (read_back.subdir, len(read_back.packages)) == ("linux-64", len(plan.packages))
    assert [each.sha256 for each in read_back.packages] == [each.sha256 for each in plan.packages]


async def test_the_same_lock_is_the_same_image(tmp_path: Path, channel: Path) -> None:
    digests = []
    for number in range(2):
        everything = Everything(tmp_path / str(number))
        archives = [archive_of(channel, name) for name in TOOLS]
        packages = tuple(sorted(everything.package(archive) for archive in archives))
        plan = LockedEnvironment(packages, (), AMD64, everything.base(BASE))
        digests.append((await everything.realise(plan)).descriptor)
    assert digests[0] == digests[1]


async def test_packages_are_made_once_for_all_images(everything: Everything, locking: Locking) -> None:
    await everything.realise(locking(*TOOLS))
    everything.made.clear()
    await everything.realise(locking(*TOOLS, "which"))
    assert everything.made == ["LockedEnvironment", "PackageLayer"]


async def test_a_base_of_another_platform(everything: Everything, locking: Locking) -> None:
    plan = replace(locking("bwa"), platform=Platform.parse("arm64"))
    with pytest.raises(ImageNotFound, match=r"has no linux/arm64; it has linux/amd64"):
        await everything.realise(plan)


async def test_a_base_with_too_many_layers(everything: Everything, locking: Locking) -> None:
    base = images.image([images.layer({"n": str(n)}) for n in range(110)])
    with pytest.raises(InvalidRequest, match="110 layers"):
        await everything.realise(locking("bwa", base=base))


async def test_a_base_leaves_fewer_layers(everything: Everything, locking: Locking) -> None:
    base = images.image([images.layer({"n": str(n)}) for n in range(100)])
    manifest, _ = documents(everything, await everything.realise(locking(*TOOLS, base=base)))
    assert len(manifest["layers"]) <= layering.IMAGE_LIMIT - layering.RESERVE


async def test_a_package_that_cannot_be_had(everything: Everything, locking: Locking) -> None:
    plan = locking(*TOOLS)
    del everything.archives[plan.packages[0].url]
    with pytest.raises(UpstreamBroken, match="is not there"):
        await everything.realise(plan)


async def test_a_name_twice(everything: Everything, locking: Locking) -> None:
    with pytest.raises(InvalidRequest, match="more than one of samtools"):
        await everything.realise(locking("samtools-1.17", "samtools-1.18"))


async def test_what_scripts_changed_lies_above(tmp_path: Path, channel: Path) -> None:
    asked: list[ScriptsLayer] = []

    async def run_scripts(plan: ScriptsLayer, work: Any) -> Image:
        asked.append(plan)
        await work.realise(plan.image)
        layer = await work.keep(images.layer({"opt/conda/share/made": "x"}).blob, "layer")
        diff_id = images.layer({"opt/conda/share/made": "x"}).diff_id
        own = layer.descriptor
        info = LayerInfo(
            kind="scripts",
            digest=own.digest,
            size=own.size,
            diff_id=diff_id,
            fragment=Fragment(0, 0, 0),
            files=("share/made",),
        )
        document = await work.keep(info.encode(), MEDIA_TYPE)
        return Image.of(document.descriptor, [document, layer])

    everything = Everything(tmp_path / "content", {ScriptsLayer: run_scripts})
    names = (
        "post-link-tool",
        "bwa",
        "which",
        "samtools-1.17",
        "htslib-1.17",
        "libdeflate-lab",
        "libzlab",
        "libgcc-lab",
    )
    plan = LockedEnvironment(
        tuple(sorted(everything.package(archive_of(channel, name)) for name in names)), (), AMD64, everything.base(BASE)
    )
    image = await everything.realise(plan)
    assert [p.name for p in asked[0].packages] == ["post-link-tool"]
    assert "samtools" not in {p.name for p in asked[0].image.packages}
    assert not asked[0].image.scripts
    assert "share/made" in conda_oracle.tree_of_layers(layers_of(everything, image)[-2:-1])
    assert any("post-link" in each["created_by"] for each in documents(everything, image)[1]["history"])


async def test_a_link_where_another_package_has_a_directory(
    everything: Everything, locking: Locking, tmp_path: Path
) -> None:
    below = write(tmp_path, LabPackage("below", files={"lib64/inner": text("x"), "lib/own": text("y")}))
    above = write(
        tmp_path, LabPackage("above", files={"lib64": Symlink("lib"), "lib/own2": text("z")}, depends=("below",))
    )
    image = await everything.realise(locking(below, above))
    tree = conda_oracle.tree_of_layers(layers_of(everything, image))
    assert tree["lib64"].kind == "link"
    assert "lib64/inner" not in tree


WHEEL = Wheel("https://files.test/one-1.0-py3-none-any.whl", "ab" * 32)


def install_wheel(directory: Path, site_packages: str) -> LayerInfo:
    """Write a layer as of a wheel, with a module and a program that a package has too."""
    parents = {site_packages.rsplit("/", cut)[0] for cut in range(site_packages.count("/") + 1)}
    with prefix_layer(directory / "layer", sorted({"", "bin", *parents})) as layer:
        layer.file(f"{site_packages}/one.py", b"one = 1", 1_600_000_000, executable=False)
        layer.file("bin/which", b"#!/bin/sh", 1_600_000_000, executable=True)
        made = layer.finish()
    return LayerInfo(
        kind="wheel",
        digest=made.digest,
        size=made.size,
        diff_id=made.diff_id,
        fragment=made.fragment,
        files=("bin/which", f"{site_packages}/one.py"),
        directories=tuple(sorted({"", "bin", *parents})),
        index={"name": "one", "version": "1.0"},
    )


async def make_wheel(plan: WheelLayer, work: Any) -> Image:
    async with work.scratch(1_000_000) as directory:
        info = install_wheel(directory, plan.site_packages)
        layer = await work.adopt(directory / "layer", info.descriptor)
    document = await work.keep(info.encode(), MEDIA_TYPE)
    return Image.of(document.descriptor, [document, layer])


async def test_wheels_lie_above_packages(tmp_path: Path, channel: Path) -> None:
    everything = Everything(tmp_path / "content", {WheelLayer: make_wheel})
    names = ("python-3.10", "which", "labtool")
    packages = tuple(sorted(everything.package(archive_of(channel, name)) for name in names))
    plan = LockedEnvironment(packages, (WHEEL,), AMD64, everything.base(BASE))
    image = await everything.realise(plan)
    tree = conda_oracle.tree_of_layers(layers_of(everything, image))
    assert "lib/python3.10t/site-packages/one.py" in tree, "where this Python looks, not where its version says"
    assert any(name.startswith("lib/python3.10t/site-packages/labtool") for name in tree)
    assert tree["bin/which"].what == hashlib.sha256(b"#!/bin/sh").hexdigest()
    _, config = documents(everything, image)
    assert config["config"]["Labels"]["wavelet.wheels"] == "1"


async def test_wheels_need_a_python(tmp_path: Path, channel: Path) -> None:
    everything = Everything(tmp_path / "content", {WheelLayer: make_wheel})
    plan = LockedEnvironment((everything.package(archive_of(channel, "bwa")),), (WHEEL,), AMD64, everything.base(BASE))
    with pytest.raises(InvalidRequest, match="no python to install into"):
        await everything.realise(plan)


async def test_an_environment_without_packages(everything: Everything, locking: Locking) -> None:
    manifest, _ = documents(everything, await everything.realise(locking()))
    assert len(manifest["layers"]) == len(BASE.json()["layers"]) + 1
