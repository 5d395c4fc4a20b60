"""`wavelet pull --sif` and `--sif-dir`, against a double of the route: what comes, what stays, what is said."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from doubles.grpc_daemon import GrpcDaemon
from doubles.sif_door import AUTHORITY, Refusal, SifDoor
from lab.command import Wavelet, in_process
from lab.disks import mounted
from lab.processes import wait_for
from wavelet.cli.pull import daemon_http, disk, download
from wavelet.image.reference import Digest

SIF = b"#!/usr/bin/env run-singularity\n" + random.Random(1).randbytes(3_000_000)
OTHER = b"#!/usr/bin/env run-singularity\n" + random.Random(2).randbytes(5000)
CUT = 2 << 20
PATH, NAME = "/sif/lab/tool:1.sif", "lab/tool:1"


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SifDoor]:
    """Return the route of a daemon whose socket is named."""
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(daemon_http, "PAUSE", 0.01)
    with SifDoor({PATH: SIF}) as door, GrpcDaemon(tmp_path) as daemon:
        door.announce(daemon)
        monkeypatch.setenv("WAVELET_SOCKET", daemon.target.removeprefix("unix:"))
        yield door


@pytest.fixture
def wavelet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wavelet:
    """Return a function that runs the command within this process, and needs no daemon for that."""
    return in_process(monkeypatch, capsys)


def left(directory: Path) -> list[str]:
    """Return what is in a directory, but for records and the daemon's socket."""
    return sorted(path.name for path in directory.iterdir() if path.name not in (".wavelet", "fake.sock"))


def inspected(*containers: str) -> str:
    return json.dumps({"processes": [{"name": f"P{at}", "container": name} for at, name in enumerate(containers)]})


def test_a_file(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    file = tmp_path / "tool.sif"
    said = wavelet("pull", "--sif", str(file), NAME)
    assert said.out == f"{NAME}  {file}  {Digest.of(SIF)}\n"
    assert f"{NAME}: there, 3 MB" in said.err
    assert file.read_bytes() == SIF
    assert file.stat().st_mode & stat.S_IXUSR
    assert left(tmp_path) == ["tool.sif"]
    door.files[PATH] = OTHER
    assert wavelet("pull", "--sif", str(file), NAME, "-o", "json").json() == [
        {"image": NAME, "file": str(file), "digest": Digest.of(OTHER), "size": len(OTHER), "error": None}
    ]
    assert file.read_bytes() == OTHER, "a file that is there is replaced"


def test_standard_output_is_no_file(wavelet: Wavelet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = wavelet("pull", "--sif", "-", NAME)
    assert (said.code, "name a file" in said.err, left(tmp_path)) == (2, True, [])


def test_two_spellings_of_one_image_are_one_file(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    names, file = (NAME, f"docker://{NAME}"), tmp_path / "images/lab-tool-1.img"
    for _ in range(2):
        said = wavelet("pull", "--sif-dir", str(file.parent), "-", stdin=inspected(*names))
        assert (said.code, said.out.splitlines()) == (0, [f"{name}  {file}  {Digest.of(SIF)}" for name in names])
    assert len(door.seen) == 1


def test_a_list_is_not_taken_for_an_image(wavelet: Wavelet, tmp_path: Path) -> None:
    (tmp_path / "inspect.json").write_text(inspected(NAME))
    (tmp_path / "made.sif").write_bytes(b"#!/usr/bin/env run-singularity\n\0")
    said = wavelet("pull", "--sif-dir", str(tmp_path / "images"), str(tmp_path / "inspect.json"))
    assert (said.code, f"--file {tmp_path}/inspect.json" in said.err) == (2, True)
    said = wavelet("pull", "--sif-dir", str(tmp_path / "images"), str(tmp_path / "made.sif"))
    assert (said.code, "used where it is" in said.err) == (0, True)


def test_a_platform(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    door.files["/sif/lab/tool:1--linux-arm64.sif"] = OTHER
    assert wavelet("pull", "--sif", str(tmp_path / "a.sif"), NAME, "--platform", "arm64").code == 0
    assert (tmp_path / "a.sif").read_bytes() == OTHER
    assert (
        wavelet("pull", "--sif", str(tmp_path / "a.sif"), NAME, "--platform", "arm64", "--platform", "amd64").code == 2
    )


def test_a_connection_that_breaks_goes_on_where_it_was(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    door.cuts.extend([1_000_000, 500_000])
    assert wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME).code == 0
    assert (tmp_path / "tool.sif").read_bytes() == SIF
    tag = f'"{Digest.of(SIF)}"'
    assert [(each.range, each.if_range) for each in door.seen] == [
        (None, None), ("bytes=1000000-", tag), ("bytes=1500000-", tag)
    ]  # fmt: skip


def test_the_next_command_goes_on_where_the_last_one_was(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    door.cuts.extend([2_000_000, 0, 0, 0, 0, 0])
    said = wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME)
    assert said.code == 1
    assert "the same command goes on with what has come" in said.err
    assert left(tmp_path) == ["tool.sif.part", "tool.sif.part.digest"]
    door.cuts.clear()
    door.seen.clear()
    assert wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME).code == 0
    assert [each.range for each in door.seen] == ["bytes=2000000-"]
    assert (tmp_path / "tool.sif").read_bytes() == SIF
    assert left(tmp_path) == ["tool.sif"]


def test_whoever_interrupts_waits_for_nobody(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    door.cuts.append(CUT)
    door.stalls = True
    command = [sys.executable, "-m", "wavelet.cli.main", "pull", "--sif", str(tmp_path / "tool.sif"), NAME]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as running:
        part = tmp_path / "tool.sif.part"
        wait_for(lambda: part.exists() and part.stat().st_size == CUT, "a part", 20)
        beside = wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME)
        assert "tool.sif.part is being written by another command" in beside.err
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == 130
    door.stalls = False
    assert wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME).code == 0
    assert [each.range for each in door.seen] == [None, f"bytes={CUT}-"]


def test_the_time_that_is_given_is_kept(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    door.cuts.append(1_000_000)
    door.stalls = True
    said = wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME, "--timeout", "1s")
    assert said.code == 1
    assert "the time that was given is over (--timeout)" in said.err


def test_what_has_come_of_another_version_is_not_used(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    door.cuts.extend([2000, 0, 0, 0, 0, 0])
    wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME)
    door.cuts.clear()
    door.files[PATH] = OTHER
    assert wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME).code == 0
    assert (tmp_path / "tool.sif").read_bytes() == OTHER


@pytest.mark.parametrize("note", ["", "sha256:0 5", f"{Digest.of(SIF)} 5"])
def test_a_part_that_nothing_is_known_of_is_not_used(
    wavelet: Wavelet, door: SifDoor, tmp_path: Path, note: str
) -> None:
    (tmp_path / "tool.sif.part").write_bytes(b"something else")
    if note:
        (tmp_path / "tool.sif.part.digest").write_text(note)
    assert wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME).code == 0
    assert (tmp_path / "tool.sif").read_bytes() == SIF


def test_a_part_with_a_wrong_byte_is_found_out(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    (tmp_path / "tool.sif.part").write_bytes(b"x" * 100)
    (tmp_path / "tool.sif.part.digest").write_text(f"{Digest.of(SIF)} {len(SIF)}\n")
    said = wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME)
    assert said.code == 1
    assert "it is removed, and asking again is right" in said.err
    assert left(tmp_path) == []
    assert wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME).code == 0


def test_bytes_without_their_digest(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    door.wrong = True
    said = wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME)
    assert (said.code, said.out) == (1, "")
    assert f"upstream fails: what came for tool.sif is not {Digest.of(SIF)}" in said.err
    assert left(tmp_path) == []
    door.digests = False
    assert "says no digest" in wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME).err


def test_not_now_is_asked_again(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    door.refusals.extend([Refusal(503, b'{"message": "it is being made"}', retry_after="0")] * 3)
    assert wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME).code == 0
    assert len(door.seen) == 4
    door.refusals.append(Refusal(503, b'{"message": "it is being made"}', retry_after="100"))
    said = wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME, "--timeout", "5s")
    assert said.code == 1
    assert f"{NAME}: the daemon fails: it is being made" in said.err


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (Refusal(404, b'{"message": "no such tag"}'), "refused: no such tag"),
        (Refusal(403, b'{"errors": [{"code": "DENIED", "message": "not yours"}]}'), "refused: not yours"),
        (Refusal(502, b'{"message": "the registry is away"}'), "upstream fails: the registry is away"),
        (Refusal(507, b"the store is full\nand more"), "the daemon fails: the store is full\n"),
        (Refusal(500, b""), "the daemon fails: HTTP 500"),
    ],
)
def test_what_the_daemon_says(wavelet: Wavelet, door: SifDoor, tmp_path: Path, refusal: Refusal, words: str) -> None:
    door.refusals.append(refusal)
    said = wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME)
    assert said.code == 1
    assert f"{NAME}: {words}" in said.err
    assert "1 of 1 failed" in said.err


@pytest.mark.parametrize("known", [True, False], ids=["asked before", "found out while it is written"])
def test_no_room(wavelet: Wavelet, door: SifDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    if not known:
        monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    with mounted(tmp_path / "disk", "1m") as full:
        said = wavelet("pull", "--sif", str(full / "tool.sif"), NAME)
        assert said.code == 1
        assert f"{NAME}: {full} has no room for " in said.err
        assert not (full / "tool.sif").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sif", "/dev/full", NAME], "/dev/full is there, and no file"),
        (["--sif", "{dir}", NAME], "{dir} is there, and no file"),
        (["--sif", "{dir}/absent/x.sif", NAME], "there is no directory {dir}/absent"),
        (["--sif", "{dir}/x.sif", NAME, "b"], "is the file of one image, and 2 are named"),
        (["--sif", "{dir}/x.sif", "/y.sif"], "/y.sif is a file"),
        (["--sif", "{dir}/x.sif"], "no image is named"),
        (["--sif", "{dir}/x.sif", "--sif-dir", "{dir}", NAME], "not allowed with"),
        (["--sif", "{dir}/x.sif", "--keep", "1h", NAME], "--keep: says nothing of files"),
    ],
)
def test_wrong_arguments(wavelet: Wavelet, door: SifDoor, tmp_path: Path, arguments: list[str], words: str) -> None:
    said = wavelet("pull", *(each.format(dir=tmp_path) for each in arguments))
    assert said.code in (1, 2)
    assert words.format(dir=tmp_path) in said.err
    assert left(tmp_path) == []


def test_no_daemon(wavelet: Wavelet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVELET_SOCKET", str(tmp_path / "absent.sock"))
    said = wavelet("pull", "--sif", str(tmp_path / "tool.sif"), NAME)
    assert said.code == 3
    assert "wavelet ensure" in said.err


def test_a_directory_for_nextflow(
    wavelet: Wavelet, door: SifDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    wave = f"{AUTHORITY}/wt/{'0' * 32}/lab/tool:1"
    door.files[f"/sif/wt/{'0' * 32}/lab/tool:1.sif"] = OTHER
    door.files["/sif/https/depot.galaxyproject.org/singularity/bwa:0.7"] = OTHER
    text = inspected(NAME, wave, "https://depot.galaxyproject.org/singularity/bwa:0.7", "/shared/own.sif", NAME)
    said = wavelet("pull", "--sif-dir", str(cache), "-", stdin=text)
    assert said.code == 0, said.err
    assert "/shared/own.sif: a file, which is used where it is" in said.err
    assert left(cache) == [
        f"127.0.0.1-9090-wt-{'0' * 32}-lab-tool-1.img", "depot.galaxyproject.org-singularity-bwa-0.7.img",
        "lab-tool-1.img",
    ]  # fmt: skip
    assert (cache / "lab-tool-1.img").read_bytes() == SIF
    # Now without a daemon, and without its socket.
    monkeypatch.setenv("WAVELET_SOCKET", str(tmp_path / "absent.sock"))
    door.seen.clear()
    again = wavelet("pull", "--sif-dir", str(cache), "-", stdin=text)
    assert (again.code, again.out) == (0, said.out)
    assert door.seen == []


def test_one_that_fails_stops_no_other(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    said = wavelet(
        "pull", "--sif-dir", str(tmp_path), "absent:1", NAME, "library://a/b:1", "a" * 300, "lab/tool-1", "-o", "json"
    )  # fmt: skip
    assert said.code == 1
    found = json.loads(said.out)
    assert [bool(each["error"]) for each in found] == [True, False, True, True, True]
    assert found[2]["error"]["fault"] == "caller"
    assert "the name that docker://lab/tool:1 has too" in found[4]["error"]["message"]
    assert "wavelet: 4 of 5 failed: absent:1, library://a/b:1, aaa" in said.err


def test_a_damaged_file_is_fetched_again_and_a_foreign_one_is_left(
    wavelet: Wavelet, door: SifDoor, tmp_path: Path
) -> None:
    file = tmp_path / "lab-tool-1.img"
    assert wavelet("pull", "--sif-dir", str(tmp_path), NAME).code == 0
    os.utime(file, (1, 1))
    door.seen.clear()
    assert wavelet("pull", "--sif-dir", str(tmp_path), NAME).code == 0
    assert door.seen == [], "a copy with another time is the same file"
    for damage in (SIF[:-1], b"x" + SIF[1:]):
        file.write_bytes(damage)
        assert wavelet("pull", "--sif-dir", str(tmp_path), NAME).code == 0
        assert file.read_bytes() == SIF
    (tmp_path / "lab-mine-1.img").write_bytes(b"mine")
    said = wavelet("pull", "--sif-dir", str(tmp_path), "lab/mine:1")
    assert said.code == 0
    assert "lab-mine-1.img is there, and wavelet has not made it" in said.err


def test_several_at_a_time(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    names = [f"lab/many:{number}" for number in range(20)]
    door.files |= {f"/sif/{name}.sif": f"{name}".encode() * 1000 for name in names}
    assert wavelet("pull", "--sif-dir", str(tmp_path), "--concurrency", "8", *names).code == 0
    for name in names:
        assert (tmp_path / f"{name.replace('/', '-').replace(':', '-')}.img").read_bytes() == name.encode() * 1000


def test_the_registry_of_nextflow_is_asked(wavelet: Wavelet, door: SifDoor, tmp_path: Path) -> None:
    door.files["/sif/quay.io/lab/tool:1.sif"] = OTHER
    assert wavelet("pull", "--sif-dir", str(tmp_path), "--registry", "quay.io", NAME).code == 0
    assert left(tmp_path) == ["quay.io-lab-tool-1.img"]
