"""`wavelet pack check` and `build`, which need no daemon."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from groups import program
from lab.command import Wavelet, in_process
from lab.processes import run

TOOL = """name: tool
version: "1.2"
layers:
  - files: {/usr/local/bin/tool: tool}
    mode: "0755"
    architecture: amd64
  - files: {/usr/local/bin/tool: tool}
    mode: "0755"
    architecture: arm64
  - directory: etc
    to: /etc/tool
env: {TOOL: "1"}
entrypoint: [/usr/local/bin/tool, exec]
needs: {devices: [/dev/fuse], capabilities: [SYS_ADMIN]}
"""
FETCHED = f"layers: [{{image: 'quay.io/site/tools@sha256:{'0' * 64}'}}]\n"


@pytest.fixture
def wavelet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wavelet:
    return in_process(monkeypatch, capsys)


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    return pack(tmp_path / "packs" / "tool", TOOL)


def pack(directory: Path, text: str) -> Path:
    (directory / "etc").mkdir(parents=True)
    (directory / "etc" / "tool.conf").write_text("a = b\n")
    (directory / "tool").write_text("#!/bin/sh\n")
    (directory / "pack.yaml").write_text(text)
    directory.parent.chmod(0o755)
    return directory


def test_what_would_be_built(wavelet: Wavelet, tool: Path) -> None:
    said = wavelet("pack", "check", str(tool))
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[:6] == [
        "tool@1.2",
        "  for           amd64, arm64",
        "  entry point   /usr/local/bin/tool exec",
        "  devices       /dev/fuse",
        "  capabilities  SYS_ADMIN",
        "  variable      TOOL=1",
    ]
    assert [line.strip() for line in lines if line.strip().startswith("/")] == [
        "/usr/local/bin/tool",
        "/usr/local/bin/tool",
        "/etc/tool/tool.conf",
    ]
    [value] = wavelet("pack", "check", str(tool), "-o", "json").json()
    assert [layer["architecture"] for layer in value["layers"]] == ["amd64", "arm64", ""]
    assert value["layers"][2]["paths"] == ["etc/tool/tool.conf"]
    assert all(layer["digest"].startswith("sha256:") and layer["size"] > 0 for layer in value["layers"])


def test_a_pack_that_is_wrong_does_not_stop_the_others(wavelet: Wavelet, tool: Path, tmp_path: Path) -> None:
    wrong = pack(tmp_path / "packs" / "wrong", "layers: [{directory: ../elsewhere}]\n")
    said = wavelet("pack", "check", str(wrong), str(tool))
    assert said.code == 1
    assert said.out.startswith("tool@1.2")
    assert "packs/wrong/pack.yaml: layers[0].directory: '../elsewhere' leads out of the directory" in said.err
    absent = wavelet("pack", "check", str(tmp_path))
    assert (absent.code, "pack.yaml: is not there" in absent.err) == (1, True)


def test_a_setuid_file_is_refused_unless_it_is_allowed(wavelet: Wavelet, tmp_path: Path) -> None:
    directory = pack(tmp_path / "packs" / "su", "layers: [{directory: etc}]\n")
    (directory / "etc" / "su").write_text("x")
    (directory / "etc" / "su").chmod(0o4755)
    assert "/su is setuid" in wavelet("pack", "check", str(directory)).err
    (directory / "pack.yaml").write_text("layers: [{directory: etc}]\nallow: [setuid]\n")
    assert wavelet("pack", "check", str(directory)).code == 0


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("{}\n", "it adds nothing"),
        ("entrypoint: [/bin/launch]\n", "/bin/launch is in none of its layers"),
    ],
)
def test_what_is_probably_not_meant(wavelet: Wavelet, tmp_path: Path, text: str, warning: str) -> None:
    said = wavelet("pack", "check", str(pack(tmp_path / "packs" / "odd", text)))
    assert said.code == 0
    assert warning in said.err


def test_what_others_can_write_is_said_before_the_daemon_says_it(wavelet: Wavelet, tool: Path) -> None:
    (tool / "tool").chmod(0o666)
    said = wavelet("pack", "check", str(tool))
    assert said.code == 0
    assert f"chmod go-w {tool}/tool" in said.err


def test_layers_that_are_fetched_are_left_to_the_daemon(wavelet: Wavelet, tmp_path: Path) -> None:
    directory = pack(tmp_path / "packs" / "far", FETCHED)
    said = wavelet("pack", "check", str(directory))
    assert said.code == 0
    assert said.out.startswith("far, version told by what is fetched")
    assert "quay.io/site/tools@sha256:0000" in said.out
    built = wavelet("pack", "build", str(directory), "--to", str(tmp_path / "out"))
    assert (built.code, "packs.directory" in built.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_an_image_layout(wavelet: Wavelet, tool: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    said = wavelet("pack", "build", str(tool), "--to", str(target))
    assert said.code == 0, said.err
    [listed] = json.loads((target / "index.json").read_text())["manifests"]
    assert said.out == f"oci:{target}:1.2  {listed['digest']}\n"
    index = blob(target, listed)
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    manifest = blob(target, index["manifests"][1])
    config = blob(target, manifest["config"])
    assert config["config"] == {"Entrypoint": ["/usr/local/bin/tool", "exec"], "Env": ["TOOL=1"]}
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 2
    layer = (target / "blobs" / "sha256" / manifest["layers"][1]["digest"].partition(":")[2]).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert "etc/tool/tool.conf" in tar.getnames()
    again = wavelet("pack", "build", str(tool), "--to", str(target))
    assert (again.code, "is not an empty directory" in again.err) == (2, True)


@pytest.mark.skopeo
def test_other_tools_read_the_layout(wavelet: Wavelet, tool: Path, tmp_path: Path) -> None:
    wavelet("pack", "build", str(tool), "--to", str(tmp_path / "out"))
    source, target = f"oci:{tmp_path / 'out'}:1.2", f"dir:{tmp_path / 'copy'}"
    run([program("skopeo"), "copy", "--all", source, target])
    assert (tmp_path / "copy" / "manifest.json").exists()


def test_a_document_with_its_layers_beside_it(wavelet: Wavelet, tool: Path, tmp_path: Path) -> None:
    target = tmp_path / "www" / "tool.json"
    said = wavelet("pack", "build", str(tool), "--to", str(target), "--url", "https://files.example/packs/")
    assert said.code == 0, said.err
    document = json.loads(target.read_text())
    assert document["env"] == ["TOOL=1"]
    for layer in document["layers"]:
        base, _, name = layer["location"].rpartition("/")
        assert base == "https://files.example/packs"
        assert (target.parent / name).stat().st_size == layer["gzipSize"]
    assert len(said.out.splitlines()) == 4
    for wrong in (("--to", str(target)), ("--to", str(tmp_path / "x"), "--url", "https://files.example")):
        assert wavelet("pack", "build", str(tool), *wrong).code == 2


def blob(layout: Path, descriptor: dict[str, object]) -> dict[str, object]:
    """Return a document of a layout."""
    data = (layout / "blobs" / "sha256" / str(descriptor["digest"]).partition(":")[2]).read_bytes()
    assert len(data) == descriptor["size"]
    return json.loads(data)
