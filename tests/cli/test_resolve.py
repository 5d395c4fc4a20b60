"""`wavelet resolve` and what shows what it has named."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from doubles.grpc_daemon import GrpcDaemon
from lab import conda_asks
from lab.command import Wavelet
from lab.grpc_site import Site
from lab.http import get
from wavelet.v1.containers_pb2 import ResolveRequest, ResolveResponse

pytestmark = [pytest.mark.registry, pytest.mark.conda]


def test_a_name_is_all_that_is_printed(wavelet: Wavelet, site: Site) -> None:
    said = wavelet("resolve", "--image", site.image, "--config-env", "GREETING=hello", "--config-working-dir", "/data")
    assert (said.code, said.err) == (0, "")
    name = said.out.removesuffix("\n")
    assert name.startswith(f"{site.node.authority}/wt/")
    config = conda_asks.config(site.node, name)["config"]
    assert "GREETING=hello" in config["Env"]
    assert config["WorkingDir"] == "/data"


def test_the_same_in_json_and_yaml(wavelet: Wavelet, site: Site) -> None:
    asked = "resolve", "-i", site.image, "--config-cmd", "echo", "--config-cmd", "a b", "-o"
    found = wavelet(*asked, "json").json()
    assert found["state"] == "ready"
    assert found["sourceDigest"] == site.busybox.digest
    assert yaml.safe_load(wavelet(*asked, "yaml").out) == found | {"expiration": _any_text()}
    assert conda_asks.config(site.node, found["targetImage"])["config"]["Cmd"] == ["echo", "a b"]


def test_a_configuration_from_a_file_and_options_over_it(wavelet: Wavelet, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"entrypoint": ["/from-file"], "env": ["A=file"], "workingDir": "/file"}))
    name = wavelet("resolve", "-i", site.image, "--config-file", str(file), "--config-entrypoint", "/mine").out.strip()
    config = conda_asks.config(site.node, name)["config"]
    assert config["Entrypoint"] == ["/mine"]
    assert config["WorkingDir"] == "/file"
    file.write_text('{"entrypoit": []}')
    said = wavelet("resolve", "-i", site.image, "--config-file", str(file))
    assert said.code == 2
    assert "entrypoit" in said.err


def test_a_directory_becomes_a_layer_that_time_does_not_change(wavelet: Wavelet, site: Site, tmp_path: Path) -> None:
    program = tmp_path / "usr" / "bin" / "hello"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    (tmp_path / "usr" / "bin" / "again").symlink_to("hello")
    name = wavelet("resolve", "-i", site.image, "--layer", str(tmp_path)).out.strip()
    os.utime(program, (1, 1))
    assert wavelet("resolve", "-i", site.image, "--layer", str(tmp_path)).out.strip() == name
    with tarfile.open(fileobj=io.BytesIO(conda_asks.layers(site.node, name)[-1])) as tar:
        members = {member.name: member for member in tar}
    assert list(members) == ["usr", "usr/bin", "usr/bin/again", "usr/bin/hello"]
    assert members["usr/bin/again"].linkname == "hello"
    assert members["usr/bin/hello"].mode == 0o755
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}


def test_packs_and_labels_of_the_request(wavelet: Wavelet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with GrpcDaemon(tmp_path) as server:
        monkeypatch.setenv("WAVELET_SOCKET", server.target.removeprefix("unix:"))
        server.answers["Resolve"] = [[ResolveResponse(target_image="a")]]
        asked = (
            "resolve",
            "-i",
            "busybox",
            "--pack",
            "ca",
            "--pack",
            "trace@1.2",
            "--label",
            "team=a=b",
            "--label",
            "x=",
        )
        assert wavelet(*asked).out == "a\n"
        said = ResolveRequest.FromString(server.requests["Resolve"])
    assert (list(said.packs), dict(said.labels)) == (["ca", "trace@1.2"], {"team": "a=b", "x": ""})
    refused = wavelet("resolve", "-i", "busybox", "--label", "team")
    assert (refused.code, "'team' is not NAME=VALUE" in refused.err) == (2, True)


def test_a_layer_that_is_too_large_or_none(wavelet: Wavelet, site: Site, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(10_600_000))
    said = wavelet("resolve", "-i", site.image, "--layer", str(tmp_path))
    assert said.code == 2
    assert "fit into a request" in said.err
    os.mkfifo(tmp_path / "a-pipe")
    assert "a-pipe is no file" in wavelet("resolve", "-i", site.image, "--layer", str(tmp_path)).err
    assert wavelet("resolve", "-i", site.image, "--layer", str(tmp_path / "noise")).code == 2


def test_awaiting_packages_shows_how_it_goes(wavelet: Wavelet, site: Site) -> None:
    site.channel.fault(r"awaited-.*\.conda", delay=0.5)
    said = wavelet("resolve", "--conda-package", "awaited", "--conda-package", "htslib", "--await", "30s")
    assert said.code == 0
    assert said.out.endswith("\n")
    assert said.out.count("\n") == 1
    assert "solving for packages" in said.err
    assert "awaited-1.0-h0_0.conda" in said.err
    shown = wavelet("show", said.out.strip())
    assert "awaited-1.0-h0_0.conda" in shown.out
    token = said.out.split("/")[2]
    assert f"wavelet conda lock --token {token}" in shown.out
    assert wavelet("show", f"bd-{token}_0").out == shown.out
    assert "/awaited-1.0-h0_0.conda" in wavelet("conda", "lock", "--token", token).out
    asked = wavelet("token", "describe", token, "-o", "json").json()["request"]
    for same in (f"bd-{token}_0", f"127.0.0.1:9090/wt/{token}/library/busybox:1"):  # Fault F7: only `show` took these
        assert wavelet("token", "describe", same, "-o", "json").json()["request"] == asked
    assert asked["packages"]["entries"] == ["awaited", "htslib"]


def test_files_of_packages(wavelet: Wavelet, site: Site, tmp_path: Path) -> None:
    environment = "channels: [conda-forge]\ndependencies: [htslib=1.17]\n"
    (tmp_path / "environment.yml").write_text(environment)
    from_file = wavelet("resolve", "--conda-file", str(tmp_path / "environment.yml"))
    assert from_file.code == 0, from_file.err
    assert wavelet("resolve", "--conda-file", "-", stdin=environment).out == from_file.out
    absent = wavelet("resolve", "--conda-file", str(tmp_path / "absent.yml"))
    assert (absent.code, "absent.yml cannot be read" in absent.err) == (2, True)


@pytest.mark.parametrize(("option", "code"), [("--conda-file", 2), ("--containerfile", 4)])
def test_a_file_with_nothing_in_it_is_named_by_its_option(wavelet: Wavelet, option: str, code: int) -> None:
    """Another option was blamed: `--image`, or `--conda-package`."""
    said = wavelet("resolve", option, "/dev/null")
    assert said.code == code
    assert option in said.err
    assert "--image" not in said.err
    assert "--conda-package" not in said.err


def test_a_name_by_itself(wavelet: Wavelet, site: Site) -> None:
    assert wavelet("resolve", "--name", "conda/htslib:1.17").out.strip() == f"{site.node.authority}/conda/htslib:1.17"


def test_a_name_that_lasts(wavelet: Wavelet, site: Site) -> None:
    found = wavelet("resolve", "-i", site.image, "--freeze", "-o", "json").json()
    assert found["targetImage"] == f"{site.node.authority}/frozen/lab/busybox:1--{found['token']}"
    assert found["remote"] is False
    asked = wavelet("token", "describe", found["targetImage"], "-o", "json").json()["request"]
    assert asked["freeze"] is True
    again = wavelet("resolve", "-i", site.image, "-F", "--name-strategy", "tagPrefix").out
    assert again.startswith(f"{site.node.authority}/frozen/build:busybox-1--")


def test_a_sif_has_a_name_for_apptainer(wavelet: Wavelet, site: Site) -> None:
    moving = wavelet("resolve", "-i", site.image, "--singularity", "-o", "json").json()
    assert moving["targetImage"] == f"oras://{site.node.authority}/wt/{moving['token']}/lab/busybox:1"
    frozen = wavelet("resolve", "-i", site.image, "--freeze", "-s", "-o", "json").json()
    assert frozen["targetImage"] == f"oras://{site.node.authority}/frozen/lab/busybox:1--{frozen['token']}"
    assert (frozen["notes"], frozen["remote"]) == ([], False)


def test_what_goes_to_a_registry_is_waited_for(wavelet: Wavelet, site: Site) -> None:
    to = f"{site.registry.host}/kept"
    said = wavelet("resolve", "--conda-package", "htslib=1.17", "--freeze", "--build-repo", to)
    assert said.code == 0, said.err
    name = said.out.strip()
    assert name.startswith(f"{to}:htslib-1.17--")
    url = f"{site.registry.url}/v2/kept/manifests/{name.removeprefix(f'{to}:')}"
    assert get(url, accept="application/vnd.oci.image.manifest.v1+json").status == 200


def test_a_registry_that_refuses_what_goes_there(wavelet: Wavelet, site: Site) -> None:
    said = wavelet("resolve", "-i", site.image, "--mirror", "--build-repo", site.private.host)
    assert (said.code, said.out) == (4, "")
    assert f"refused (--build-repo): buildRepository: {site.private.host}/lab/busybox: " in said.err
    assert "asked as: anonymous" in said.err and "right to push" in said.err


def test_a_token_is_forgotten(wavelet: Wavelet, site: Site) -> None:
    token = wavelet("resolve", "-i", site.image, "--config-env", "FOR=getting", "-o", "json").json()["token"]
    assert wavelet("token", "evict", token).code == 0
    said = wavelet("token", "describe", token)
    assert said.code == 4
    assert said.err.startswith("wavelet: refused")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-i", "UPPER/Case"], 4, "refused (--image): containerImage"),
        (["-i", "busybox", "--freeze", "--build-repo", "reg.io/lab:1"], 4, "refused (--build-repo): buildRepository"),
        (["-i", "busybox", "--freeze", "--name-strategy", "suffix"], 2, "none of none, tagPrefix, imageSuffix"),
        (["-i", "busybox", "--mirror"], 4, "refused (--build-repo): buildRepository: is missing"),
        (["-i", "busybox", "--mirror", "--freeze", "--build-repo", "reg.io/lab"], 4, "refused (--freeze)"),
        (["--conda-package", "no-such-package"], 4, "no-such-package"),
        (["-i", "busybox", "--name", "x"], 2, "give one of --image"),
        ([], 2, "give one of --image"),
        (["-i", "busybox", "--await", "soon"], 2, "'soon' is not a time"),
        (["-i", "busybox", "--dry-run", "--await"], 2, "--dry-run"),
        (["-i", "busybox", "--socket", "/absent/wavelet.sock"], 3, "no wavelet daemon answers at /absent/wavelet.sock"),
    ],
)
def test_errors_are_a_sentence_and_a_code(wavelet: Wavelet, arguments: list[str], code: int, words: str) -> None:
    said = wavelet("resolve", *arguments)
    assert (said.code, said.out) == (code, "")
    assert words in said.err
    assert "Traceback" not in said.err


def test_a_registry_that_does_not_answer(wavelet: Wavelet) -> None:
    absent = "127.0.0.1:1/lab/busybox:1"
    named = wavelet("resolve", "-i", absent)
    assert named.code == 1
    assert "wavelet: failed, and a pull of it fails too: cannot reach 127.0.0.1:1" in named.err
    awaited = wavelet("resolve", "-i", absent, "--await", "3s")
    assert (awaited.code, awaited.out) == (1, "")
    assert "cannot reach 127.0.0.1:1" in awaited.err


def _any_text() -> Any:
    class AnyText:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, str)

        __hash__ = None  # type: ignore[assignment]

    return AnyText()
