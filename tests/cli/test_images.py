"""`inspect`, `pull` and `prefetch`, `conda`, `cache`: as a person would call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from lab.command import Wavelet
from lab.grpc_site import Site
from lab.processes import wait_for
from wavelet.cli.image_lists import names_in

pytestmark = [pytest.mark.registry, pytest.mark.conda]


def test_inspecting(wavelet: Wavelet, site: Site) -> None:
    text = wavelet("inspect", site.image).out
    assert site.busybox.digest in text
    assert "linux/amd64" in text
    found = wavelet("inspect", site.image, "-o", "json").json()
    assert found["manifest"] == site.busybox.json()
    assert found["config"]["os"] == "linux"
    assert wavelet("inspect", f"{site.registry.host}/lab/absent:1").code == 4


def test_pulling_goes_on_after_an_image_that_fails(wavelet: Wavelet, site: Site) -> None:
    absent = f"{site.registry.host}/lab/absent:1"
    said = wavelet("pull", absent, site.image)
    assert said.code == 1
    assert said.out == f"{site.image}  {site.busybox.digest}\n"
    assert f"{absent}: refused" in said.err
    assert f"1 of 2 failed: {absent}" in said.err


def test_an_engine_that_is_not_there(wavelet: Wavelet, site: Site) -> None:
    said = wavelet("pull", site.image, "--into", "podman", "--engine-socket", "unix:///absent/podman.sock")
    assert (said.code, said.out) == (4, "")
    assert "refused (--engine-socket): there is no podman here: no socket at /absent/podman.sock" in said.err
    assert wavelet("pull", site.image, "--engine-socket", "unix:///absent/podman.sock").code == 4


def test_lists_of_images(wavelet: Wavelet, site: Site, tmp_path: Path) -> None:
    (tmp_path / "images").write_text(f"# those of the course\n{site.image}\n\n")
    assert [each["image"] for each in wavelet("prefetch", "--file", str(tmp_path / "images"), "-o", "json").json()] == [
        site.image
    ]
    inspected = {"processes": [{"name": "A", "container": f"docker://{site.image}"}, {"name": "B", "container": None}]}
    said = wavelet("pull", "--file", "-", "conda/htslib:1.17", "-o", "yaml", stdin=json.dumps(inspected))
    assert [each["image"] for each in yaml.safe_load(said.out)] == ["conda/htslib:1.17", site.image]
    assert all(each["digest"] and not each["error"] for each in yaml.safe_load(said.out))


def test_what_lists_leave_out() -> None:
    processes = [{"name": name, "container": name} for name in ("/images/a.sif", "https://x.org/b.img", "c:1", "c:1")]
    assert names_in(json.dumps({"processes": processes}), "x") == ["c:1"]


@pytest.mark.parametrize(("arguments", "words"), [([], "no image"), (["--file", "-"], "nextflow inspect")])
def test_nothing_to_pull(wavelet: Wavelet, arguments: list[str], words: str) -> None:
    said = wavelet("pull", *arguments, stdin='{"process": []}')
    assert said.code == 2
    assert words in said.err


def test_solving_locking_and_making(wavelet: Wavelet, site: Site) -> None:
    assert [line.split()[:2] for line in wavelet("conda", "solve", "samtools=1.17").out.splitlines()] == [
        ["package", "version"],
        ["htslib", "1.17"],
        ["samtools", "1.17"],
    ]
    assert "@EXPLICIT" in wavelet("conda", "lock", "samtools=1.17").out
    pixi = wavelet("conda", "lock", "samtools=1.17", "--format", "pixi", "-o", "json").json()
    assert yaml.safe_load(pixi["text"])["environments"]
    assert wavelet("conda", "image", "samtools=1.17").out.startswith(f"{site.node.authority}/wt/")
    assert wavelet("conda", "solve").code == 2
    assert wavelet("conda", "lock", "--token", "0" * 32).code == 4


def test_the_store(wavelet: Wavelet, site: Site) -> None:
    wavelet("pull", site.image)
    listed = {each["name"]: each for each in wavelet("cache", "ls", "-o", "json").json()}
    assert listed[site.image]["digest"] == site.busybox.digest
    assert site.image in _rows(wavelet)
    # Shards of an index that another test has read are written a moment later.
    wait_for(lambda: _listed(wavelet) == _stats(wavelet)["blobs"], "as many blobs in the list as are counted", 10)
    pinned = wavelet("cache", "pin", site.image, "-o", "json").json()
    assert _stats(wavelet)["pinned"] == pinned["size"] > 0
    assert "pinned" in _rows(wavelet)[site.image]
    assert wavelet("cache", "unpin", site.image).out.startswith(f"unpinned {pinned['blobs']} blobs")
    assert wavelet("cache", "gc", "--keep", "50GB").out == "removed 0 blobs, 0 B\n"
    kept = wavelet("cache", "gc", "--keep", "0").out
    assert "store.lease" in kept, "Fault F7: that leases keep what is there was not said"
    assert wavelet("cache", "gc", site.image).code == 0
    assert site.image not in _rows(wavelet)
    assert wavelet("cache", "gc").code == 2
    assert "blobs" in wavelet("cache", "stats").out


def test_frozen_names(wavelet: Wavelet, site: Site) -> None:
    asked = wavelet("resolve", "-i", site.image, "--freeze", "--config-env", "A=1", "-o", "json").json()
    name = asked["targetImage"]
    bare = name.partition("/")[2]
    assert bare.startswith("frozen/lab/busybox:1--")

    def row() -> str:
        return _rows(wavelet)[bare]

    assert "nothing here" in row()
    assert wavelet("cache", "pin", bare).code == 4
    digest = wavelet("pull", name, "-o", "json").json()[0]["digest"]
    assert digest in row()
    assert "nothing here" not in row()
    assert wavelet("inspect", name, "-o", "json").json()["digest"] == digest
    assert bare in wavelet("show", name).out
    for given in (bare, name):
        assert wavelet("cache", "pin", given).code == 0
        assert "pinned" in row()
        assert wavelet("cache", "unpin", given).code == 0
        assert wavelet("cache", "gc", given).code == 0
        assert "nothing here" in row()
        wavelet("pull", name)
    assert wavelet("cache", "rm", name).out == f"{name} is forgotten\n"
    # That it was here is taken from the list a moment later.
    wait_for(lambda: bare not in _rows(wavelet), "a list without the name", 10)
    assert wavelet("pull", name).code == 1
    assert wavelet("cache", "rm", name).code == 4
    other = wavelet("cache", "rm", "local/tool:1")
    assert (other.code, "`wavelet cache gc local/tool:1`" in other.err) == (2, True)


@pytest.mark.parametrize("freeze", [[], ["--freeze"]])
def test_a_digest_behind_a_requests_name_is_held_to(wavelet: Wavelet, site: Site, freeze: list[str]) -> None:
    name = wavelet("resolve", "-i", site.image, "--config-env", "B=1", *freeze, "-o", "json").json()["targetImage"]
    digest = wavelet("pull", name, "-o", "json").json()[0]["digest"]
    assert wavelet("pull", f"{name}@{digest}", "-o", "json").json()[0]["digest"] == digest
    for other in (site.busybox.digest, "sha256:0"):
        for command in (["pull"], ["inspect"], ["resolve", "--name"]):
            assert wavelet(*command, f"{name}@{other}").code != 0, command


def test_a_frozen_image_is_named_by_its_tag(wavelet: Wavelet, site: Site) -> None:
    said = wavelet("pull", f"frozen/lab/busybox@{site.busybox.digest}")
    assert said.code == 1
    assert "say its tag too" in said.err


def _rows(wavelet: Wavelet) -> dict[str, str]:
    """Return each line of the list by its whole name, which may be part of another's."""
    return {line.split()[0]: line for line in wavelet("cache", "ls").out.splitlines()}


def _listed(wavelet: Wavelet) -> int:
    return len(wavelet("cache", "ls", "--blobs", "-o", "json").json())


def _stats(wavelet: Wavelet) -> dict[str, int]:
    return dict(wavelet("cache", "stats", "-o", "json").json())
