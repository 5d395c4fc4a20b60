"""The door of packs over HTTP, as a client of it sees one: documents, layers, and what is not there."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.daemon import Daemon
from lab.http import request
from lab.images import sha256
from lab.processes import wait_for
from wavelet.client import Client, WaveletRpcError

pytestmark = pytest.mark.process

MEMBERS = {"entrypoint", "cmd", "env", "workingDir", "layers"}
LAYER_MEMBERS = {"location", "gzipDigest", "gzipSize", "tarDigest"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon with a pack for two architectures, one without any layer, and one that is broken."""
    directory = tmp_path_factory.mktemp("door")
    packs = directory / "packs"
    write(packs / "tool", "tool.txt", "x" * 5000)
    layers = ", ".join(f"{{files: {{/opt/tool: tool.txt}}, architecture: {each}}}" for each in ("amd64", "arm64"))
    (packs / "tool/pack.yaml").write_text(
        f"version: '1.2'\nlayers: [{layers}, {{files: {{/opt/ö: tool.txt}}}}]\n"
        "env: {A: b}\nentrypoint: [/opt/tool]\nneeds: {devices: [/dev/fuse]}\n"
    )
    write(packs / "plain", "pack.yaml", "env: [A=1]")
    write(packs / "broken", "pack.yaml", "layer: []")
    daemon = Daemon(directory / "state", settings={"packs": {"directory": str(packs)}})
    yield daemon.start()
    daemon.stop()


def write(directory: Path, name: str, text: str) -> None:
    directory.mkdir(parents=True)
    (directory / name).write_text(text)


def test_a_document_is_what_nextflow_takes(served: Daemon) -> None:
    answer = served.get("/packs/tool.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    document = answer.json()
    assert document.keys() == MEMBERS
    assert document | {"layers": []} == {
        "entrypoint": ["/opt/tool"],
        "cmd": None,
        "env": ["A=b"],
        "workingDir": None,
        "layers": [],
    }
    for layer, suffix in zip(
        document["layers"], (".linux_amd64.tar.gz", ".linux_arm64.tar.gz", ".tar.gz"), strict=True
    ):
        assert layer.keys() == LAYER_MEMBERS
        digits = layer["gzipDigest"].removeprefix("sha256:")[:32]
        assert layer["location"] == f"{served.url}/packs/tool@1.2/{digits}{suffix}"
        blob = request("GET", layer["location"])
        assert blob.status == 200
        assert sha256(blob.body) == layer["gzipDigest"] == blob.headers["docker-content-digest"]
        assert len(blob.body) == layer["gzipSize"]
        assert sha256(gzip.decompress(blob.body)) == layer["tarDigest"]
        with tarfile.open(fileobj=io.BytesIO(blob.body)) as tar:
            assert tar.getnames() in (["opt/tool"], ["opt/ö"])
    assert served.get("/packs/tool@1.2.json").body == answer.body


def test_a_document_is_asked_for_again(served: Daemon) -> None:
    first = served.get("/packs/tool.json")
    headers = {"If-None-Match": first.headers["etag"]}
    again = request("GET", f"{served.url}/packs/tool.json", headers=headers)
    assert (again.status, again.body) == (304, b"")
    head = served.head("/packs/tool.json")
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", first.headers["etag"])
    assert head.headers["content-length"] == str(len(first.body))


def test_a_part_of_a_layer(served: Daemon) -> None:
    (layer, *_) = served.get("/packs/tool.json").json()["layers"]
    whole = request("GET", layer["location"]).body
    part = request("GET", layer["location"], headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    again = request("GET", layer["location"], headers={"If-None-Match": f'"{layer["gzipDigest"]}"'})
    assert (again.status, again.body) == (304, b"")
    head = request("HEAD", layer["location"])
    assert (head.status, head.headers["content-length"]) == (200, str(len(whole)))
    assert request("GET", layer["location"], headers={"Range": "bytes=9999999-"}).status == 416


def test_a_damaged_layer_is_said_to_be_so_and_comes_back(served: Daemon) -> None:
    layer = served.get("/packs/tool.json").json()["layers"][2]
    whole = request("GET", layer["location"]).body
    file = served.state / "packs" / f"{layer['gzipDigest'].removeprefix('sha256:')}.tar.gz"
    file.write_bytes(whole[:100])
    answer = request("GET", layer["location"])
    assert answer.status == 404
    assert "is damaged or gone here, and is built again; ask again" in answer.json()["message"]
    wait_for(lambda: request("GET", layer["location"]).body == whole, "the layer", 15)


def test_the_list(served: Daemon) -> None:
    listed = {each["name"]: each for each in served.get("/packs").json()}
    assert listed["tool"] == {
        "name": "tool",
        "version": "1.2",
        "url": f"{served.url}/packs/tool@1.2.json",
        "architectures": ["amd64", "arm64"],
        "shipped": False,
        "problem": None,
    }
    assert listed["broken"]["version"] is None
    assert listed["broken"]["problem"] == "packs/broken/pack.yaml: unknown key 'layer'; layers is meant?"
    assert list(listed) == sorted(listed)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/packs/plane.json", "there is no pack 'plane' on this node; plain is meant?"),
        ("/packs/tool@2.json", "this node has no version '2' of the pack tool; it has 1.2"),
        ("/packs/broken.json", "the pack broken cannot be used: packs/broken/pack.yaml: unknown key 'layer'"),
        ("/packs/tool", "no such route: '/packs/tool'; a pack's document is /packs/NAME[@VERSION].json"),
        ("/packs/tool@1.2/no.tar.gz", "the pack tool@1.2 has no file 'no.tar.gz'; its document names those"),
        ("/packs/tool@2/no.tar.gz", "this node has no version '2' of the pack tool"),
        ("/packs/tool@.json", "this node has no version '' of the pack tool; it has 1.2"),
        ("/packs/..%2f..%2fetc/passwd", "there is no pack '../../etc' on this node"),
        ("/packs/tool@1.2/..%2f..%2findex.json", "the pack tool@1.2 has no file '../../index.json'"),
        ("/packs/tool@1.2/index.json", "the pack tool@1.2 has no file 'index.json'"),
    ],
)
def test_what_is_not_there(served: Daemon, path: str, sentence: str) -> None:
    answer = served.get(path)
    assert answer.status == 404
    assert sentence in answer.json()["message"]


def test_over_grpc(served: Daemon) -> None:
    with Client(f"unix:{served.state}/wavelet.sock") as client:
        packs = client.list_packs().packs
        assert [pack.name for pack in packs if not pack.shipped] == ["broken", "plain", "tool"]
        broken, _, tool = (pack for pack in packs if not pack.shipped)
        assert broken.problem == "packs/broken/pack.yaml: unknown key 'layer'; layers is meant?"
        assert client.get_pack("tool").pack == client.get_pack("tool@1.2").pack == tool
        assert (tool.version, list(tool.architectures)) == ("1.2", ["amd64", "arm64"])
        assert tool.url == f"{served.url}/packs/tool@1.2.json"
        assert list(tool.needs.devices) == ["/dev/fuse"]
        assert tool.directory.endswith("/packs/tool")
        assert list(tool.config.entrypoint) == ["/opt/tool"]
        document = served.get("/packs/tool.json").json()
        assert [layer.gzip_digest for layer in tool.config.layers] == [
            layer["gzipDigest"] for layer in document["layers"]
        ]
        for reference, sentence in (
            ("plane", "there is no pack 'plane' on this node; plain is meant?"),
            ("tool@2", "this node has no version '2' of the pack tool; it has 1.2"),
            ("", "reference: is missing"),
            ("tool@", "reference: has no version"),
        ):
            with pytest.raises(WaveletRpcError, match=re.escape(sentence)):
                client.get_pack(reference)


def test_pages_of_others_get_nothing(served: Daemon) -> None:
    assert request("GET", f"{served.url}/packs", headers={"Origin": "https://evil.example"}).status == 421
    assert request("POST", f"{served.url}/packs").status == 405
