"""Packs in real containers: asked for as Nextflow does, by name, several at once, and made of images and URLs."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import images, nextflow, sif, sif_asks
from lab.daemon import Daemon
from lab.engines import Engine, Podman, skopeo
from lab.http import request
from lab.processes import wait_for
from lab.registry import Registry

pytestmark = pytest.mark.registry

LAUNCHER = """#!/bin/sh
# What Wave's launchers do: say that they run, and hand on to what WAVE_ENTRY_CHAIN says, and else to their arguments.
echo "$0"
case "$WAVE_ENTRY_CHAIN" in
"") exec "$@" ;;
\\[*)
  words=$(echo "$WAVE_ENTRY_CHAIN" | /bin/busybox sed -e 's/^.//' -e 's/.$//' -e 's/[$]/\\\\$/g' -e 's/", *"/" "/g')
  eval "set -- $words \\"\\$@\\""
  exec "$@" ;;
*) exec "$WAVE_ENTRY_CHAIN" "$@" ;;
esac
"""
PLATFORMS = "linux/amd64,linux/arm64"
OWN = '#!/bin/sh\necho "own $WAVE_ENTRY_CHAIN"\nexec "$@"\n'


class PackNode:
    """A daemon with a directory of packs."""

    def __init__(self, directory: Path, **variables: object) -> None:
        self.packs = directory / "packs"
        self.packs.mkdir(parents=True)
        self.daemon = Daemon(directory / "state", settings={"packs": {"directory": str(self.packs)}}, **variables)

    def write(self, name: str, document: str, **files: str | bytes) -> None:
        """Write a pack; with a daemon that runs, it is there once its document is answered."""
        directory = self.packs / name
        directory.mkdir()
        for file, content in files.items():
            (directory / file).write_bytes(content.encode() if isinstance(content, str) else content)
        (directory / "pack.yaml").write_text(document)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackNode]:
    """Return a node with packs: files for each architecture, and two launchers."""
    site = PackNode(tmp_path_factory.mktemp("pack-node"))
    layers = (
        "{files: {/opt/arch: amd}, architecture: amd64}, {files: {/opt/arch: arm}, architecture: arm64},"
        " {files: {/bin/linked: both}}"
    )
    site.write(
        "tool", f"version: '1.2'\nlayers: [{layers}]\nenv: {{TOOL: there}}", amd="amd64\n", arm="arm64\n", both="x"
    )
    for name in ("first", "second"):
        layer = f"layers: [{{files: {{/opt/{name}: launcher}}, mode: '0755'}}]"
        site.write(name, f"{layer}\nentrypoint: [/opt/{name}]", launcher=LAUNCHER)
    site.daemon.start()
    yield site
    site.daemon.stop()


def config_of(node: Daemon, name: str) -> dict[str, object]:
    """Return a pack's document as Nextflow puts it into a request."""
    document: dict[str, object] = node.get(f"/packs/{name}.json").json()
    return document


def described(node: Daemon, answer: dict[str, object]) -> str:
    return node.get(f"/v1alpha2/container/{answer['containerToken']}").body.decode()


def test_nextflows_way(site: PackNode, registry: Registry, engine: Engine) -> None:
    node = site.daemon
    config = config_of(node, "tool")
    name = nextflow.target(node, f"{registry.host}/lab/busybox:1", config=config)
    engine.pull(name)
    assert engine.run(name, "/bin/cat", "/opt/arch") == "amd64\n"
    assert engine.run(name, "/bin/sh", "-c", "echo $TOOL") == "there\n"


@pytest.mark.skopeo
def test_an_index_gets_the_layers_of_each_architecture(site: PackNode, registry: Registry, tmp_path: Path) -> None:
    node = site.daemon
    source = registry.push("lab/pack-index", "1", images.two_architectures(images.OCI))
    name = nextflow.target(node, source, config=config_of(node, "tool@1.2"), containerPlatform=PLATFORMS)
    for architecture in ("amd64", "arm64"):
        skopeo("--override-arch", architecture, "copy", "--src-tls-verify=false", f"docker://{name}",
               f"oci:{tmp_path / architecture}")  # fmt: skip
        inspected = skopeo("inspect", f"oci:{tmp_path / architecture}")
        document = config_of(node, "tool")["layers"]
        assert isinstance(document, list)
        other = {"amd64": 1, "arm64": 0}[architecture]
        wanted = [layer["gzipDigest"] for number, layer in enumerate(document) if number != other]
        assert inspected["Layers"][-2:] == wanted
        assert inspected["Architecture"] == architecture


def test_a_layer_is_not_fetched_over_http(site: PackNode, registry: Registry) -> None:
    """Neither from this daemon, nor, by the answer, from anywhere else; and by its packs' name it is the same image."""
    node = site.daemon
    image = f"{registry.host}/lab/busybox:1"
    before = node.get("/metrics").body.decode()
    config = config_of(node, "tool")
    assert isinstance(config["layers"], list)
    own = [{**layer, "location": layer["location"].replace("127.0.0.1", "localhost")} for layer in config["layers"]]
    answer = nextflow.ask(node, containerImage=image, config={**config, "layers": own})
    shown = json.loads(described(node, answer))
    locations = [layer["location"] for layer in shown["containerConfig"]["layers"]]
    assert locations
    assert all(location.startswith("pack:tool@1.2/") for location in locations)
    assert sent_files(node.get("/metrics").body.decode()) == sent_files(before)
    named = nextflow.ask(node, containerImage=image, packs=["tool"])
    paths = [nextflow.manifest_path(str(each["targetImage"])) for each in (answer, named)]
    first, second = (node.get(path, Accept=", ".join(images.MANIFEST_TYPES)) for path in paths)
    assert first.status == second.status == 200
    layers = [[layer["digest"] for layer in each.json()["layers"]] for each in (first, second)]
    assert layers[0] == layers[1]


def sent_files(metrics: str) -> list[str]:
    return [
        line for line in metrics.splitlines() if line.startswith("wavelet_requests_total") and 'kind="file"' in line
    ]


@pytest.mark.podman
@pytest.mark.parametrize("own", [(), ("/own",), ("/own", "/bin/env", "X=1")], ids=["none", "one", "several"])
def test_launchers_of_two_packs_run_and_then_the_images_own(
    site: PackNode, registry: Registry, podman: Podman, own: tuple[str, ...]
) -> None:
    base = images.busybox(images.layer({"own": OWN.encode()}, executable=["own"]), entrypoint=own)
    source = registry.push("lab/pack-launched", str(len(own)), base)
    name = str(nextflow.ask(site.daemon, containerImage=source, packs=["first", "second"])["targetImage"])
    podman.pull(name)
    said = podman.run(name, "/bin/echo", "the task").splitlines()
    chain = [] if not own else [f"own {own[0] if len(own) == 1 else json.dumps(own, separators=(',', ':'))}"]
    assert said == ["/opt/second", "/opt/first", *chain, "the task"]


@pytest.mark.podman
def test_a_launcher_of_the_request_and_one_of_a_pack(site: PackNode, registry: Registry, podman: Podman) -> None:
    """The pack's is the outer one: what the request itself starts is between it and the image's own."""
    base = images.busybox(images.layer({"own": OWN.encode()}, executable=["own"]), entrypoint=("/own",))
    source = registry.push("lab/pack-and-request", "1", base)
    answer = nextflow.ask(
        site.daemon, containerImage=source, config=config_of(site.daemon, "first"), packs=["first", "second"]
    )
    podman.pull(str(answer["targetImage"]))
    said = podman.run(str(answer["targetImage"]), "/bin/echo", "the task").splitlines()
    assert said == ["/opt/second", "/opt/first", "own /own", "the task"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"packs": ["tol"]}, "there is no pack 'tol' on this node; tool is meant?"),
        ({"packs": ["tool@9"]}, "this node has no version '9' of the pack tool; it has 1.2"),
        ({"packs": ["tool"], "containerPlatform": "linux/arm/v7"}, "the pack tool@1.2 has nothing for arm, only for"),
    ],
)
def test_a_pack_that_cannot_be_had(
    site: PackNode, registry: Registry, fields: dict[str, object], sentence: str
) -> None:
    answer = nextflow.post(site.daemon, containerImage=f"{registry.host}/lab/busybox:1", **fields)
    assert answer.status == 400
    assert sentence in answer.json()["message"]


def test_a_version_that_this_node_does_not_have(site: PackNode, registry: Registry) -> None:
    config = config_of(site.daemon, "tool")
    layers = config["layers"]
    assert isinstance(layers, list)
    digest = images.sha256(b"another")
    gone = {**layers[0], "gzipDigest": digest, "gzipSize": None}
    gone["location"] = f"{site.daemon.url}/packs/tool@0.9/{digest[7:39]}.linux_amd64.tar.gz"
    answer = nextflow.post(site.daemon, containerImage=f"{registry.host}/lab/busybox:1", config={"layers": [gone]})
    assert answer.status == 404
    assert "version 0.9, which this node does not have (it has tool@1.2)" in answer.json()["message"]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[PackNode]]:
    """Return three nodes that share their records: two with the same pack, unpacked by two people, and one without."""
    nodes = [PackNode(tmp_path / name, WAVELET_RECORDS_DIRECTORY=tmp_path / "records") for name in ("a", "b", "c")]
    for site in nodes[:2]:
        site.write("tool", "layers: [{files: {/opt/tool: file}}]", file="a tool")
    (nodes[1].packs / "tool/file").chmod(0o600)
    for site in nodes:
        site.daemon.start()
    yield nodes
    for site in nodes:
        site.daemon.stop()


def test_nodes_with_the_same_pack_give_the_same_name(cluster: list[PackNode], registry: Registry) -> None:
    image = f"{registry.host}/lab/busybox:1"
    paths = []
    for site in cluster[:2]:
        name = nextflow.target(site.daemon, image, packs=["tool"])
        paths.append(nextflow.manifest_path(name))
    assert paths[0] == paths[1]
    answers = [site.daemon.get(paths[0], Accept=", ".join(images.MANIFEST_TYPES)) for site in cluster]
    assert [answer.status for answer in answers] == [200, 200, 404]
    assert answers[0].body == answers[1].body
    assert "which this node does not have (it has no such pack)" in answers[2].body.decode()


@pytest.mark.squashfs
def test_in_a_sif(site: PackNode, registry: Registry, tmp_path: Path) -> None:
    name = nextflow.target(site.daemon, f"{registry.host}/lab/busybox:1", packs=["tool"])
    file = sif_asks.download(name, tmp_path / "x.sif")
    with sif.mounted(file, tmp_path / "mounted") as tree:
        assert (tree / "opt/arch").read_text() == "amd64\n"


class _Files(http.server.BaseHTTPRequestHandler):
    content = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served() -> Iterator[Callable[[bytes], str]]:
    """Return a function that serves bytes at a URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def serve(content: bytes) -> str:
        _Files.content = content
        return f"http://127.0.0.1:{server.server_port}/x.tar.gz"

    yield serve
    server.shutdown()
    server.server_close()


def test_of_images_and_urls_and_again_after_a_restart(
    tmp_path: Path, registry: Registry, served: Callable[[bytes], str]
) -> None:
    layer = images.layer({"opt/from-url": b"url\n"})
    url = served(layer.blob)
    index = images.index([
        images.image([images.layer({"opt/image": f"{each}\n".encode()})], platform=f"linux/{each}")
        for each in ("amd64", "arm64")
    ])  # fmt: skip
    source = f"{registry.push('lab/pack-source', '1', index)}@{index.digest}"
    site = PackNode(tmp_path)
    site.write("mixed", f"layers: [{{image: '{source}'}}, {{url: '{url}', digest: '{layer.digest}'}}]")
    site.write("wrong", f"layers: [{{url: '{url}', digest: '{images.sha256(b'')}'}}]")
    site.write("none", f"layers: [{{image: '{registry.host}/lab/nowhere@{images.sha256(b'')}'}}]")
    node = site.daemon.start()
    try:
        document = node.get("/packs/mixed.json").json()
        suffixes = [each["location"].partition(".linux_")[2] for each in document["layers"]]
        assert suffixes == ["amd64.tar.gz", "arm64.tar.gz", ""]
        problems = {each["name"]: each["problem"] for each in node.get("/packs").json()}
        assert problems["wrong"].startswith("packs/wrong/pack.yaml: layers[0].url: ")
        assert problems["none"].startswith("packs/none/pack.yaml: layers[0].image: ")
        name = nextflow.target(node, f"{registry.host}/lab/busybox:1", packs=["mixed"])
    finally:
        node.stop()
    _Files.content = b"no longer there"
    node.start()
    try:
        assert node.get("/packs/mixed.json").json() == document
        answer = node.get(nextflow.manifest_path(name), Accept=", ".join(images.MANIFEST_TYPES))
        assert answer.status == 200, answer.body
        for part in answer.json()["layers"]:
            assert request("GET", node.url + nextflow.blob_path(name, part["digest"])).status == 200
    finally:
        node.stop()


def test_a_layer_that_is_damaged_on_the_disk_is_built_again(registry: Registry, tmp_path: Path) -> None:
    """That what was asked for is wrong would be remembered."""
    site = PackNode(tmp_path)
    site.write("tool", "layers: [{files: {/opt/tool: tool}}]", tool="tool")
    node = site.daemon.start()
    try:
        layer = node.get("/packs/tool.json").json()["layers"][0]
        file = site.daemon.state / "packs" / f"{layer['gzipDigest'].removeprefix('sha256:')}.tar.gz"
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        name = nextflow.target(node, f"{registry.host}/lab/busybox:1", config=config_of(node, "tool"))
        accepted = ", ".join(images.MANIFEST_TYPES)
        wait_for(lambda: node.get(nextflow.manifest_path(name), Accept=accepted).status == 200, "the image", 20)
        assert file.read_bytes() == whole
        assert request("GET", node.url + nextflow.blob_path(name, layer["gzipDigest"])).body == whole
    finally:
        node.stop()
