"""`wavelet mirror`: lists of images copied to registries, as a person would call it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from lab import images
from lab.command import Wavelet
from lab.grpc_site import Site
from lab.http import Answer, get
from lab.processes import wait_for
from lab.registry import PASSWORDS, Registry

pytestmark = [pytest.mark.registry, pytest.mark.conda]


@pytest.fixture
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Return an empty registry."""
    registry = Registry(tmp_path_factory.mktemp("target"))
    registry.start()
    yield registry
    registry.stop()


def manifest(registry: Registry, repository: str, tag: str) -> Answer:
    return get(f"{registry.url}/v2/{repository}/manifests/{tag}", accept=", ".join(images.MANIFEST_TYPES))


def audit(site: Site) -> str:
    return (site.node.state / "audit.log").read_text("utf-8")


def test_images_are_copied_and_not_sent_again(wavelet: Wavelet, site: Site, target: Registry) -> None:
    release = images.two_architectures(images.OCI)
    name = site.registry.push("lab/release", "1", release)
    planned = wavelet("mirror", name, site.image, "--to", f"{target.host}/team", "--dry-run", "-o", "json").json()
    assert manifest(target, "team/lab/release", "1").status == 404
    said = wavelet("mirror", name, site.image, "--to", f"{target.host}/team")
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        f"{name}  {target.host}/team/lab/release:1  {release.digest}",
        f"{site.image}  {target.host}/team/lab/busybox:1  {site.busybox.digest}",
    ]
    [told] = re.findall(rf"^{name}: .* sent \(blobs: (\d+), manifests: 3\)$", said.err, re.MULTILINE)
    assert int(told) <= planned[0]["blobs"], "what both have in common is sent once, by either"
    assert manifest(target, "team/lab/release", "1").body == release.document
    for member in release.members:
        assert manifest(target, "team/lab/release", member.digest).status == 200
    wait_for(
        lambda: f'"decision":"mirrored","door":"grpc","uid":0,"name":"{target.host}' in audit(site), "its line", 10
    )
    again = wavelet("mirror", name, "--to", f"{target.host}/team", "-o", "json")
    assert f"{name}: there already" in again.err
    assert again.json() == [
        {
            "image": name,
            "target": f"{target.host}/team/lab/release:1",
            "digest": release.digest,
            "bytes": 0,
            "blobs": 0,
            "manifests": 0,
            "error": None,
        }
    ]


def test_what_would_be_sent(wavelet: Wavelet, site: Site, target: Registry) -> None:
    said = wavelet("mirror", site.image, "conda/htslib:1.17", "--to", target.host, "--dry-run")
    assert said.code == 0, said.err
    head, *rows, total = said.out.splitlines()
    assert head.split() == ["image", "target", "blobs", "bytes"]
    assert [row.split()[1] for row in rows] == [f"{target.host}/lab/busybox:1", f"{target.host}/conda/htslib:1.17"]
    assert int(total.split()[5]) == sum(int(row.split()[2]) for row in rows)
    assert "to be sent (blobs: " in said.err


def test_names_of_this_daemon_are_copied_too(wavelet: Wavelet, site: Site, target: Registry) -> None:
    frozen = wavelet("resolve", "--conda-package", "htslib=1.17", "--freeze").out.strip()
    changed = wavelet("resolve", "-i", site.image, "--config-env", "A=mirrored").out.strip()
    plain = wavelet("resolve", "-i", site.image).out.strip()
    said = wavelet("mirror", frozen, changed, plain, "conda/htslib:1.17", "--to", f"{target.host}/kept", "-o", "json")
    # Of two images that would have one name, the first is copied.
    assert said.code == 1
    first, second, third, fourth = json.loads(said.out)
    assert first["target"] == f"{target.host}/kept/{frozen.partition('/frozen/')[2]}"
    assert second["target"] == f"{target.host}/kept/lab/busybox:1"
    assert "becomes" in third["error"]["message"] and "refused (--to): target: images[1]" in said.err
    assert fourth["target"] == f"{target.host}/kept/conda/htslib:1.17"
    for each in (first, second, fourth):
        repository, _, tag = each["target"].removeprefix(f"{target.host}/").rpartition(":")
        assert manifest(target, repository, tag).headers["docker-content-digest"] == each["digest"]


def test_a_list_of_nextflow_and_an_image_that_fails(wavelet: Wavelet, site: Site, target: Registry) -> None:
    absent = f"{site.registry.host}/lab/absent:1"
    processes = [{"name": "A", "container": absent}, {"name": "B", "container": f"docker://{site.image}"}]
    said = wavelet("mirror", "--file", "-", "--to", target.host, stdin=json.dumps({"processes": processes}))
    assert said.code == 1
    assert said.out == f"{site.image}  {target.host}/lab/busybox:1  {site.busybox.digest}\n"
    assert f"{absent}: refused: " in said.err
    assert f"wavelet: 1 of 2 failed: {absent}\n" in said.err


def test_a_target_that_refuses_says_the_login_and_the_right(wavelet: Wavelet, site: Site) -> None:
    to = f"{site.private.host}/copies"
    said = wavelet("mirror", site.image, "--to", to)
    assert (said.code, said.out) == (1, "")
    assert f"{site.image}: refused (--to): target: {site.private.host} refuses a push to {to}/lab/busybox" in said.err
    assert "asked as: anonymous" in said.err and "right to push" in said.err
    login = "login", site.private.host, "--username", "ann", "--password-stdin"
    assert wavelet(*login, stdin=PASSWORDS["ann"]).code == 0
    try:
        assert wavelet("mirror", site.image, "--to", to).code == 0
    finally:
        wavelet("logout", "--all")


def test_a_target_that_does_not_answer(wavelet: Wavelet, site: Site) -> None:
    said = wavelet("mirror", site.image, "--to", "127.0.0.1:1/copies")
    assert said.code == 1
    assert "upstream fails (--to): target: cannot reach 127.0.0.1:1" in said.err


@pytest.mark.parametrize(
    ("to", "code", "words"),
    [
        ("{registry}", 1, "refused (--to): target: {registry}/lab/busybox is where the image is"),
        ("{registry}/UPPER", 1, "refused (--to): target: "),
        ("{registry}/lab:1", 4, "refused (--to): target: '{registry}/lab:1' has a tag or a digest"),
        ("https://{registry}", 4, "refused (--to): target: leave out the scheme"),
        ("", 4, "refused (--to): target: is missing"),
    ],
)
def test_targets_that_are_none(wavelet: Wavelet, site: Site, to: str, code: int, words: str) -> None:
    said = wavelet("mirror", site.image, "--to", to.format(registry=site.registry.host))
    assert (said.code, said.out) == (code, "")
    assert words.format(registry=site.registry.host) in said.err


def test_nothing_to_copy(wavelet: Wavelet) -> None:
    assert "no image is named" in wavelet("mirror", "--to", "registry.example").err
    assert wavelet("mirror", "busybox").code == 2
