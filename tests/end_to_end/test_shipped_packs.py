"""The packs that wavelet comes with, in containers that run: what images lack is there, and whom programs trust."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import images, nextflow
from lab.certificates import Authority
from lab.daemon import Daemon
from lab.engines import Engine, Podman
from lab.registry import Registry
from lab.task_image import with_libraries
from lab.tls_server import serving
from wavelet.image.certificate_paths import BUNDLE, JAVA_STORE

TRACE = Path(__file__).parents[2] / "build/packs/trace"

pytestmark = pytest.mark.registry
made = pytest.mark.skipif(not TRACE.is_dir(), reason="needs the pack trace (make packs)")

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


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Authority]:
    directory = tmp_path_factory.mktemp("authorities")
    return {name: Authority(directory, name) for name in ("site", "image", "stranger")}


@pytest.fixture(scope="module")
def site(authorities: dict[str, Authority], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a node whose site has a certificate, and the pack `trace` where it was made here."""
    directory = tmp_path_factory.mktemp("site")
    (directory / "packs").mkdir()
    if TRACE.is_dir():
        shutil.copytree(TRACE, directory / "packs/trace")
    (directory / "certificates.d").mkdir()
    shutil.copy(authorities["site"].certificate, directory / "certificates.d/site.pem")
    daemon = Daemon(directory / "state", settings={"packs": {"directory": str(directory / "packs")}})
    yield daemon.start()
    daemon.stop()


@made
def test_an_image_with_nothing_in_it_runs_a_task_with_its_trace(
    site: Daemon, registry: Registry, engine: Engine
) -> None:
    image = images.image([images.layer({"data": b"alone", "tmp/": b""})], cmd=["/data"])
    name = nextflow.target(site, registry.push("lab/alone", "1", image), packs=["trace"])
    engine.pull(name)
    said = engine.run(name, "/bin/bash", "-c", WRAPPER).split("\n")
    assert said[0].split() == ["VmPeak", "VmHWM"]
    assert said[1] == "status=3 cpu=1 on Linux 5"


@made
@pytest.mark.podman
def test_an_image_keeps_what_it_has(site: Daemon, registry: Registry, podman: Podman) -> None:
    base = images.busybox(images.layer({"bin/ps": b"#!/bin/sh\necho own ps\n"}, executable=["bin/ps"]))
    name = nextflow.target(site, registry.push("lab/own-ps", "1", base), packs=["trace"])
    podman.pull(name)
    assert podman.run(name, "/bin/bash", "-c", "ps; echo $BASH | tr a-z A-Z; readlink /bin/cat") == (
        "own ps\n/BIN/BASH\nbusybox\n"
    )


@pytest.mark.podman
def test_programs_trust_the_site_and_whom_the_image_trusts(
    site: Daemon, registry: Registry, podman: Podman, authorities: dict[str, Authority]
) -> None:
    bundle = {"etc/ssl/certs/ca-certificates.crt": authorities["image"].certificate.read_bytes()}
    programs = with_libraries("curl") | with_libraries("openssl")
    layer = images.layer({**programs, **bundle}, executable=programs, level=1)
    source = registry.push("lab/tls", "1", images.busybox(layer, env=["PATH=/bin", "JAVA_TOOL_OPTIONS=-Xmx64m"]))
    layers = site.get("/packs/ca.json").json()["layers"]
    changed = nextflow.target(site, source, packs=["ca"])
    without_variables = nextflow.target(site, source, config={"layers": layers})
    for name in (source, changed, without_variables):
        podman.pull(name)
    assert podman.run(changed, "sh", "-c", "echo $SSL_CERT_FILE $JAVA_TOOL_OPTIONS").split() == [
        f"/{BUNDLE}",
        "-Xmx64m",
        f"-Djavax.net.ssl.trustStore=/{JAVA_STORE}",
    ]
    with (
        serving(authorities["site"]) as port,
        serving(authorities["image"]) as others,
        serving(authorities["stranger"]) as strangers,
    ):
        script = (
            f"for port in {port} {others} {strangers}; do"
            " curl -sS https://127.0.0.1:$port/ 2>/dev/null || echo no; echo;"
            " openssl s_client -connect 127.0.0.1:$port -verify_return_error </dev/null >/dev/null 2>&1 && echo yes"
            " || echo no; done"
        )
        assert podman.run(changed, "sh", "-c", script).split() == ["hello", "yes", "hello", "yes", "no", "no"]
        # curl reads the distribution's file, which has the site's certificates too; openssl reads another one.
        assert podman.run(without_variables, "sh", "-c", script).split()[::2] == ["hello", "hello", "no"]
        assert podman.run(source, "sh", "-c", script).split()[::2] == ["no", "hello", "no"]
