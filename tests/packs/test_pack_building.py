"""Layers of packs: the same bytes whoever has unpacked their sources, and nothing in them that packs may not have."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from wavelet.packs.building import BuiltLayer, Fetched, build, version_of
from wavelet.packs.model import PackRefused
from wavelet.packs.reading import read_pack
from wavelet.packs.spec import PackSpec

PLACE = "packs/x/pack.yaml"
IMAGE = f"layers: [{{image: 'x.example/y@sha256:{'0' * 64}'}}]"


def spec_of(document: str) -> PackSpec:
    return read_pack(document, PLACE, "x")


def built(root: Path, document: str, *fetched: Fetched, into: Path | None = None) -> list[BuiltLayer]:
    into = into or root.parent / "built"
    into.mkdir(exist_ok=True)
    return build(root, spec_of(document), {0: fetched}, into)


def members(layer: BuiltLayer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(layer.file) as tar:
        return {member.name: member for member in tar.getmembers()}


def content(layer: BuiltLayer, name: str) -> bytes:
    with tarfile.open(layer.file) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def tar_of(*entries: tuple[str, bytes | None, dict[str, object]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data, fields in entries:
            member = tarfile.TarInfo(name)
            member.size = len(data or b"")
            for field, value in fields.items():
                setattr(member, field, value)
            tar.addfile(member, io.BytesIO(data or b""))
    return buffer.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "x"
    (root / "files/usr/bin").mkdir(parents=True)
    (root / "files/etc").mkdir()
    (root / "files/empty").mkdir()
    (root / "files/usr/bin/tool").write_text("#!/bin/sh\n")
    (root / "files/usr/bin/tool").chmod(0o755)
    (root / "files/etc/näme").write_text("text")
    (root / "files/etc/link").symlink_to("../../../etc/passwd")
    return root


def test_a_directory_is_the_same_whoever_has_unpacked_it(root: Path, tmp_path: Path) -> None:
    (first,) = built(root, "layers: [{directory: files}]")
    for directory, _, files in os.walk(root):
        Path(directory).chmod(0o700)
        for file in files:
            path = Path(directory, file)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o700)
                os.utime(path, (1, 1))
    other = tmp_path / "other"
    other.mkdir()
    (second,) = built(root, "layers: [{directory: files}]", into=other)
    assert first.file.read_bytes() == second.file.read_bytes()
    found = members(first)
    assert list(found) == ["empty", "etc/link", "etc/näme", "usr/bin/tool"]
    assert {name: (m.mode, m.mtime, m.uid, m.gid) for name, m in found.items()} == {
        "empty": (0o755, 0, 0, 0),
        "etc/link": (0o777, 0, 0, 0),
        "etc/näme": (0o644, 0, 0, 0),
        "usr/bin/tool": (0o755, 0, 0, 0),
    }
    assert found["etc/link"].linkname == "../../../etc/passwd"
    assert first.paths == {"etc/link", "etc/näme", "usr/bin/tool"}


@pytest.mark.process
def test_a_directory_is_the_same_in_every_locale(root: Path, tmp_path: Path) -> None:
    (root / "files/etc/lïnk").symlink_to("näme")
    (layer,) = built(root, "layers: [{directory: files}]")
    program = (
        "import sys; from pathlib import Path; from wavelet.packs.building import build\n"
        "from wavelet.packs.reading import read_pack\n"
        "spec = read_pack('layers: [{directory: files}]', 'p', 'x')\n"
        "print(build(Path(sys.argv[1]), spec, {}, Path(sys.argv[2]))[0].digest)"
    )
    (tmp_path / "elsewhere").mkdir()
    plain = os.environ | {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", program, str(root), str(tmp_path / "elsewhere")]
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=True, umask=0o077)
    assert done.stdout.strip() == layer.digest


def test_bytes_and_digests_are_for_ever(root: Path) -> None:
    """Names hold these digests: a change of them is a new `VERSION`, and a note in the changes."""
    (layer,) = built(root, "layers: [{directory: files, to: /opt}]")
    data = layer.file.read_bytes()
    assert layer.digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert layer.diff_id == "sha256:" + hashlib.sha256(gzip.decompress(data)).hexdigest()
    assert layer.size == len(data)
    assert layer.digest == "sha256:04b87e7c03a0815dfd9f081ffc32d1a0dfc1af3974cea57b9ff39b7fd6d5caf3"


def test_files_take_their_place_and_mode(root: Path) -> None:
    (layer,) = built(
        root,
        "layers: [{files: {/usr/bin/b: files/etc/näme, /a: files/usr/bin/tool}, mode: '0555', architecture: arm64}]",
    )
    assert {name: m.mode for name, m in members(layer).items()} == {"a": 0o555, "usr/bin/b": 0o555}
    assert content(layer, "usr/bin/b") == b"text"
    assert layer.architecture == "arm64"


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_tars_keep_modes_and_times(root: Path, compress: Callable[[bytes], bytes]) -> None:
    tar = tar_of(
        ("./dir", None, {"type": tarfile.DIRTYPE, "mode": 0o1777, "mtime": 7}),
        ("./dir/a", b"A", {"mode": 0o640, "mtime": 5, "uid": 1000, "uname": "somebody"}),
        ("dir/hard", None, {"type": tarfile.LNKTYPE, "linkname": "./dir/a", "mode": 0o640, "mtime": 5}),
        ("soft", None, {"type": tarfile.SYMTYPE, "linkname": "/etc/" + "x" * 200}),
        ("./dir", None, {"type": tarfile.DIRTYPE, "mode": 0o755}),
    )
    (root / "layer.tar").write_bytes(compress(tar))
    (layer,) = built(root, "layers: [{tar: layer.tar}]")
    found = members(layer)
    assert {name: (m.mode, m.mtime, m.uid, m.uname) for name, m in found.items()} == {
        "dir": (0o1777, 7, 0, ""),
        "dir/a": (0o640, 5, 0, ""),
        "dir/hard": (0o640, 5, 0, ""),
        "soft": (0o777, 0, 0, ""),
    }
    assert found["dir/hard"].linkname == "dir/a"
    assert found["soft"].linkname == "/etc/" + "x" * 200


def test_what_was_fetched_is_read_as_tars_are(root: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(gzip.compress(tar_of((name, b"", {}))))
    layers = built(root, IMAGE, Fetched(tmp_path / "a", "amd64"), Fetched(tmp_path / "b", "arm64"))
    assert [(layer.architecture, layer.paths) for layer in layers] == [("amd64", {"a"}), ("arm64", {"b"})]


def test_a_layer_of_an_image_may_be_empty(root: Path, tmp_path: Path) -> None:
    """Builders have such layers for steps that have changed nothing."""
    for name, tar in (("empty", bytes(1024)), ("full", tar_of(("a", b"", {})))):
        (tmp_path / name).write_bytes(gzip.compress(tar))
    fetched = [Fetched(tmp_path / name, "amd64") for name in ("empty", "full")]
    assert [layer.paths for layer in built(root, IMAGE, *fetched)] == [set(), {"a"}]
    digest = "sha256:" + "0" * 64
    with pytest.raises(PackRefused, match="is not a tar, or has nothing in it"):
        built(root, f"layers: [{{url: 'http://x.example/y', digest: '{digest}'}}]", *fetched)


def test_a_directory_may_come_after_what_is_in_it(root: Path) -> None:
    (root / "t").write_bytes(tar_of(("a/b/c", b"", {}), ("a", None, {"type": tarfile.DIRTYPE, "mode": 0o1777})))
    (layer,) = built(root, "layers: [{tar: t}]")
    assert {name: each.mode & 0o7777 for name, each in members(layer).items()} == {"a/b/c": 0o644, "a": 0o1777}


def test_setuid_where_it_is_allowed(root: Path) -> None:
    (root / "files/usr/bin/tool").chmod(0o4755)
    tar = tar_of(("cap", b"x", {"pax_headers": {"SCHILY.xattr.security.capability": "\x01\x00\x00\x02"}}))
    (root / "t").write_bytes(tar)
    first, second = built(root, "{layers: [{directory: files}, {tar: t}], allow: [setuid]}")
    assert members(first)["usr/bin/tool"].mode == 0o4755
    assert members(second)["cap"].pax_headers["SCHILY.xattr.security.capability"] == "\x01\x00\x00\x02"


def fifo(root: Path) -> None:
    os.mkfifo(root / "files/pipe")


def unix_socket(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(root / "files/socket"))


def whiteout(root: Path) -> None:
    (root / "files/.wh.etc").write_text("")


def setgid(root: Path) -> None:
    (root / "files/usr/bin/tool").chmod(0o2755)


def not_utf8(root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root / "files") + b"/\xff")).write_text("")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (fifo, "layers[0]: /pipe is a named pipe, which packs may not have"),
        (unix_socket, "layers[0]: /socket is a socket"),
        (whiteout, "layers[0]: /.wh.etc has a name that begins with .wh."),
        (setgid, "layers[0]: /usr/bin/tool is setuid or setgid"),
        (not_utf8, "layers[0]: /? is not UTF-8"),
    ],
)
def test_refused_in_directories(root: Path, make: Callable[[Path], None], sentence: str) -> None:
    make(root)
    with pytest.raises(PackRefused, match="^" + PLACE) as refused:
        built(root, "layers: [{directory: files}]")
    assert refused.value.message.startswith(f"{PLACE}: {sentence}"), refused.value.message


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (("dev/null", None, {"type": tarfile.CHRTYPE}), "/dev/null is a device, which packs may not have"),
        (("disk", None, {"type": tarfile.BLKTYPE}), "/disk is a device"),
        (("pipe", None, {"type": tarfile.FIFOTYPE}), "/pipe is a named pipe"),
        (("a/../../b", b"", {}), "/a/../../b has `..` in it"),
        (("a/.wh..wh..opq", b"", {}), "/a/.wh..wh..opq has a name that begins with .wh."),
        (("su", b"", {"mode": 0o4755}), "/su is setuid or setgid"),
        (("cap", b"", {"pax_headers": {"SCHILY.xattr.security.capability": "x"}}), "/cap gives capabilities"),
        (("first", b"", {}), "/first is there twice"),
        (("first/second", b"", {}), "/first/second lies below /first, which is no directory"),
        (("last", b"", {}), "/last is no directory, and there is something below it"),
        (("last", None, {"type": tarfile.SYMTYPE, "linkname": "/etc"}), "/last is no directory, and there is"),
        (("x", b"", {"pax_headers": {"path": "etc/passwd\0x"}}), "a PAX record is wrong"),
        (("x", None, {"type": tarfile.SYMTYPE, "pax_headers": {"linkpath": "a\0x"}}), "a PAX record is wrong"),
        (("hard", None, {"type": tarfile.LNKTYPE, "linkname": "etc/shadow"}), "/hard is a hard link to /etc/shadow"),
        (("x" * 300, b"", {}), f"/{'x' * 200} has a name of more than 255 bytes"),
    ],
    ids=lambda value: value[0][:20] if isinstance(value, tuple) else "",
)
def test_refused_in_tars(root: Path, entry: tuple[str, bytes | None, dict[str, object]], sentence: str) -> None:
    (root / "t").write_bytes(tar_of(("first", b"", {}), ("last/file", b"", {}), entry))
    with pytest.raises(PackRefused) as refused:
        built(root, "layers: [{tar: t}]")
    assert sentence in refused.value.message
    assert refused.value.message.startswith(f"{PLACE}: layers[0].tar: ") or "layers[0]: " in refused.value.message


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("layers: [{directory: nothing}]", "layers[0].directory: there is no 'nothing' in the pack"),
        ("layers: [{directory: files/etc/näme}]", "layers[0].directory: 'files/etc/näme' is not a directory"),
        ("layers: [{files: {/a: files}}]", "layers[0]: /a: 'files' is a directory in the pack"),
        ("layers: [{files: {/a: out}}]", "layers[0]: /a: 'out' leads out of the directory of the pack"),
        ("layers: [{files: {/a: loop}}]", "layers[0]: /a: there is no 'loop' in the pack"),
        ("layers: [{tar: files}]", "layers[0].tar: 'files' is not a file"),
        ("layers: [{tar: files/usr/bin/tool}]", "layers[0].tar: "),
        ("layers: [{tar: cut}]", "layers[0].tar: the archive is damaged"),
        ("certificates: [no.pem]", "certificates: there is no 'no.pem' in the pack"),
    ],
)
def test_refused_sources(root: Path, document: str, sentence: str) -> None:
    (root / "out").symlink_to("/etc/passwd")
    (root / "loop").symlink_to("loop")
    (root / "cut").write_bytes(gzip.compress(tar_of(("a", b"x" * 4000, {})))[:-40])
    with pytest.raises(PackRefused) as refused:
        built(root, document)
    assert refused.value.message.startswith(f"{PLACE}: {sentence}"), refused.value.message


def test_too_large_is_refused(root: Path) -> None:
    into = root.parent / "built"
    into.mkdir()
    with pytest.raises(PackRefused, match=r"layers\[0\]: more than 100 bytes, compressed"):
        build(root, spec_of("layers: [{directory: files}]"), {}, into, room=100)


def test_a_version_tells_what_was_built(root: Path) -> None:
    spec = spec_of("layers: [{directory: files}]")
    layers = built(root, "layers: [{directory: files}]")
    version = version_of(spec, layers)
    assert version == version_of(spec, layers)
    assert version != version_of(spec_of("{layers: [{directory: files}], env: {A: b}}"), layers)
    (root / "files/etc/näme").write_text("other")
    assert version != version_of(spec, built(root, "layers: [{directory: files}]"))


@pytest.mark.process
def test_unpacked_by_tar(root: Path, tmp_path: Path) -> None:
    """GNU tar reads it without a warning."""
    (layer,) = built(root, "layers: [{directory: files}]")
    target = tmp_path / "unpacked"
    target.mkdir()
    done = subprocess.run(
        ["tar", "-xzf", layer.file, "-C", target, "--warning=no-timestamp"], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert (target / "etc/näme").read_text() == "text"
    assert os.access(target / "usr/bin/tool", os.X_OK)
