"""Layers of conda packages against what rattler installs, entry by entry, for every package of the lab's channel."""

from __future__ import annotations

from pathlib import Path

import pytest
from isal import igzip
from linked_packages import Linked, link, link_new

from lab.conda_catalogue import standard_packages
from lab.conda_oracle import Entry, differences, install_each, tree_of, tree_of_layers
from lab.conda_packages import Package
from lab.conda_shapes import refused_by_rattler
from wavelet.archive.layer_writer import end_member
from wavelet.archive.tar_format import END
from wavelet.image.reference import Digest
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.kinds.conda.link.prefix_layer import ENTRIES, directories_member

FILE_NAMES = sorted({f"{package.subdir}/{package.file_name}" for package in standard_packages()})
REFUSED_BY_RATTLER = {f"{package.subdir}/{package.file_name}" for package in refused_by_rattler()}
BEFORE_1980 = r"share/modes/old"
"""rattler raises times before 1980 to that year; a layer keeps them, and with them what .pyc files say of sources."""


@pytest.fixture(scope="module")
def linked(channel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Linked]:
    """Return every package of the channel, linked, by subdir and file name."""
    directory = tmp_path_factory.mktemp("layers")
    return {name: link(channel / name, directory / name.replace("/", "-")) for name in FILE_NAMES}


@pytest.fixture(scope="module")
def installed(channel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return where rattler has installed every package, each with a Python if it needs one."""
    python = channel / "linux-64/python-3.11.7-h1_0_cpython.conda"
    sets = {
        f"{package.subdir}/{package.file_name}": [channel / package.subdir / package.file_name]
        + ([python] if package.noarch == "python" else [])
        for package in standard_packages()
    }
    wanted = {name: archives for name, archives in sets.items() if name not in REFUSED_BY_RATTLER}
    return install_each(wanted, tmp_path_factory.mktemp("rattler"))


@pytest.mark.parametrize("name", [name for name in FILE_NAMES if name not in REFUSED_BY_RATTLER])
def test_a_layer_is_what_rattler_installs(name: str, linked: dict[str, Linked], installed: dict[str, Path]) -> None:
    package = linked[name]
    expected = tree_of(installed[name], str(package.info.index["name"]))

    found = tree_of_layers([package.blob])

    assert differences(expected, found, allowed=BEFORE_1980) == []


def test_entry_points_are_rattlers_to_the_byte(linked: dict[str, Linked], installed: dict[str, Path]) -> None:
    name = "noarch/labtool-1.0-pyhd8ed1ab_0.conda"
    for command in ("bin/labtool", "bin/lab-tool2"):
        assert linked[name].read(command) == (installed[name] / command).read_bytes()


def test_times_before_1980_stay(linked: dict[str, Linked]) -> None:
    times = {member.name: member.mtime for member in linked["linux-64/modes-1.0-h0_0.conda"].members()}
    assert times["opt/conda/share/modes/old"] == 1
    assert times["opt/conda/share/modes/future"] == 4_000_000_000


def test_listed_directories_are_there_though_they_are_empty(linked: dict[str, Linked]) -> None:
    tree = tree_of_layers([linked["linux-64/emptydirs-1.0-h0_0.conda"].blob])
    assert tree["var/emptydirs/cache"] == Entry("directory")
    assert tree["var/emptydirs/log"] == Entry("directory")


@pytest.mark.parametrize("name", FILE_NAMES)
def test_documents_say_what_layers_have(name: str, linked: dict[str, Linked]) -> None:
    package = linked[name]
    members = {member.name.removeprefix("opt/conda").removeprefix("/"): member for member in package.members()}
    info = package.info

    assert list(info.files) == sorted(path for path, member in members.items() if member.isreg() or member.islnk())
    assert dict(info.links) == {path: member.linkname for path, member in members.items() if member.issym()}
    assert list(info.directories) == sorted(path for path, member in members.items() if member.isdir())
    assert info.directories[0] == ""
    assert LayerInfo.decode(info.encode()) == info
    blob = package.blob.read_bytes()
    assert info.digest == Digest.of(blob)
    assert info.size == len(blob)
    assert info.diff_id == Digest.of(package.tar)


@pytest.mark.parametrize("name", FILE_NAMES)
def test_nothing_says_who_made_a_layer(name: str, linked: dict[str, Linked]) -> None:
    for member in linked[name].members():
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
        assert member.mode in ((0o777,) if member.issym() else (0o755,) if member.isdir() else (0o755, 0o644))
        assert member.name == "opt/conda" or member.name.startswith("opt/conda/")


def test_every_path_is_there_once_and_below_its_directories(linked: dict[str, Linked]) -> None:
    for package in linked.values():
        seen: set[str] = set()
        for member in package.members():
            assert member.name not in seen
            assert member.name == "opt/conda" or member.name.rpartition("/")[0] in seen
            seen.add(member.name)


def test_fragments_are_layers_without_directories_and_end(linked: dict[str, Linked]) -> None:
    for package in linked.values():
        blob, fragment = package.blob.read_bytes(), package.info.fragment
        end = fragment.offset + fragment.length
        files = igzip.decompress(blob[fragment.offset : end])
        directories = ENTRIES.directories(package.info.directories)

        assert blob[: fragment.offset] == directories_member(package.info.directories)
        assert blob[end:] == end_member()
        assert len(files) == fragment.inflated
        assert package.tar == directories + files + END


def test_a_tail_of_fragments_is_a_layer(linked: dict[str, Linked], installed: dict[str, Path]) -> None:
    names = [f"linux-64/{stem}.conda" for stem in ("bwa-0.7.17-h0_0", "oddnames-1.0-h0_0", "hardlinks-1.0-h0_0")]
    parts = [linked[name] for name in names]
    directories = {path for part in parts for path in part.info.directories}
    fragments = [part.blob.read_bytes()[part.info.fragment.offset :][: part.info.fragment.length] for part in parts]
    expected = {}
    for name in names:
        expected |= tree_of(installed[name])

    tail = b"".join((directories_member(directories), *fragments, end_member()))

    assert differences(expected, tree_of_layers([tail])) == []


def test_hard_links_stay_hard_links(linked: dict[str, Linked]) -> None:
    package = linked["linux-64/hardlinks-1.0-h0_0.conda"]
    links = {member.name: member.linkname for member in package.members() if member.islnk()}
    assert links == {
        "opt/conda/bin/hard-b": "opt/conda/bin/hard-a",
        "opt/conda/share/hardlinks/c": "opt/conda/bin/hard-a",
        "opt/conda/share/hardlinks/patched-too": "opt/conda/share/hardlinks/patched",
    }


def test_documents_name_scripts_activation_and_environment(linked: dict[str, Linked]) -> None:
    def info(stem: str) -> LayerInfo:
        return linked[f"linux-64/{stem}-h0_0.conda"].info

    assert info("post-link-tool-1.0").scripts == ("bin/.post-link-tool-post-link.sh",)
    assert info("pre-link-tool-1.0").scripts == ("bin/.pre-link-tool-pre-link.sh",)
    assert info("pre-unlink-tool-1.0").scripts == ()
    assert info("openjdk-17.0.8").has_activation
    assert not info("bwa-0.7.17").has_activation
    assert info("lab-settings-1.0").env_vars["LAB_COLOUR"]
    assert info("bwa-0.7.17").index["name"] == "bwa"
    assert info("bwa-0.7.17").about == {"home": "https://home.example/bwa", "license": "GPL-3.0-or-later"}


def test_noarch_packages_follow_their_python(channel: Path, tmp_path: Path) -> None:
    archive = channel / "noarch/labtool-1.0-pyhd8ed1ab_0.conda"
    free_threaded = link(archive, tmp_path / "t", "3.13", "lib/python3.13t/site-packages")

    tree = tree_of_layers([free_threaded.blob])

    assert "lib/python3.13t/site-packages/labtool/__init__.py" in tree
    assert not [path for path in tree if "site-packages" in path and "python3.13t" not in path]
    assert free_threaded.read("bin/labtool").startswith(b"#!/opt/conda/bin/python3.13\n")


def test_only_noarch_python_packages_depend_on_a_python(channel: Path, tmp_path: Path) -> None:
    for stem in ("linux-64/bwa-0.7.17-h0_0", "noarch/lab-data-2024.1-0"):
        with_python = link(channel / f"{stem}.conda", tmp_path / "with", "3.12")
        without = link(channel / f"{stem}.conda", tmp_path / "without", "")
        assert with_python.info == without.info
        for blob in (tmp_path / "with", tmp_path / "without"):
            blob.unlink()


def test_both_formats_of_a_package_give_the_same_layer(linked: dict[str, Linked]) -> None:
    conda, bzip = (linked[f"linux-64/twin-1.0-h0_0{extension}"] for extension in (".conda", ".tar.bz2"))
    assert conda.info.digest == bzip.info.digest


@pytest.mark.parametrize("prefix", ["/p", "/" + "d" * 110, "/" + "d" * 124, "/" + "d" * 200])
def test_other_prefixes_are_patched_as_rattler_does_it(prefix: str, channel: Path, tmp_path: Path) -> None:
    archives = [
        channel / "linux-64/prefixes-1.0-h0_0.conda",
        channel / "noarch/labtool-1.0-pyhd8ed1ab_0.conda",
        channel / "noarch/labscripts-2.1-pyhd8ed1ab_0.conda",
        channel / "linux-64/python-3.11.7-h1_0_cpython.conda",
    ]
    target = install_each({"all": archives}, tmp_path / "rattler", prefix=prefix)["all"]
    for archive in archives:
        made = link(archive, tmp_path / archive.name, prefix=prefix)
        name = str(made.info.index["name"])
        assert differences(tree_of(target, name), tree_of_layers([made.blob])) == []


def test_old_lists_are_read_as_paths_json_is(tmp_path: Path) -> None:
    package = next(package for package in standard_packages() if package.name == "prefixes")
    digests = set()
    for with_paths_json in (True, False):
        for extension in (".conda", ".tar.bz2"):
            variant = Package("variant", files=package.files, with_paths_json=with_paths_json, extension=extension)
            digests.add(link_new(variant, tmp_path / f"{with_paths_json}{extension}").info.diff_id)
    assert len(digests) == 1
