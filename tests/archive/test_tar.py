"""Tars are read as `tarfile` reads them, in every format that packages come in, and written so that it reads them."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.archive.layer_writer import LayerWriter
from wavelet.archive.tar_format import END, TarEntries, padding
from wavelet.archive.tar_reader import Bounds, members_of
from wavelet.errors import UpstreamBroken

ENTRIES = TarEntries("opt/conda")
LONG = "/".join(["directory-" + "d" * 70] * 4)
NAMES = (
    "short",
    "ü/日本語",
    "with space",
    LONG,
    f"{LONG}/{'f' * 99}",
    "d" * 90 + "/" + "e" * 90,
    "./dotted",
    "x" * 100,
)


def bounds(limit: int = 10**9) -> Bounds:
    """Return bounds that speak of a package."""
    return Bounds(limit, lambda what: UpstreamBroken(f"pkg: {what}"))


def read(raw: bytes) -> list[tuple[object, ...]]:
    """Return members as the linker sees them."""
    return [
        (
            member.path,
            member.is_file,
            member.is_symlink,
            member.is_hard_link,
            member.is_directory,
            member.target,
            member.mtime,
            member.executable,
            hashlib.sha256(b"".join(member.chunks())).hexdigest() if member.is_file else None,
        )
        for member in members_of(io.BytesIO(raw), bounds())
    ]


def expected(raw: bytes) -> list[tuple[object, ...]]:
    """Return members as tarfile sees them."""
    found: list[tuple[object, ...]] = []
    with tarfile.open(fileobj=io.BytesIO(raw)) as whole:
        for member in whole:
            file = whole.extractfile(member) if member.isreg() else None
            found.append(
                (
                    member.name.removeprefix("./"),
                    member.isreg(),
                    member.issym(),
                    member.islnk(),
                    member.isdir(),
                    member.linkname.removeprefix("./") if member.islnk() else member.linkname,
                    int(member.mtime),
                    bool(member.mode & 0o111),
                    None if file is None else hashlib.sha256(file.read()).hexdigest(),
                )
            )
    return found


def packed(names: tuple[str, ...], kind: int) -> bytes:
    """Return a tar of files, links and directories."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as whole:
        for number, name in enumerate(names):
            data = name.encode() * number * 700
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(data), 1_600_000_000 + number, (0o755, 0o600)[number % 2]
            if kind == tarfile.PAX_FORMAT:
                member.mtime += 0.75  # type: ignore[assignment]
            whole.addfile(member, io.BytesIO(data))
            for suffix, of_kind in (("s", tarfile.SYMTYPE), ("h", tarfile.LNKTYPE), ("d", tarfile.DIRTYPE)):
                other = tarfile.TarInfo(name + suffix)
                other.type, other.linkname = (
                    of_kind,
                    "" if suffix == "d" else names[0] if kind == tarfile.USTAR_FORMAT else name,
                )
                whole.addfile(other)
    return out.getvalue()


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_all_formats_are_read(kind: int) -> None:
    raw = packed(NAMES, kind)
    assert read(raw) == expected(raw)


def test_ustar_is_read() -> None:
    raw = packed(("short", "d" * 90 + "/" + "e" * 90, "d" * 150 + "/e"), tarfile.USTAR_FORMAT)
    assert read(raw) == expected(raw)


@pytest.mark.process
@pytest.mark.parametrize("kind", ["gnu", "oldgnu", "ustar", "posix", "v7"])
def test_what_gnu_tar_writes_is_read(kind: str, tmp_path: Path) -> None:
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/file").write_bytes(b"x" * 100_000)
    (tmp_path / "tree/link").symlink_to("sub/file")
    (tmp_path / "tree/hard").hardlink_to(tmp_path / "tree/sub/file")
    (tmp_path / "tree/empty").touch()
    raw = subprocess.run(
        ["tar", f"--format={kind}", "-C", tmp_path, "-c", "./tree"], capture_output=True, check=True, timeout=20
    ).stdout
    assert read(raw) == expected(raw)


@pytest.mark.process
@pytest.mark.parametrize("form", ["gnu", *(f"posix --sparse-version={version}" for version in ("0.0", "0.1", "1.0"))])
def test_sparse_files_are_read(form: str, tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        for number in range(40):  # more parts than fit into one header
            file.seek(number * 1_000_000)
            file.write(b"%d" % number * 3000)
        file.truncate(45_000_000)
    command = ["tar", *f"--format={form}".split(), "--sparse", "-C", tmp_path, "-c", "sparse"]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=20).stdout
    assert len(raw) < 5_000_000, "this file system has no sparse files"
    assert read(raw) == expected(raw)


@pytest.mark.process
def test_zeros_that_are_not_there_count(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**12)
    raw = subprocess.run(
        ["tar", "--format=gnu", "--sparse", "-C", tmp_path, "-c", "sparse"], capture_output=True, check=True, timeout=20
    ).stdout
    with pytest.raises(UpstreamBroken, match="pkg: it inflates to more than 1000000 bytes"):
        for member in members_of(io.BytesIO(raw), bounds(1_000_000)):
            for _ in member.chunks():
                pass


def test_contents_need_not_be_read() -> None:
    raw = packed(NAMES, tarfile.PAX_FORMAT)
    assert [m.path for m in members_of(io.BytesIO(raw), bounds())] == [str(found[0]) for found in expected(raw)]


@given(st.binary(max_size=3000), st.integers(0, 20_000), st.integers(0, 3))
def test_no_bytes_bring_it_down(noise: bytes, place: int, kind: int) -> None:
    raw = packed(NAMES[:4], (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)[kind % 2])
    spoiled = raw[:place] + noise + raw[place + len(noise) :] if kind < 2 else noise
    try:
        read(spoiled)
    except UpstreamBroken as error:
        assert error.message.startswith("pkg: ")


NAME = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=60)
PATH = st.lists(NAME.filter(lambda name: name not in (".", "..")), min_size=1, max_size=6).map("/".join)


@given(PATH, PATH, st.integers(0, 8**11 - 1), st.booleans(), st.integers(0, 2000))
def test_entries_are_read_as_they_were_meant(path: str, target: str, mtime: int, executable: bool, size: int) -> None:
    raw = b"".join(
        (
            ENTRIES.directories({""}),
            ENTRIES.file_header(path, size, mtime, executable=executable),
            b"x" * size,
            padding(size),
            ENTRIES.symlink("link", target, mtime),
            ENTRIES.hard_link("hard", path, mtime, executable=executable),
            END,
        )
    )
    with tarfile.open(fileobj=io.BytesIO(raw)) as whole:
        root, file, link, hard = whole
    assert (root.name, root.isdir(), root.mode) == ("opt/conda", True, 0o755)
    assert (file.name, file.size, file.mtime) == (f"opt/conda/{path}", size, mtime)
    assert file.mode == hard.mode == (0o755 if executable else 0o644)
    assert (link.issym(), link.linkname) == (True, target)
    assert (hard.islnk(), hard.linkname) == (True, f"opt/conda/{path}")


def test_sizes_beyond_eight_gigabytes_are_written() -> None:
    header = ENTRIES.file_header("big", 3 * 8**11, 0, executable=False)
    assert tarfile.TarFile(fileobj=io.BytesIO(header)).next().size == 3 * 8**11  # type: ignore[union-attr]


def test_contents_have_to_come_to_their_size(tmp_path: Path) -> None:
    with (
        LayerWriter(tmp_path / "layer", ENTRIES, [""]) as layer,
        pytest.raises(ValueError, match="contents of 3 bytes instead of 4"),
    ):
        layer.stream("x", 4, [b"abc"], 0, executable=False)
