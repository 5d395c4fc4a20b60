"""Packages that are broken, that lie, or that would reach outside of their prefix: refused, and named."""

from __future__ import annotations

import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from linked_packages import PREFIX, link_new

from lab.conda_bad import Bad, bad_packages
from lab.conda_packages import File, HardLink, Package, Symlink, text, write
from wavelet.archive import tar_reader
from wavelet.errors import UpstreamBroken
from wavelet.kinds.conda.link import package_archive as archive_module
from wavelet.kinds.conda.link.package_linker import link_package

BOMB = 50_000_000
ACCEPTED = {"bad-file-sum", "bad-path-type", "bad-file-mode"}
"""What conda and rattler do not look at: the archive's own digest has been verified, and its tar says what is what."""
HARMLESS = Package("fine", files={"share/fine": text("fine\n")})


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bad]:
    """Return the lab's bad packages."""
    return bad_packages(tmp_path_factory.mktemp("bad"), bomb_bytes=BOMB)


def refusal(archive: Path, blob: Path, limit: int = 10 * BOMB, python: str = "3.12") -> str:
    """Return the sentence with which a package is refused."""
    with pytest.raises(UpstreamBroken) as refused:
        link_package(archive, blob, f"https://packages.test/lab/linux-64/{archive.name}", PREFIX, python, "", limit)
    return refused.value.message


@pytest.mark.process
def test_bad_packages_are_refused_by_name(bad: dict[str, Bad], tmp_path: Path) -> None:
    wanted = [each for name, each in bad.items() if each.in_archive and name not in ACCEPTED | {"bad-bomb"}]
    assert len(wanted) > 20
    for each in wanted:
        message = refusal(each.path, tmp_path / each.name)
        assert each.name in message, each
        assert "https://packages.test/lab" in message


@pytest.mark.process
def test_what_no_installer_looks_at_is_linked(bad: dict[str, Bad], tmp_path: Path) -> None:
    for name in ACCEPTED:
        assert link_package(bad[name].path, tmp_path / name, bad[name].path.name, PREFIX, "", "", BOMB).info.files


@pytest.mark.process
def test_a_package_inflates_to_no_more_than_is_accepted(bad: dict[str, Bad], tmp_path: Path) -> None:
    assert f"more than {BOMB} bytes" in refusal(bad["bad-bomb"].path, tmp_path / "layer", limit=BOMB)


@pytest.mark.process
def test_nor_to_many_times_its_size(monkeypatch: pytest.MonkeyPatch, bad: dict[str, Bad], tmp_path: Path) -> None:
    monkeypatch.setattr(archive_module, "_UNSUSPECTED", 1_000_000)
    monkeypatch.setattr(archive_module, "_RATIO", 2)
    assert "inflates to more than" in refusal(bad["bad-bomb"].path, tmp_path / "layer")


def test_a_package_has_so_many_members(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tar_reader, "MEMBERS", 20)
    archive = write(tmp_path, Package("many", files={f"share/{number}": text("") for number in range(30)}))
    assert "more than 20 members" in refusal(archive, tmp_path / "layer")


def test_documents_have_a_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(archive_module, "DOCUMENTS", dict.fromkeys(archive_module.DOCUMENTS, 1000))
    archive = write(tmp_path, replace(HARMLESS, about={"text": "x" * 2000}))
    assert "info/about.json has" in refusal(archive, tmp_path / "layer")


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (
            {"share/door": Symlink(".."), "share/door/x": text("")},
            "share/door is a file or a link, and has files in it",
        ),
        ({"share/door": text(""), "share/door/x": text("")}, "share/door is a file or a link, and has files in it"),
        ({f"share/{'n' * 256}": text("")}, "not a path that may be installed"),
        ({"share/.wh.x": text("")}, "not a path that may be installed"),
        ({"share/.wh.x/y": text("")}, "not a path that may be installed"),
        ({"conda-meta/x-1.0-0.json": text("")}, "conda keeps its own records"),
        ({"etc/conda/env_vars.d/x.json": text("[1]")}, "does not name environment variables"),
    ],
)
def test_layers_have_no_paths_that_mislead(files: dict[str, File | Symlink], why: str, tmp_path: Path) -> None:
    assert why in refusal(write(tmp_path, Package("misleading", files=files)), tmp_path / "layer")


def test_names_that_only_look_like_whiteouts_are_installed(tmp_path: Path) -> None:
    files = {"share/x.wh.y": text(""), "share/.whx": text(""), "share/...": text(""), "conda-meta/pinned": text("")}
    assert link_new(Package("fine", files=files), tmp_path).info.files == tuple(sorted(files))


def test_a_noarch_python_package_needs_a_python(tmp_path: Path) -> None:
    archive = write(tmp_path, replace(HARMLESS, subdir="noarch", noarch="python"))
    assert "the environment has no Python" in refusal(archive, tmp_path / "layer", python="")


@pytest.mark.parametrize("point", ["x", "x = y", "a/b = m:f", ".x = m:f", "x = m:f()", "x = m;import os:f", " = m:f"])
def test_entry_points_are_names(point: str, tmp_path: Path) -> None:
    package = replace(HARMLESS, subdir="noarch", noarch="python", entry_points=(point,))
    assert "is not an entry point" in refusal(write(tmp_path, package), tmp_path / "layer")


def test_two_files_cannot_end_at_one_path(tmp_path: Path) -> None:
    files = {"site-packages/x.py": text("1"), "lib/python3.12/site-packages/x.py": text("2")}
    package = Package("twofold", subdir="noarch", noarch="python", files=files)
    message = refusal(write(tmp_path, package), tmp_path / "layer")
    assert "two files for lib/python3.12/site-packages/x.py" in message


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    archive = rewritten(tmp_path, write(tmp_path, HARMLESS), lambda raw: _with_member(raw, "share/fine", b"other\n"))
    assert "has share/fine twice" in refusal(archive, tmp_path / "layer")


def test_hard_links_may_want_what_is_not_installed_or_patched_otherwise(tmp_path: Path) -> None:
    patched = text("x" * 300_000 + "\n")
    files = {"lib/a": patched, "lib/b": HardLink("lib/a"), "lib/c": HardLink("lib/a")}
    made = link_new(Package("links", files=files, unlisted=frozenset({"lib/a"})), tmp_path)
    assert made.info.files == ("lib/b", "lib/c")
    assert made.read("lib/b") == made.read("lib/c") == patched.content


def test_names_that_are_no_text_are_refused_in_text(tmp_path: Path) -> None:
    def change(raw: bytes) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as new:
            link = tarfile.TarInfo("share/fine")
            link.type, link.linkname = tarfile.LNKTYPE, "share/\udcff\n"
            new.addfile(link)
        return out.getvalue()

    message = refusal(rewritten(tmp_path, write(tmp_path, HARMLESS), change), tmp_path / "layer")
    assert "\\udcff" in message
    message.encode()


@pytest.mark.parametrize("position", range(0, 100, 7))
def test_no_cut_makes_another_package(position: int, tmp_path: Path) -> None:
    whole = write(tmp_path, Package("cut", files={"share/a": text("a" * 5000), "share/b": text("b" * 5000)}))
    raw = whole.read_bytes()
    for extension in (".conda", ".tar.bz2"):
        archive = tmp_path / f"cut{position}-1.0-0{extension}"
        archive.write_bytes(raw[: len(raw) * position // 100])
        assert archive.name in refusal(archive, tmp_path / f"layer{extension}")


@pytest.mark.parametrize("position", range(0, 512, 24))
def test_headers_that_make_no_sense_are_refused(position: int, tmp_path: Path) -> None:
    def spoil(raw: bytes) -> bytes:
        return raw[:position] + b"\xfe" + raw[position + 1 :]

    archive = rewritten(tmp_path, write(tmp_path, HARMLESS), spoil)
    assert "fine" in refusal(archive, tmp_path / "layer")


def rewritten(directory: Path, archive: Path, change: object) -> Path:
    """Return a copy of a `.conda` whose files' tar is what `change` makes of it."""
    assert callable(change)
    copy = directory / "changed" / archive.name
    copy.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.startswith("pkg-"):
                raw = zstandard.ZstdDecompressor().decompressobj().decompress(data)
                data = zstandard.ZstdCompressor().compress(change(raw))
            new.writestr(name, data)
    return copy


def _with_member(raw: bytes, name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(raw)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
        more = tarfile.TarInfo(name)
        more.size = len(data)
        new.addfile(more, io.BytesIO(data))
    return out.getvalue()
