"""Layers of wheels: what pip would install, in a blob that is the same every time."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.wheels import WheelFile, urlsafe_sha256
from wavelet.errors import UpstreamBroken
from wavelet.image.image import Content, Descriptor, MadeBy
from wavelet.image.reference import Digest
from wavelet.kinds.conda.link.layer_info import MEDIA_TYPE, LayerInfo
from wavelet.kinds.conda.model.node import WheelLayer
from wavelet.kinds.conda.model.packages import Wheel
from wavelet.kinds.conda.pip import wheel as maker
from wavelet.kinds.conda.pip.wheel_layer import write_layer

SITE = "lib/python3.11/site-packages"
PYTHON = "3.11"
MTIME = 1704164646
"""What the lab's wheels have, 2024-01-02 03:04:06 UTC."""

FULL = WheelFile(
    "Some_Tool", "1.2", "cp311-cp311-manylinux2014_x86_64", pure=False,
    files={
        "some_tool/__init__.py": b"def main(): print('ran')\n",
        "some_tool/native.so": bytes(range(256)) * 4000,
        "some_tool/empty.txt": b"",
        "some_tool/data/na\u00efve file.txt": "\u00fc".encode(),
        "some_tool/run.sh": b"#!/bin/sh\n",
        f"some_tool/{'deep/' * 30}long.py": b"x = 1\n",
        "some_tool/__pycache__/__init__.cpython-311.pyc": b"old",
        "Some_Tool-1.2.data/purelib/pure_part.py": b"p = 1\n",
        "Some_Tool-1.2.data/platlib/plat_part.py": b"p = 2\n",
        "Some_Tool-1.2.data/scripts/old-style": b"#!python -E\nprint('old')\n",
        "Some_Tool-1.2.data/scripts/shell": b"#!/bin/sh\necho shell\n",
        "Some_Tool-1.2.data/scripts/binary": b"\x7fELF" + bytes(300_000),
        "Some_Tool-1.2.data/scripts/some-tool": b"#!python\nprint('a wrapper that the entry point replaces')\n",
        "Some_Tool-1.2.data/data/share/doc/some.txt": b"doc\n",
        "Some_Tool-1.2.data/data/etc/some.conf": b"c\n",
        "Some_Tool-1.2.data/headers/some/tool.h": b"int x;\n",
        "Some_Tool-1.2.dist-info/INSTALLER": b"somebody\n",
        "Some_Tool-1.2.dist-info/licenses/LICENSE": b"free\n",
    },
    executable=frozenset(
        f"Some_Tool-1.2.data/scripts/{name}" for name in ("old-style", "shell", "binary", "some-tool")
    ) | {"some_tool/run.sh"},
    requires=("numpy>=1.20", "rich ; extra == 'cli'"),
    extra_metadata="License-Expression: MIT\nHome-page: https://example.org\n",
    entry_points="[console_scripts]\nsome-tool = some_tool:main\n"
    "[gui_scripts]\nsome-gui = some_tool.gui:App.run [cli]\n[other]\nx = y:z\n",
)  # fmt: skip


def layer_of(wheel: Path, blob: Path, limit: int = 10**9, site: str = SITE) -> LayerInfo:
    return write_layer(wheel, blob, wheel.name, PYTHON, site, limit)


def entries_of(blob: Path) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    found: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    with tarfile.open(blob, "r:gz") as archive:
        for member in archive:
            assert member.name not in found
            stream = archive.extractfile(member) if member.isfile() else None
            found[member.name] = (member, stream.read() if stream else b"")
    return found


def files_of(blob: Path) -> dict[str, tuple[bytes, int]]:
    """Return contents and modes of files by their paths in the prefix."""
    files = {path.removeprefix("opt/conda/"): entry for path, entry in entries_of(blob).items() if entry[0].isfile()}
    return {path: (data, member.mode) for path, (member, data) in files.items()}


def installed_by_pip(wheel: Path, prefix: Path) -> dict[str, tuple[bytes, int]]:
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--isolated",
        "--no-deps",
        "--no-compile",
        "--no-index",
        "--quiet",
    ]
    # Without the first of these, pip takes away what its own environment has of the same name.
    command += [
        "--ignore-installed",
        "--prefix",
        str(prefix),
        "--root-user-action",
        "ignore",
        "--disable-pip-version-check",
        str(wheel),
    ]
    subprocess.run(command, check=True, umask=0o022, timeout=50)
    files = {}
    for path in prefix.rglob("*"):
        if path.is_file():
            # pip names the directory of headers after the requirement that was typed, and has another one in a venv.
            name = (
                str(path.relative_to(prefix)).replace("include/site/", "include/").replace("/Some-Tool/", "/Some_Tool/")
            )
            files[name] = (path.read_bytes(), path.stat().st_mode & 0o7777)
    return files


@pytest.mark.process
def test_the_same_files_as_pip_installs(tmp_path: Path) -> None:
    wheel = FULL.write(tmp_path / "wheels")
    site = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    write_layer(wheel, tmp_path / "layer", wheel.name, python, site, 10**9)
    ours, theirs = files_of(tmp_path / "layer"), installed_by_pip(wheel, tmp_path / "prefix")
    own = ("/INSTALLER", "/RECORD", "/REQUESTED", "/direct_url.json")
    theirs = {path: value for path, value in theirs.items() if not path.endswith(own) and "__pycache__" not in path}
    assert {path for path in ours if not path.endswith(own)} == theirs.keys()
    for path, (data, mode) in theirs.items():
        assert ours[path][1] == mode, path
        if path in ("bin/some-tool", "bin/some-gui"):
            # The same script, but for quotes and the interpreter.
            assert ours[path][0].splitlines()[1:5] == data.splitlines()[1:5]
        elif path == "bin/old-style":
            assert ours[path][0].splitlines()[1:] == data.splitlines()[1:]
        else:
            assert ours[path][0] == data, path


def test_what_is_in_the_layer(tmp_path: Path) -> None:
    info = layer_of(FULL.write(tmp_path), tmp_path / "layer")
    entries = entries_of(tmp_path / "layer")
    files = files_of(tmp_path / "layer")
    assert files["bin/some-tool"][0].startswith(b"#!/opt/conda/bin/python\n")
    assert b"from some_tool import main" in files["bin/some-tool"][0]
    assert files["bin/old-style"] == (b"#!/opt/conda/bin/python\nprint('old')\n", 0o755)
    assert files["bin/shell"][0] == b"#!/bin/sh\necho shell\n"
    assert files[f"{SITE}/Some_Tool-1.2.dist-info/INSTALLER"][0] == b"wavelet\n"
    assert not [path for path in files if path.endswith((".pyc", "direct_url.json", "REQUESTED"))]
    assert set(info.files) == set(files)
    directories = {path for path, (member, _) in entries.items() if member.isdir()}
    assert directories == {f"opt/conda/{path}".rstrip("/") for path in info.directories}
    assert "" in info.directories
    for member, _ in entries.values():
        assert (member.uid, member.gid, member.uname) == (0, 0, "")
        assert member.isdir() or member.mtime == MTIME
    blob = (tmp_path / "layer").read_bytes()
    tar = gzip.decompress(blob)
    assert (info.kind, info.size) == ("wheel", len(blob))
    assert info.digest == f"sha256:{hashlib.sha256(blob).hexdigest()}"
    assert info.diff_id == f"sha256:{hashlib.sha256(tar).hexdigest()}"
    start, end = info.fragment.offset, info.fragment.offset + info.fragment.length
    assert len(gzip.decompress(blob[start:end])) == info.fragment.inflated
    assert info.index == {
        "name": "Some_Tool", "version": "1.2", "requires_dist": ["numpy>=1.20", "rich ; extra == 'cli'"],
    }  # fmt: skip
    assert info.about == {"license": "MIT", "home": "https://example.org"}
    assert LayerInfo.decode(info.encode()) == info


def test_the_record_is_of_what_was_installed(tmp_path: Path) -> None:
    layer_of(FULL.write(tmp_path), tmp_path / "layer")
    from installer.records import RecordEntry, parse_record_file

    files = files_of(tmp_path / "layer")
    record = f"{SITE}/Some_Tool-1.2.dist-info/RECORD"
    rows = list(parse_record_file(files[record][0].decode().splitlines()))
    found = {}
    for row in rows:
        path = os.path.normpath(f"{SITE}/{row[0]}")
        found[path] = RecordEntry.from_elements(*row)
    assert found.keys() == files.keys()
    assert len(rows) == len(files)
    for path, entry in found.items():
        assert (entry.hash_ is None) == (path == record)
        assert entry.validate(files[path][0])


@pytest.mark.process
def test_the_layer_is_a_function_of_the_wheel(tmp_path: Path) -> None:
    wheel = FULL.write(tmp_path)
    infos = []
    for number, zone in enumerate(("UTC", "Asia/Tokyo")):
        code = (
            "import sys; from pathlib import Path; from wavelet.kinds.conda.pip.wheel_layer import write_layer\n"
            f"info = write_layer(Path({str(wheel)!r}), Path({str(tmp_path / str(number))!r}), {wheel.name!r}, "
            f"{PYTHON!r}, {SITE!r}, 10**9)\nsys.stdout.buffer.write(info.encode())"
        )
        environment = {**os.environ, "TZ": zone, "PYTHONHASHSEED": str(number)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=True, timeout=50
        )
        infos.append(LayerInfo.decode(done.stdout))
    assert infos[0] == infos[1]
    os.utime(wheel, (1, 1))
    assert layer_of(wheel, tmp_path / "again") == infos[0]


def test_the_digest_of_the_tar(tmp_path: Path) -> None:
    info = layer_of(WheelFile("tool", files={"tool.py": b"x = 1\n"}).write(tmp_path), tmp_path / "layer")
    assert info.diff_id == "sha256:8acb38b37108ac9afcfc5f3b9b5ecf4b9e7b7c22886db8e5676fc5beb2ed77d9"


def test_a_python_with_another_directory(tmp_path: Path) -> None:
    info = layer_of(WheelFile("tool").write(tmp_path), tmp_path / "layer", site="lib/python3.13t/site-packages")
    assert "lib/python3.13t/site-packages/tool/__init__.py" in info.files


def test_times_before_1980_and_none(tmp_path: Path) -> None:
    wheel = WheelFile("tool", moment=(1980, 0, 0, 0, 0, 0)).write(tmp_path)
    layer_of(wheel, tmp_path / "layer")
    assert all(member.mtime >= 315532800 - 86400 for member, _ in entries_of(tmp_path / "layer").values())


def test_licences_of_older_metadata(tmp_path: Path) -> None:
    for number, (text, expected) in enumerate(
        (
            ("License: BSD-3-Clause\n", "BSD-3-Clause"),
            ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n", "MIT License"),
            ("License: A long\n  text of\n  a licence\nClassifier: License :: OSI Approved :: X\n", "X"),
            ("", None),
        )
    ):
        wheel = WheelFile("tool", f"{number}", extra_metadata=text).write(tmp_path)
        assert layer_of(wheel, tmp_path / f"layer{number}").about.get("license") == expected


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_other_digests_in_a_record(tmp_path: Path, algorithm: str) -> None:
    plain = WheelFile("tool")
    members = {path: data for path, data in plain.members().items() if not path.endswith("RECORD")}
    wheel = WheelFile("tool", record=record_of(members, algorithm)).write(tmp_path)
    layer_of(wheel, tmp_path / "layer")
    assert b"sha256=" in files_of(tmp_path / "layer")[f"{SITE}/tool-1.0.dist-info/RECORD"][0]


def record_of(members: dict[str, bytes], algorithm: str) -> bytes:
    import base64

    def digest(data: bytes) -> str:
        return base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()

    rows = "".join(f"{path},{algorithm}={digest(data)},{len(data)}\n" for path, data in members.items())
    return f"{rows}tool-1.0.dist-info/RECORD,,\n".encode()


def without(row: str) -> bytes:
    members = WheelFile("tool").members()
    record = members["tool-1.0.dist-info/RECORD"].decode()
    return "".join(line for line in record.splitlines(keepends=True) if not line.startswith(row)).encode()


def altered(change: Callable[[str], str]) -> bytes:
    return change(WheelFile("tool").members()["tool-1.0.dist-info/RECORD"].decode()).encode()


@pytest.mark.parametrize(
    ("wheel", "why"),
    [
        (WheelFile("tool", record=without("tool/")), "does not have tool/__init__"),
        (WheelFile("tool", record=altered(lambda text: text.replace("sha256=", "md5=", 1))), "no usable digest"),
        (WheelFile("tool", record=altered(lambda text: text.replace("sha256=", "sha256=A", 1))), "digest|not what"),
        (WheelFile("tool", record=altered(lambda text: text.replace(",6\n", ",7\n", 1))), "not what its RECORD says"),
        (WheelFile("tool", record=b"x"), "expected 3 elements"),
        (WheelFile("tool", record=b"\xff\xfe"), "utf-8"),
        (WheelFile("tool", files={"../evil.py": b""}), "not a path that may be installed"),
        (WheelFile("tool", files={"/etc/evil": b""}), "."),
        (WheelFile("tool", files={"a/./b": b""}), "not a path"),
        (WheelFile("tool", files={"tool-1.0.data/scripts/../../x": b""}), "not a path"),
        (WheelFile("tool", files={"tool-1.0.data/data/../x": b""}), "not a path"),
        (WheelFile("tool", files={"tool-1.0.data/data/conda-meta/x.json": b""}), "conda keeps its own records"),
        (WheelFile("tool", files={"tool-1.0.data/elsewhere/x": b""}), "not contained in a valid .data"),
        (WheelFile("tool", files={"tool/.wh.x": b""}), "not a path"),
        (WheelFile("tool", files={"a": b"", "a/b": b""}), "a is a file, and has files in it"),
        (WheelFile("tool", files={"a.py": b"", "tool-1.0.data/purelib/a.py": b""}), "two files for"),
        (WheelFile("tool", entry_points="[console_scripts]\n../x = a:b\n"), "not a script's name"),
        (WheelFile("tool", entry_points="[console_scripts]\n.. = a:b\n"), "not a path"),
        (WheelFile("tool", entry_points="[console_scripts]\nx = import os;\n"), "."),
        (WheelFile("tool", entry_points="x\n"), "."),
        (WheelFile("tool", files={"other-1.0.dist-info/METADATA": b""}), "exactly one"),
    ],
)
def test_wheels_that_are_refused(tmp_path: Path, wheel: WheelFile, why: str) -> None:
    path = wheel.write(tmp_path)
    with pytest.raises(UpstreamBroken, match=why) as refused:
        layer_of(path, tmp_path / "layer")
    assert path.name in refused.value.message


NESTED = "Content-Type: message/rfc822\n\n" * 3000


class NestedWheel(WheelFile):
    """A wheel whose WHEEL is a message in a message, and so on."""

    def members(self) -> dict[str, bytes]:
        members = super().members()
        path, record = f"{self.dist_info}/WHEEL", f"{self.dist_info}/RECORD"
        members[path] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n" + NESTED.encode()
        lines = members[record].decode().splitlines(keepends=True)
        own = f"{path},sha256={urlsafe_sha256(members[path])},{len(members[path])}\n"
        members[record] = "".join(own if line.startswith(f"{path},") else line for line in lines).encode()
        return members


def test_a_message_in_a_message_without_an_end(tmp_path: Path) -> None:
    """Fault G1: the parser of messages recurses over what METADATA and WHEEL say."""
    path = WheelFile("tool", extra_metadata=NESTED).write(tmp_path)
    assert layer_of(path, tmp_path / "layer")
    path = NestedWheel("tool").write(tmp_path / "nested")
    with pytest.raises(UpstreamBroken, match="the package index has to replace the wheel"):
        layer_of(path, tmp_path / "other")


def test_a_wheel_under_another_name(tmp_path: Path) -> None:
    path = WheelFile("tool").write(tmp_path).rename(tmp_path / "other-1.0-py3-none-any.whl")
    with pytest.raises(UpstreamBroken, match="is not of other"):
        layer_of(path, tmp_path / "layer")


def test_a_wheel_that_inflates_to_too_much(tmp_path: Path) -> None:
    path = WheelFile("tool", files={"zeros": bytes(10_000_000)}).write(tmp_path)
    with pytest.raises(UpstreamBroken, match="inflates to more than 1000000 bytes"):
        layer_of(path, tmp_path / "layer", limit=1_000_000)


def test_a_member_twice(tmp_path: Path) -> None:
    path = WheelFile("tool").write(tmp_path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("tool/__init__.py", b"y = 2\n")
    with pytest.raises(UpstreamBroken, match="members of one name"):
        layer_of(path, tmp_path / "layer")


def test_damaged_wheels_are_errors_and_nothing_worse(tmp_path: Path) -> None:
    good = FULL.write(tmp_path)
    data = good.read_bytes()
    expected = layer_of(good, tmp_path / "good")
    chance = random.Random(7)
    refused = 0
    for number in range(150):
        damaged = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        if number % 5 == 0:
            del damaged[chance.randrange(len(damaged)) :]
        path = tmp_path / f"{number}" / good.name
        path.parent.mkdir()
        path.write_bytes(damaged)
        try:
            info = layer_of(path, path.parent / "layer")
        except UpstreamBroken:
            refused += 1
        else:
            # Only what no digest covers may differ: times, modes, the archive's own fields.
            assert set(info.files) <= set(expected.files)
    assert refused > 100


@pytest.mark.process
def test_memory_does_not_grow_with_the_wheel(tmp_path: Path) -> None:
    path = WheelFile(
        "tool", files={"tool/big.bin": bytes(150_000_000), "tool-1.0.data/scripts/big": b"\x7fELF" + bytes(150_000_000)}
    ).write(tmp_path)
    code = (
        "import resource; from pathlib import Path; from wavelet.kinds.conda.pip.wheel_layer import write_layer\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"write_layer(Path({str(path)!r}), Path({str(tmp_path / 'layer')!r}), {path.name!r}, {PYTHON!r}, {SITE!r}, "
        "10**9)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=50)
    assert int(done.stdout) < 80_000


class LabWork:
    """What of `Work` the maker uses."""

    key = "key"

    def __init__(self, directory: Path, archive: Path) -> None:
        self.directory = directory
        self.file = archive
        self.asked: list[tuple[str, Digest, int | None]] = []
        self.kept: dict[Digest, bytes] = {}
        self.lines: list[str] = []
        self.room = 0

    async def archive(self, location: str, digest: Digest, size: int | None) -> Path:
        self.asked.append((location, digest, size))
        return self.file

    @asynccontextmanager
    async def scratch(self, size: int) -> AsyncIterator[Path]:
        self.room = size
        self.directory.mkdir()
        yield self.directory

    async def run(self, function: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.to_thread(function, *arguments)

    async def adopt(self, file: Path, descriptor: Descriptor, *, derived: bool = False) -> Content:
        self.kept[descriptor.digest] = file.read_bytes()
        return Content(descriptor, MadeBy(self.key))

    async def keep(self, data: bytes, media_type: str) -> Content:
        descriptor = Descriptor(media_type, Digest.of(data, "sha256"), len(data))
        self.kept[descriptor.digest] = data
        return Content(descriptor, MadeBy(self.key))

    def report(self, line: str) -> None:
        self.lines.append(line)


async def test_the_maker(tmp_path: Path) -> None:
    path = WheelFile("torch", "2.0+cu118").write(tmp_path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    wheel = Wheel("https://example.org/torch-2.0%2Bcu118-py3-none-any.whl", sha256, path.stat().st_size)
    stored = path.rename(tmp_path / "stored-under-its-digest")
    work = LabWork(tmp_path / "scratch", stored)
    image = await maker.make(WheelLayer(wheel, PYTHON, SITE), work)  # type: ignore[arg-type]
    assert work.asked == [(wheel.url, Digest.parse(f"sha256:{sha256}"), wheel.size)]
    assert image.descriptor.media_type == MEDIA_TYPE
    info = LayerInfo.decode(work.kept[image.descriptor.digest])
    assert info.index["version"] == "2.0+cu118"
    assert [content.descriptor for content in image.contents] == [image.descriptor, info.descriptor]
    assert Digest.of(work.kept[info.descriptor.digest], "sha256") == info.descriptor.digest
    assert work.lines[0].startswith("torch-2.0+cu118-py3-none-any.whl: ")
