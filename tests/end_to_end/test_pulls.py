"""The main job: ask as Nextflow does, pull the answered name with a real engine, run it, look at what is inside."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import tarfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import images, nextflow
from lab.daemon import Daemon
from lab.engines import Docker, Engine, skopeo
from lab.http import request
from lab.registry import Registry

pytestmark = pytest.mark.registry

REPORT = b'#!/bin/sh\necho "$WAVE_ENTRY_CHAIN|$LAB|$OWN|$PWD|$*|$(cat /opt/data.txt)"\n'
BUNDLE = images.layer({"opt/report.sh": REPORT, "opt/data.txt": b"from the bundle\n"}, executable=["opt/report.sh"])


def manifest(node: Daemon, name: str) -> dict[str, object]:
    answer = node.get(nextflow.manifest_path(name), Accept=", ".join(images.MANIFEST_TYPES))
    assert answer.status == 200, answer.body
    assert answer.headers["docker-content-digest"] == images.sha256(answer.body)
    return dict(answer.json())


@pytest.mark.parametrize("family", [images.DOCKER, images.OCI])
def test_added_layer_entry_point_environment_and_directory(
    node: Daemon, registry: Registry, engine: Engine, family: str
) -> None:
    base = images.busybox(family=family, entrypoint=["/bin/entry", "first"], env=["PATH=/bin", "OWN=base", "LAB=base"])
    source = registry.push(f"lab/entry-{family}", "1", base)
    config = {
        "entrypoint": ["/opt/report.sh"],
        "cmd": ["one", "two words"],
        "env": ["LAB=asked"],
        "workingDir": "/opt",
        "layers": [BUNDLE.in_request()],
    }
    name = nextflow.target(node, source, config=config)
    assert name.startswith(f"{node.authority}/wt/")
    engine.pull(name)
    assert engine.run(name) == '["/bin/entry","first"]|asked|base|/opt|one two words|from the bundle\n'


@pytest.mark.docker
def test_a_single_entry_point_is_chained_as_it_is(node: Daemon, registry: Registry, docker: Docker) -> None:
    source = registry.push("lab/single", "1", images.busybox(entrypoint=["/bin/entry"]))
    name = nextflow.target(node, source, config={"entrypoint": ["/opt/report.sh"], "layers": [BUNDLE.in_request()]})
    docker.pull(name)
    assert docker.run(name).startswith("/bin/entry|")


def merged_usr(family: str) -> images.Image:
    """Return an image as distributions make them: what is in /bin is in /usr/bin."""
    busybox = images.busybox_layer()
    with tarfile.open(fileobj=io.BytesIO(busybox.tar)) as tar:
        program = tar.extractfile("bin/busybox").read()  # type: ignore[union-attr]
    names = ("sh", "cat", "ls", "readlink")
    files: dict[str, bytes | str] = {f"usr/bin/{name}": "busybox" for name in names}
    files |= {"usr/bin/busybox": program, "bin": "usr/bin", "lib": "/usr/lib", "usr/lib/": b"", "run/": b""}
    below = images.layer(files, executable=["usr/bin/busybox"])
    return images.image([below, images.layer({"usr/sbin": "bin", "etc/one": b"1"})], env=["PATH=/bin"], family=family)


@pytest.mark.parametrize("family", [images.DOCKER, images.OCI])
def test_a_layer_with_a_directory_where_the_image_has_a_link(
    node: Daemon, registry: Registry, engine: Engine, family: str
) -> None:
    """Fault E11: the programs of the image start, and what was added is where it was asked for."""
    source = registry.push(f"lab/merged-{family}", "1", merged_usr(family))
    added = images.layer(
        {"bin/x": b"#!/bin/sh\necho added\n", "lib/sub/y": b"y", "usr/sbin/z": b"z", "usr/bin/other": "x"},
        executable=["bin/x"],
    )
    name = nextflow.target(node, source, config={"layers": [added.in_request(), BUNDLE.in_request()]})
    engine.pull(name)
    assert engine.run(name, "/bin/sh", "-c", "x; other; readlink /bin; cat /lib/sub/y /usr/bin/z /opt/data.txt") == (
        "added\nadded\nusr/bin\nyzfrom the bundle\n"
    )
    document = manifest(node, name)
    assert document["layers"][-1]["digest"] == BUNDLE.digest  # type: ignore[index]
    assert document["layers"][-2]["digest"] != added.digest  # type: ignore[index]


def test_a_layer_with_directories_of_the_images_own_stays_as_it_is(node: Daemon, registry: Registry) -> None:
    added = images.layer({"bin/x": b"x", "lib/y": b"y"})
    name = nextflow.target(node, f"{registry.host}/lab/busybox:1", config={"layers": [added.in_request()]})
    assert manifest(node, name)["layers"][-1]["digest"] == added.digest  # type: ignore[index]


@pytest.mark.docker
def test_an_image_that_is_not_changed_keeps_its_digest(node: Daemon, registry: Registry, docker: Docker) -> None:
    digest = images.busybox().digest
    name = nextflow.target(node, f"{registry.host}/lab/busybox:1")
    docker.pull(name)
    assert docker.digest(name) == digest
    assert docker.run(name, "echo", "it runs") == "it runs\n"


@pytest.mark.docker
def test_the_route_of_old_versions(node: Daemon, registry: Registry, docker: Docker) -> None:
    fields = {"containerImage": f"{registry.host}/lab/busybox:1", "config": {"layers": [BUNDLE.in_request()]}}
    answer = nextflow.ask(node, path="/container-token", containerPlatform=None, **fields)
    assert answer.get("buildId") is None
    docker.pull(answer["targetImage"])
    assert docker.run(answer["targetImage"], "cat", "/opt/data.txt") == "from the bundle\n"


@pytest.mark.parametrize("family", [images.DOCKER, images.OCI])
def test_media_types_stay_in_their_family(node: Daemon, registry: Registry, family: str) -> None:
    base = images.busybox(family=family)
    name = nextflow.target(
        node, registry.push(f"lab/family-{family}", "1", base), config={"layers": [BUNDLE.in_request()]}
    )
    document = manifest(node, name)
    assert document["mediaType"] == base.media_type
    types = {layer["mediaType"] for layer in document["layers"]}  # type: ignore[attr-defined]
    assert types == {base.json()["layers"][0]["mediaType"]}


@pytest.mark.parametrize("family", [images.DOCKER, images.OCI])
def test_a_platform_of_an_index(node: Daemon, registry: Registry, engine: Engine, family: str) -> None:
    source = registry.push(f"lab/multi-{family}", "1", images.two_architectures(family))
    name = nextflow.target(node, source, config={"layers": [BUNDLE.in_request()]})
    engine.pull(name)
    assert engine.run(name, "/bin/cat", "/arch") == "amd64\n"
    assert engine.run(name, "/bin/cat", "/opt/data.txt") == "from the bundle\n"


def test_another_platform_of_an_index(node: Daemon, registry: Registry) -> None:
    source = registry.push("lab/multi", "1", images.two_architectures())
    name = nextflow.target(node, source, containerPlatform="linux/arm64", config={"layers": [BUNDLE.in_request()]})
    document = manifest(node, name)
    config = node.get(nextflow.blob_path(name, document["config"]["digest"])).json()  # type: ignore[index]
    assert config["architecture"] == "arm64"
    assert config["rootfs"]["diff_ids"][-1] == BUNDLE.diff_id


@pytest.mark.docker
def test_several_platforms_are_an_index_of_exactly_those(node: Daemon, registry: Registry, docker: Docker) -> None:
    source = registry.push("lab/multi-both", "1", images.two_architectures(images.OCI))
    platforms = "linux/amd64,linux/arm64"
    name = nextflow.target(node, source, containerPlatform=platforms, config={"layers": [BUNDLE.in_request()]})
    entries = manifest(node, name)["manifests"]
    assert [entry["platform"]["architecture"] for entry in entries] == ["amd64", "arm64"]  # type: ignore[attr-defined]
    for entry in entries:  # type: ignore[attr-defined]
        member = manifest(node, f"{name.rpartition(':')[0]}@{entry['digest']}")
        assert member["layers"][-1]["digest"] == BUNDLE.digest  # type: ignore[index]
    docker.pull(name)
    assert docker.run(name, "cat", "/arch", "/opt/data.txt") == "amd64\nfrom the bundle\n"


def test_a_platform_that_the_image_does_not_have(node: Daemon, registry: Registry) -> None:
    source = registry.push("lab/multi", "1", images.two_architectures())
    answer = nextflow.post(node, containerImage=source, containerPlatform="linux/arm/v7")
    assert 400 <= answer.status < 500
    assert "arm" in answer.json()["message"]


def test_a_pinned_image_without_changes_keeps_its_digest(node: Daemon, registry: Registry, engine: Engine) -> None:
    digest = images.busybox().digest
    name = nextflow.target(node, f"{registry.host}/lab/busybox@{digest}")
    assert name.endswith(f"/lab/busybox@{digest}")
    engine.pull(name)
    assert engine.run(name, "/bin/echo", "pinned") == "pinned\n"


def test_a_pinned_image_with_changes_is_named_by_a_tag(node: Daemon, registry: Registry, engine: Engine) -> None:
    digest = images.busybox().digest
    config = {"layers": [BUNDLE.in_request()]}
    name = nextflow.target(node, f"{registry.host}/lab/busybox@{digest}", config=config)
    assert name.endswith(f"/lab/busybox:sha256-{digest.removeprefix('sha256:')[:12]}")
    engine.pull(name)
    assert engine.run(name, "/bin/cat", "/opt/data.txt") == "from the bundle\n"


def test_equal_requests_have_equal_names(node: Daemon, registry: Registry) -> None:
    source = f"{registry.host}/lab/busybox:1"
    config = {"layers": [BUNDLE.in_request()], "env": ["B=2", "A=1"]}
    first = nextflow.target(node, source, config=config)
    assert nextflow.target(node, source, config=config, fingerprint="0" * 32, workflowId="abc") == first
    assert nextflow.target(node, source, config=config | {"env": ["A=other"]}) != first


@pytest.mark.docker
def test_layers_of_other_images_are_included(node: Daemon, registry: Registry, docker: Docker) -> None:
    tools = [images.layer({f"tools/{name}": name.encode()}) for name in ("one", "two")]
    included = registry.push("lab/deep/er/path/tools", "1", images.image(tools))
    name = nextflow.target(node, f"{registry.host}/lab/busybox:1", containerIncludes=[included])
    docker.pull(name)
    assert docker.run(name, "cat", "/tools/one", "/tools/two") == "onetwo"


@pytest.mark.docker
def test_a_deflated_layer(node: Daemon, registry: Registry, docker: Docker) -> None:
    layer = images.layer({"deflated": b"and inflated again\n"})
    location = "gzip:" + base64.b64encode(zlib.compress(layer.blob)).decode()
    name = nextflow.target(node, f"{registry.host}/lab/busybox:1", config={"layers": [layer.in_request(location)]})
    docker.pull(name)
    assert docker.run(name, "cat", "/deflated") == "and inflated again\n"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Return the URL and directory of a web server on loopback."""
    directory = tmp_path / "web"
    directory.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", directory
        server.shutdown()
        thread.join(10)


@pytest.mark.docker
def test_a_layer_by_url_is_fetched_once_and_kept(
    node: Daemon, registry: Registry, docker: Docker, web: tuple[str, Path]
) -> None:
    url, directory = web
    layer = images.layer({"remote": b"from the web\n"})
    served = directory / "layer.tar.gz"
    served.write_bytes(layer.blob)
    name = nextflow.target(
        node, f"{registry.host}/lab/busybox:1", config={"layers": [layer.in_request(f"{url}/layer.tar.gz")]}
    )
    docker.pull(name)
    assert docker.run(name, "cat", "/remote") == "from the web\n"
    docker.remove(name)
    served.unlink()
    blob = node.get(nextflow.blob_path(name, layer.digest))
    assert (blob.status, blob.body) == (200, layer.blob)


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known under another name"])
def test_a_layer_that_is_not_what_the_request_says(
    node: Daemon, registry: Registry, web: tuple[str, Path], known: bool
) -> None:
    url, directory = web
    (directory / "layer.tar.gz").write_bytes(b"something else")
    layer = images.layer({f"claimed-{known}": b"the store may have it, the location has not\n"})
    if known:
        other = nextflow.target(node, f"{registry.host}/lab/busybox:1", config={"layers": [layer.in_request()]})
        assert node.get(nextflow.manifest_path(other)).status == 200
    source = registry.push("lab/claimed", "1", images.busybox(env=["PATH=/bin", "CLAIMED=1"]))
    layers = [layer.in_request(f"{url}/layer.tar.gz")]
    answer = nextflow.post(node, containerImage=source, config={"layers": layers})
    assert 400 <= answer.status < 500
    assert "layer" in answer.json()["message"]


@pytest.mark.skopeo
@pytest.mark.parametrize("family", [images.DOCKER, images.OCI])
def test_skopeo_copies_what_was_asked_for(node: Daemon, registry: Registry, tmp_path: Path, family: str) -> None:
    source = registry.push(f"lab/skopeo-{family}", "1", images.busybox(family=family))
    name = nextflow.target(node, source, config={"layers": [BUNDLE.in_request()], "env": ["LAB=asked"]})
    seen = skopeo("inspect", "--tls-verify=false", f"docker://{name}")
    assert seen["Layers"][-1] == BUNDLE.digest
    assert "LAB=asked" in seen["Env"]
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/copy")
    assert (tmp_path / "copy" / BUNDLE.digest.removeprefix("sha256:")).read_bytes() == BUNDLE.blob


def test_status_of_a_request(node: Daemon, registry: Registry) -> None:
    answer = nextflow.ask(node, containerImage=f"{registry.host}/lab/busybox:1")
    status = node.get(f"/v1alpha2/container/{answer['requestId']}/status").json()
    assert status["status"] == "DONE"
    assert status["succeeded"] is True
    assert status["creationTime"].endswith("Z")


@pytest.mark.docker
def test_an_image_that_does_not_exist(node: Daemon, registry: Registry, docker: Docker) -> None:
    answer = nextflow.post(node, containerImage=f"{registry.host}/lab/nothing:1")
    assert 400 <= answer.status < 500
    assert "lab/nothing" in answer.json()["message"]
    told = docker.pull_error(f"{node.authority}/{registry.host.replace(':', '_')}/lab/nothing:1")
    assert "not found" in told or "unknown" in told


def test_a_registry_that_does_not_answer(node: Daemon, free_port: int) -> None:
    answer = nextflow.post(node, containerImage=f"127.0.0.1:{free_port}/lab/busybox:1")
    assert answer.status == 200
    assert answer.json().get("succeeded") is None
    pulled = node.get(nextflow.manifest_path(answer.json()["targetImage"]))
    assert pulled.status in (502, 503)
    assert f"127.0.0.1:{free_port}" in json.dumps(pulled.json())


def test_a_request_from_a_browser_is_refused(node: Daemon) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        assert 400 <= request("GET", f"{node.url}/v2/", headers=headers).status < 500
