"""Which C library a base image has: told from its layers, whatever their compression, with what upper layers remove."""

from __future__ import annotations

import ctypes
import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import zstandard
from memory_work import Everything

from lab import images
from wavelet.errors import UpstreamBroken
from wavelet.kinds.conda.model.node import LibcOf
from wavelet.kinds.conda.model.packages import Libc
from wavelet.kinds.conda.solve import base_libc as maker
from wavelet.kinds.conda.solve import libc_scan
from wavelet.kinds.conda.solve.libc_scan import Seen, look

DEBIAN = "usr/lib/x86_64-linux-gnu/libc.so.6"
NOTHING = Seen()


def banner(version: str, name: str = "Debian GLIBC 2.36-9+deb12u4") -> bytes:
    """Return a library that says its version somewhere in its middle."""
    text = f"GNU C Library ({name}) stable release version {version}.\n".encode()
    return b"\x7fELF" + bytes(3_000_000) + text + bytes(100_000)


def tar_of(files: Mapping[str, bytes | str]) -> bytes:
    """Return a tar; a text is the target of a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def layer(path: Path, files: Mapping[str, bytes | str]) -> Path:
    path.write_bytes(tar_of(files))
    return path


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress], ids=["tar", "gzip", "zstd"]
)
def test_a_library_says_its_version(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "layer"
    path.write_bytes(pack(tar_of({"usr/bin/a": b"a", DEBIAN: banner("2.36"), "usr/z": b"z"})))
    assert look(path, "it", "x86_64", NOTHING).glibc == "2.36"


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"lib/x86_64-linux-gnu/libc.so.6": "libc-2.31.so"}, "2.31"),
        ({"lib/x86_64-linux-gnu/libc-2.31.so": b"stripped"}, "2.31"),
        ({"lib64/ld-2.17.so": b""}, "2.17"),
        ({"usr/lib64/libc.so.6": banner("2.34", "GNU libc")}, "2.34"),
        ({"./usr/lib/libc.so.6": banner("2.41", "GNU libc")}, "2.41"),
        ({"/lib/libc.so.6": banner("2.36")}, "2.36"),
        ({DEBIAN: b"no word of it"}, ""),
        ({DEBIAN: "../elsewhere/libc.so.6"}, ""),
        ({"usr/lib/i386-linux-gnu/libc.so.6": banner("2.36")}, ""),
        ({"usr/lib/aarch64-linux-gnu/libc.so.6": banner("2.36")}, ""),
        ({"usr/lib32/libc.so.6": banner("2.36")}, ""),
        ({"opt/conda/x86_64-conda-linux-gnu/sysroot/lib64/libc.so.6": banner("2.17")}, ""),
        ({"opt/conda/lib/libc.so.6": banner("2.17")}, ""),
    ],
)
def test_where_it_is_looked_for(tmp_path: Path, files: dict[str, bytes | str], version: str) -> None:
    assert look(layer(tmp_path / "layer", files), "it", "x86_64", NOTHING).glibc == version


def test_this_machines_own_library(tmp_path: Path) -> None:
    libc = ctypes.CDLL("libc.so.6")
    libc.gnu_get_libc_version.restype = ctypes.c_char_p
    path = next(path for path in map(Path, (f"/{DEBIAN}", "/lib64/libc.so.6", "/lib/libc.so.6")) if path.exists())
    files = {DEBIAN: path.resolve().read_bytes()}
    found = look(layer(tmp_path / "layer", files), "it", "x86_64", NOTHING)
    assert found.glibc == libc.gnu_get_libc_version().decode()


def test_a_version_across_chunks() -> None:
    library = banner("2.36")[2_999_900:]
    for size in (40, 64, 100):
        chunks = (library[start : start + size] for start in range(0, len(library), size))
        assert libc_scan._banner_version(chunks) == "2.36"


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("name")
    header.type, header.size = tarfile.XHDTYPE, 2 * 1024**3
    (tmp_path / "layer").write_bytes(header.tobuf() + bytes(10_000))
    with pytest.raises(UpstreamBroken, match="cannot be read"):
        look(tmp_path / "layer", "it", "x86_64", NOTHING)


def test_musl_is_known_by_its_loader(tmp_path: Path) -> None:
    seen = look(layer(tmp_path / "layer", {"lib/ld-musl-x86_64.so.1": b""}), "it", "x86_64", NOTHING)
    assert (seen.glibc, seen.musl) == ("", True)
    other = look(layer(tmp_path / "layer", {"lib/ld-musl-aarch64.so.1": b""}), "it", "x86_64", NOTHING)
    assert not other.musl


@pytest.mark.parametrize(
    "whiteout",
    [
        "usr/lib/x86_64-linux-gnu/.wh.libc.so.6",
        "usr/lib/.wh.x86_64-linux-gnu",
        ".wh.usr",
        "usr/lib/x86_64-linux-gnu/.wh..wh..opq",
        "usr/lib/.wh..wh..opq",
        ".wh..wh..opq",
    ],
)
def test_what_an_upper_layer_removes_is_gone(tmp_path: Path, whiteout: str) -> None:
    above = look(layer(tmp_path / "above", {whiteout: b""}), "above", "x86_64", NOTHING)
    below = layer(tmp_path / "below", {DEBIAN: banner("2.36")})
    assert look(below, "below", "x86_64", above) == Seen("", False, above.removed, above.opaque)
    assert look(below, "below", "x86_64", NOTHING).glibc == "2.36"


def test_an_opaque_directory_has_its_own_layers_files(tmp_path: Path) -> None:
    files = {"usr/lib/x86_64-linux-gnu/.wh..wh..opq": b"", DEBIAN: banner("2.39")}
    assert look(layer(tmp_path / "layer", files), "it", "x86_64", NOTHING).glibc == "2.39"


@pytest.mark.parametrize(
    "data",
    [b"not a tar at all" * 100, gzip.compress(bytes(5000), mtime=0)[:-20], b"\x1f\x8bnonsense"],
    ids=["text", "cut off", "nonsense"],
)
def test_what_is_no_layer(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "layer").write_bytes(data)
    with pytest.raises(UpstreamBroken, match="the layer sha256:0 of the base image cannot be read"):
        look(tmp_path / "layer", "sha256:0", "", NOTHING)


def test_a_layer_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libc_scan, "INFLATED_LIMIT", 1_000_000)
    (tmp_path / "layer").write_bytes(gzip.compress(tar_of({"large": bytes(5_000_000)})))
    with pytest.raises(UpstreamBroken, match="inflates to more than"):
        look(tmp_path / "layer", "it", "", NOTHING)


@pytest.mark.parametrize(
    ("layers", "libc"),
    [
        ([{DEBIAN: banner("2.36")}, {"a": b"a"}], Libc("glibc", "2.36")),
        ([{DEBIAN: banner("2.36")}, {DEBIAN: banner("2.39")}], Libc("glibc", "2.39")),
        ([{"lib/ld-musl-x86_64.so.1": b""}], Libc("musl")),
        ([{DEBIAN: banner("2.36")}, {"lib/ld-musl-x86_64.so.1": b""}], Libc("glibc", "2.36")),
        ([{DEBIAN: banner("2.36")}, {"usr/.wh.lib": b""}], Libc()),
        ([{"bin/tool": b"static"}], Libc()),
    ],
)
async def test_an_image_is_looked_through_from_the_top(
    tmp_path: Path, layers: list[dict[str, bytes]], libc: Libc
) -> None:
    everything = Everything(tmp_path / "all", {LibcOf: maker.make})
    base = everything.base(images.image([images.layer(files) for files in layers]))
    made = await everything.realise(LibcOf(base))
    assert made.descriptor.media_type == maker.MEDIA_TYPE
    assert [content.descriptor for content in made.contents] == [made.descriptor]
    data = everything.file(made.contents[0]).read_bytes()
    assert Libc.decode(data) == libc
    assert Libc("glibc", "2.36").encode() == b'{"libc":"glibc","version":"2.36"}'
