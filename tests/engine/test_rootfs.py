"""The engine without an engine: layers unpacked safely, and namespaces that keep what runs in them in."""

from __future__ import annotations

import gzip
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from lab.processes import wait_for
from lab.task_image import task_layer
from lab.users import User
from wavelet.directory_trees import remove
from wavelet.engine import enter as engine_enter
from wavelet.engine.architecture import own_platform
from wavelet.engine.console import first_process
from wavelet.engine.limits import Limits
from wavelet.engine.namespace import NamespaceEngine
from wavelet.engine.overlay import OverlayTree
from wavelet.engine.rootfs import add_engine_places, inflated, unpack, unpack_part
from wavelet.engine.tree import DirectoryTree, Tree
from wavelet.errors import EngineFailed, UpstreamBroken
from wavelet.kinds.conda.postlink.programs import sandbox_task

pytestmark = pytest.mark.process

IMAGE = "the image"
LINK, HARD, DIRECTORY = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


def layer(directory: Path, *members: Any, packed: str = "gzip") -> Path:
    """Write a layer of `(path, contents)`, `(path, kind, target)`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, *rest in members:
            info = tarfile.TarInfo(path)
            if len(rest) == 2:
                info.type, info.linkname = rest
                tar.addfile(info)
            else:
                info.size = len(rest[0])
                tar.addfile(info, io.BytesIO(rest[0]))
    pack: dict[str, Any] = {"gzip": gzip.compress, "zstd": zstandard.compress, "none": bytes}
    data = pack[packed](out.getvalue())
    path = directory / f"layer-{len(list(directory.iterdir()))}"
    path.write_bytes(data)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.mark.parametrize("packed", ["gzip", "zstd", "none"])
def test_layers_are_applied_one_after_the_other(tmp_path: Path, root: Path, packed: str) -> None:
    lower = layer(
        tmp_path, ("a/one", b"1"), ("a/two", b"2"), ("b/three", b"3"), ("b/four", b"4"), ("usr/bin/x", b"x"),
        ("bin", LINK, "usr/bin"), ("c", b"file"), ("d/e", b"e"), ("same", HARD, "a/one"), packed=packed,
    )  # fmt: skip
    upper = layer(
        tmp_path, ("a/.wh.one", b""), ("b/new", b"n"), ("b/.wh..wh..opq", b""), ("bin/y", b"y"), ("c/now", b"d"),
        ("d", b"file"), ("gone/", DIRECTORY, ""), packed=packed,
    )  # fmt: skip
    unpack([lower, upper], root, None, IMAGE)
    found = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and not p.is_symlink()}
    own = {f"dev/{name}" for name in ("full", "null", "random", "urandom", "zero")}
    assert found - own == {"a/two", "b/new", "usr/bin/x", "usr/bin/y", "c/now", "d", "same"}
    assert (root / "bin").is_symlink() and (root / "tmp").is_dir() and (root / ".wavelet/tmp").is_dir()
    assert inflated([lower, upper], IMAGE) >= 20 * 512


def test_nothing_is_written_outside(tmp_path: Path, root: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    members = [
        ("absolute", LINK, str(outside)),
        ("absolute/one", b"1"),
        ("relative", LINK, "../outside"),
        ("relative/two", b"2"),
        ("up/../../outside/three", b"3"),
        ("/rooted", b"4"),
        ("dev", LINK, str(outside)),
        (".wavelet", LINK, str(outside)),
        ("relative/.wh.kept", b""),
        ("fifo", tarfile.FIFOTYPE, ""),
        ("device", tarfile.CHRTYPE, ""),
    ]
    unpack([layer(tmp_path, *members)], root, None, IMAGE)
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (root / str(outside).lstrip("/") / "one").read_text() == "1"
    assert (root / "outside/two").read_text() == "2"
    assert not (root / ".wavelet").is_symlink()
    assert (root / "rooted").exists() and not (root / "fifo").exists() and not (root / "device").exists()


@pytest.mark.parametrize(
    "members",
    [
        [("..", b"")],
        [("a/..", LINK, "x")],
        [("loop", LINK, "loop"), ("loop/x", b"")],
        [("hard", HARD, "../../../../etc/passwd")],
        [("link", LINK, "/etc/passwd"), ("hard", HARD, "link")],
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, root: Path, members: list[tuple[str, bytes]]) -> None:
    with pytest.raises(UpstreamBroken, match="cannot be unpacked"):
        unpack([layer(tmp_path, *members)], root, None, IMAGE)


def test_a_damaged_layer_is_refused(tmp_path: Path, root: Path) -> None:
    blob = layer(tmp_path, ("a", os.urandom(100_000)))
    blob.write_bytes(blob.read_bytes()[:50_000])
    with pytest.raises(UpstreamBroken, match="cannot be unpacked"):
        unpack([blob], root, None, IMAGE)
    with pytest.raises(UpstreamBroken, match="cannot be unpacked"):
        inflated([blob], IMAGE)


def test_a_path_that_is_too_deep_is_refused(tmp_path: Path, root: Path) -> None:
    """Fault G1: a base image with a path 1,200 directories deep."""
    for path in ("d/" * 1200 + "file", "d/" * 300):
        with pytest.raises(UpstreamBroken, match="a path is more than 256 directories deep"):
            unpack([layer(tmp_path, (path, b"x"))], root, None, IMAGE)
    unpack([layer(tmp_path, ("e/" * 250 + "file", b"x"))], root, None, IMAGE)


def test_headers_without_an_end_are_refused(tmp_path: Path, root: Path) -> None:
    """Fault G1: `tarfile` recurses where a header belongs to a header."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 5
    one = info.tobuf(tarfile.GNU_FORMAT) + b"name\0".ljust(512, b"\0")
    blob = tmp_path / "layer"
    for headers in (1000, 100_000):
        blob.write_bytes(gzip.compress(one * headers + bytes(1024), 1))
        with pytest.raises(UpstreamBroken, match="cannot be unpacked"):
            unpack([blob], root, None, IMAGE)


def test_a_prefix_behind_a_link_is_not_read(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere/conda").mkdir(parents=True)
    (root / "opt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineFailed, match="/opt in the image is a link"):
        list(DirectoryTree(root, "/opt/conda").entries())


async def test_whether_there_are_namespaces() -> None:
    assert await NamespaceEngine().absence(own_platform().architecture) == ""


@pytest.fixture
def somebody() -> Iterator[User]:
    user = User.create("n")
    yield user
    user.remove()


def inside(root: Path, script: str, uid: int | None) -> list[str]:
    asked = {"argv": ["bash", "-c", script], "environment": {"PATH": "/bin:/usr/bin"}, "uid": uid}
    return ["-I", "-S", engine_enter.__file__, json.dumps(asked)]


LOOK = """
id -u; ls /; cat /proc/net/dev | wc -l; grep Cap /proc/self/status; ls /proc | grep -c '^[0-9]'
echo x > /proc/sys/kernel/core_pattern || echo refused; echo > /dev/null
readarray lines < <(echo a b); echo "${lines[0]}"
"""


def check(output: str) -> None:
    lines = output.split("\n")
    assert lines[0] == "0"
    assert "home" not in lines and "root" in lines and "etc" in lines
    assert "CapEff:\t000000000000000b" in lines and "CapBnd:\t000000000000000b" in lines
    assert "refused" in lines and "a b" in lines
    names = lines[1 : next(number for number, line in enumerate(lines) if line.isdigit() and number)]
    assert set(names) == {"bin", "dev", "etc", "lib", "lib64", "proc", "root", "sys", "tmp", "usr", "var"} & set(names)
    assert lines[1 + len(names)] == "3", "of the network there are two lines of heading, and lo"


@pytest.mark.users
def test_what_a_sandbox_of_root_sees(tmp_path: Path, root: Path) -> None:
    blob = tmp_path / "base"
    blob.write_bytes(task_layer().blob)
    unpack([blob], root, 1_999_999_999, IMAGE)
    argv = [sys.executable, *inside(root, f"{LOOK}\ntouch /made", 1_999_999_999)]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, timeout=30, check=True)
    check(done.stdout)
    assert (root / "made").stat().st_uid == 1_999_999_999


@pytest.mark.users
def test_what_a_sandbox_of_any_user_sees(tmp_path: Path, somebody: User) -> None:
    root = somebody.home / "root"
    root.mkdir()
    blob = tmp_path / "base"
    blob.write_bytes(task_layer().blob)
    unpack([blob], root, somebody.uid, IMAGE)
    program = somebody.home / "enter.py"
    shutil.copy(engine_enter.__file__, program)
    os.chown(program, somebody.uid, somebody.gid)
    argv = inside(root, f"{LOOK}\ntouch /made", None)
    argv[2] = str(program)
    python = Path("/usr/bin/python3")
    check(somebody.run("sh", "-c", f"cd {root} && exec {shlex.join([str(python), *argv])}"))
    assert (root / "made").stat().st_uid == somebody.uid


def test_a_sandbox_that_cannot_be_says_why() -> None:
    with tempfile.TemporaryDirectory() as directory:
        argv = [sys.executable, *inside(Path(directory), "true", None)]
        done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 127 and "mount" in done.stderr


CHANGES = """
cd /opt/conda && cat kept below/one own/two
echo changed > kept; rm below/gone; rm -r replaced; mkdir replaced; echo new > replaced/in; mv own/two own/three
chmod 0 own
"""


def entries(tree: Tree) -> dict[str, str]:
    """Return what a tree has beside directories, and the files' contents."""
    return {e.path: b"".join(e.chunks()).decode() for e in tree.entries() if e.is_file}


@pytest.mark.users
@pytest.mark.parametrize("who", ["root", "user"])
def test_an_overlay_keeps_what_is_below_as_it_is(tmp_path: Path, somebody: User, who: str) -> None:
    uid = 1_999_999_999 if who == "root" else somebody.uid
    home = tmp_path if who == "root" else somebody.home
    if who == "root":
        home.chmod(0o700)
    base, place = home / "base", home / "place"
    for path in (base, place, *(place / name for name in ("own", "upper", "work"))):
        path.mkdir()
        os.chown(path, uid, uid)
    blob = tmp_path / "task"
    blob.write_bytes(task_layer().blob)
    below = [("kept", b"kept\n"), ("below/one", b"1\n"), ("below/gone", b"gone\n"), ("replaced/x", b"x\n")]
    unpack_part([blob, layer(tmp_path, *((f"opt/conda/{path}", data) for path, data in below))], base, uid, IMAGE)
    unpack_part([layer(tmp_path, ("opt/conda/own/two", b"2\n"), (".wavelet/x", b"x"))], place / "own", uid, IMAGE)
    add_engine_places(place / "upper", uid)
    tree = OverlayTree((place / "upper", place / "own", base), "/opt/conda")
    before = {**{path: data.decode() for path, data in below}, "own/two": "2\n"}
    assert entries(tree) == before
    program = home / "enter.py"
    shutil.copy(engine_enter.__file__, program)
    environment = {"PATH": "/bin:/usr/bin"}
    asked = {"argv": ["bash", "-ec", CHANGES], "environment": environment, "base": str(base)}
    asked["uid"] = uid if who == "root" else None
    argv = ["/usr/bin/python3", "-I", "-S", str(program), json.dumps(asked)]
    if who == "root":
        said = subprocess.run(argv, cwd=place, capture_output=True, text=True, timeout=30, check=False)
        assert (said.returncode, said.stderr, said.stdout) == (0, "", "kept\n1\n2\n")
    else:
        assert somebody.run("sh", "-c", f"cd {place} && exec {shlex.join(argv)}") == "kept\n1\n2\n"
    assert entries(tree) == {"kept": "changed\n", "below/one": "1\n", "replaced/in": "new\n", "own/three": "2\n"}
    assert entries(DirectoryTree(base, "/opt/conda")) == {path: data.decode() for path, data in below}
    remove(place)


STARTER = """
import json, subprocess, sys

argv, cwd = json.loads(sys.argv[1])
process = subprocess.Popen(argv, cwd=cwd, stdin=subprocess.PIPE)
process.stdin.write(b"0 1000000 1000000\\n")
process.stdin.flush()
process.wait()
"""


def test_a_sandbox_does_not_outlive_the_daemon(tmp_path: Path, root: Path) -> None:
    blob = tmp_path / "base"
    blob.write_bytes(task_layer().blob)
    unpack([blob], root, None, IMAGE)
    (root / ".wavelet/packages").write_text("one\t1\t0\n")
    (root / ".wavelet/one.sh").write_text("trap '' TERM; while true; do : > /alive; sleep 0.1; done")
    _, arguments = first_process(sandbox_task(Limits()).program)
    owner = 1_999_999_999 if os.geteuid() == 0 else None
    if owner is not None:
        for path in (root, *root.rglob("*")):
            os.chown(path, owner, owner, follow_symlinks=False)
    asked = {"argv": ["bash", *arguments], "environment": {"PATH": "/bin", "PREFIX": "/"}, "uid": owner}
    argv = [sys.executable, "-I", "-S", engine_enter.__file__, json.dumps(asked)]
    daemon = subprocess.Popen([sys.executable, "-c", STARTER, json.dumps([argv, str(root)])], stdout=subprocess.PIPE)
    alive = root / "alive"
    wait_for(alive.exists, "the script", 20)
    daemon.kill()
    daemon.communicate()

    def is_gone() -> bool:
        alive.unlink(missing_ok=True)
        time.sleep(0.5)
        return not alive.exists()

    wait_for(is_gone, "the end of the sandbox", 20)


def test_a_sandbox_that_does_not_want_to_end_is_ended(tmp_path: Path, root: Path) -> None:
    blob = tmp_path / "base"
    blob.write_bytes(task_layer().blob)
    owner = 1_999_999_999 if os.geteuid() == 0 else None
    unpack([blob], root, owner, IMAGE)
    stubborn = "trap '' TERM; (trap '' TERM; while true; do : > /alive; done) & while true; do : > /alive; done"
    process = subprocess.Popen([sys.executable, *inside(root, stubborn, owner)], cwd=root)
    alive = root / "alive"
    wait_for(alive.exists, "the script", 20)
    process.terminate()
    process.wait(10)
    alive.unlink()
    time.sleep(0.3)
    assert not alive.exists()
