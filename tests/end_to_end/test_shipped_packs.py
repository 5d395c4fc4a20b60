"""The packs that wavelet comes with, in containers that run: what images lack is there, and whom programs trust."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import images, nextflow
from lab.certificates import Authority
from lab.daemon import Daemon
from lab.engines import Engine, Podman
from lab.registry import Registry
from lab.task_image import with_libraries
from lab.tls_server import serving
from wavelet.image.certificate_paths import ENVIRONMENT
from wavelet.packs.building import build
from wavelet.packs.reading import read_pack

TRACE = Path(__file__).parents[2] / "build/packs/trace"

WRAPPER = """\
set -e -u
watch() {
    local parents=()
    while read -t 5 -r done || true; do
        while read process parent; do parents[$process]=$parent; done < <(ps -e -o pid= -o ppid=)
        [[ ${parents[$1]:-} ]] && grep -E 'VmPeak|VmHWM' /proc/$1/status | sed 's/:.*//' | tr '\\n' ' ' | tee /tmp/x
        [[ $done ]] && break
    done
}
command -v ps > /dev/null
bash -c 'sleep 0.3; exit 3' &
task=$!
exec 11> >(watch $task)
watching=$!
echo DONE >&11
wait $task || status=$?
wait $watching || true
echo; echo "status=$status cpu=$(awk '/^cpu /{print (NF > 4)}' /proc/stat) on $(uname) $(date +%Y | wc -c)"
"""
"""What Nextflow's wrapper needs of an image: processes and their parents by ps, process substitution, /proc read."""


def inline(directory: Path, document: str, into: Path, architecture: str | None = None) -> images.Layer:
    """Return the layer of a pack for an architecture, built as the daemon builds it."""
    layers = build(directory, read_pack(document, "packs/x/pack.yaml", "x"), {}, into)
    [layer] = [each for each in layers if each.architecture == architecture]
    return images.from_blob(layer.file.read_bytes())


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> images.Layer:
    if not TRACE.is_dir():
        pytest.skip("needs the pack trace (make packs)")
    return inline(TRACE, (TRACE / "pack.yaml").read_text(), tmp_path_factory.mktemp("trace"), "amd64")


@pytest.mark.registry
def test_an_image_with_nothing_in_it_runs_a_task_with_its_trace(
    node: Daemon, registry: Registry, engine: Engine, trace: images.Layer
) -> None:
    image = images.image([images.layer({"data": b"alone", "tmp/": b""})], cmd=["/data"])
    name = nextflow.target(node, registry.push("lab/alone", "1", image), config={"layers": [trace.in_request()]})
    engine.pull(name)
    said = engine.run(name, "/bin/bash", "-c", WRAPPER).split("\n")
    assert said[0].split() == ["VmPeak", "VmHWM"]
    assert said[1] == "status=3 cpu=1 on Linux 5"


@pytest.mark.registry
@pytest.mark.podman
def test_an_image_keeps_what_it_has(node: Daemon, registry: Registry, podman: Podman, trace: images.Layer) -> None:
    base = images.busybox(images.layer({"bin/ps": b"#!/bin/sh\necho own ps\n"}, executable=["bin/ps"]))
    name = nextflow.target(node, registry.push("lab/own-ps", "1", base), config={"layers": [trace.in_request()]})
    podman.pull(name)
    assert podman.run(name, "/bin/bash", "-c", "ps; echo $BASH | tr a-z A-Z; readlink /bin/cat") == (
        "own ps\n/BIN/BASH\nbusybox\n"
    )


@pytest.mark.registry
@pytest.mark.podman
def test_programs_trust_the_site_and_whom_the_image_trusts(
    node: Daemon, registry: Registry, podman: Podman, tmp_path: Path
) -> None:
    site, other, stranger = (Authority(tmp_path, name) for name in ("site", "other", "stranger"))
    bundle = {"etc/ssl/certs/ca-certificates.crt": other.certificate.read_bytes()}
    programs = with_libraries("curl") | with_libraries("openssl")
    base = images.busybox(images.layer({**programs, **bundle}, executable=programs))
    source = registry.push("lab/tls", "1", base)
    (tmp_path / "built").mkdir()
    added = inline(tmp_path, "certificates: [site/ca.pem]", tmp_path / "built")
    changed = nextflow.target(node, source, config={"layers": [added.in_request()], "env": list(ENVIRONMENT)})
    plain = nextflow.target(node, source, config={"layers": [added.in_request()]})
    for name in (source, changed, plain):
        podman.pull(name)
    with serving(site) as port, serving(other) as others, serving(stranger) as strangers:
        script = (
            f"for port in {port} {others} {strangers}; do"
            " curl -sS https://127.0.0.1:$port/ 2>/dev/null || echo no; echo;"
            " openssl s_client -connect 127.0.0.1:$port -verify_return_error </dev/null >/dev/null 2>&1 && echo yes"
            " || echo no; done"
        )
        assert podman.run(changed, "sh", "-c", script).split() == ["hello", "yes", "hello", "yes", "no", "no"]
        # curl reads the distribution's file, which has the site's certificates too; openssl reads another one.
        assert podman.run(plain, "sh", "-c", script).split()[::2] == ["hello", "hello", "no"]
        assert podman.run(source, "sh", "-c", script).split()[::2] == ["no", "hello", "no"]
