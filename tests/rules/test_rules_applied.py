"""Files of rules applied to images as they are asked for: what is read, and what is done, fit together."""

from __future__ import annotations

import pytest
from reading_rules import read

from lab.packs import KnownPacks
from wavelet.image.reference import Platform, Reference
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.rules.applying import RuleRefused, apply
from wavelet.rules.index import IndexedRules
from wavelet.rules.model import Asking

RULES = """
- name: hub-through-harbor
  when: {image: docker.io/**, not: [docker.io/library/busybox, "**:local"]}
  do: {redirect: harbor.site.example/hub}
- name: biocontainers-by-digest
  when: {image: quay.io/biocontainers/**}
  do: {redirect: {from: quay.io, to: "mirror.site.example:5000"}}
- name: no-latest
  when: {image: "**:latest", not: harbor.site.example/hub/library/*}
  do: {refuse: Name a version.}
- name: no-evil
  when: {image: ["evil.example/**", "*:5001/**"]}
  do: {refuse: Not here.}
"""


def effective(image: str) -> str:
    plan = RegistryImage(Reference.parse(image), Platform("linux", "amd64"))
    asking = Asking("wave", "request")
    made = apply(IndexedRules(read(RULES)), plan, asking, KnownPacks()).plan
    assert isinstance(made, RegistryImage)
    return str(made.reference)


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ("debian:12", "harbor.site.example/hub/library/debian:12"),
        ("ubuntu", "harbor.site.example/hub/library/ubuntu:latest"),
        ("biocontainers/bwa:1", "harbor.site.example/hub/biocontainers/bwa:1"),
        ("Docker.IO/biocontainers/bwa:1", "harbor.site.example/hub/biocontainers/bwa:1"),
        ("Registry-1.docker.io:443/a/b:1", "harbor.site.example/hub/a/b:1"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("a/b:local", "docker.io/a/b:local"),
        ("quay.io/biocontainers/bwa:1", "mirror.site.example:5000/biocontainers/bwa:1"),
        ("QUAY.io:443/biocontainers/bwa:1", "mirror.site.example:5000/biocontainers/bwa:1"),
        ("quay.io/other/bwa:1", "quay.io/other/bwa:1"),
        (f"debian@sha256:{'0' * 64}", f"harbor.site.example/hub/library/debian@sha256:{'0' * 64}"),
    ],
)
def test_where_images_come_from(asked: str, made: str) -> None:
    assert effective(asked) == made


@pytest.mark.parametrize(
    "asked", ["busybox", "ghcr.io/a/b", "Evil.Example/a:1", "evil.example:443/a:1", "x.org:5001/a:1"]
)
def test_what_is_refused(asked: str) -> None:
    with pytest.raises(RuleRefused):
        effective(asked)
