"""Files of rules become values: every member, in each form that it may have."""

from __future__ import annotations

import pytest
from reading_rules import read

from wavelet.image.reference import Digest, Platform
from wavelet.packs.model import PackUse
from wavelet.rules.model import Do, Redirect, Rule, When
from wavelet.rules.patterns import glob, image_glob

DIGEST = Digest(f"sha256:{'0' * 64}")


def test_a_rule_with_everything() -> None:
    (rule,) = read("""
        - name: everything
          when:
            image: [docker.io/**, "quay.io/**:latest"]
            not: docker.io/library/busybox
            source: image
            platform: linux/arm64
            door: [wave, grpc, registry, sif, inspect]
            form: [request, near-cache, conda]
            user: [1000, alice]
            group: lab
            labels: {team: "genomics*"}
          do:
            redirect: {from: Docker.io, to: Harbor.site.example:443/hub}
            platform: linux/amd64
            require: {platform: [linux/amd64, arm64]}
            packs: [ca, trace@1.2, {name: s3, missing: skip}]
            env: {A: b, EMPTY: ""}
            labels: {org.example/site: x}
          to: each
          names: changed
    """)
    assert rule == Rule(
        "everything",
        "rules.d/10-site.yaml: rule 1",
        When(
            images=(image_glob("docker.io/**"), image_glob("quay.io/**:latest")),
            but_not=(image_glob("docker.io/library/busybox"),),
            sources=frozenset({"image"}),
            platforms=frozenset({Platform("linux", "arm64")}),
            doors=frozenset({"wave", "grpc", "registry", "sif", "inspect"}),
            forms=frozenset({"request", "near-cache", "conda"}),
            uids=frozenset({1000, 1001}),
            gids=frozenset({2001}),
            labels=(("team", glob("genomics*")),),
        ),
        Do(
            redirect=Redirect("docker.io", "harbor.site.example/hub"),
            set_platform=Platform("linux", "amd64"),
            require_platforms=(Platform("linux", "amd64"), Platform("linux", "arm64")),
            packs=(PackUse("ca"), PackUse("trace", "1.2"), PackUse("s3", missing="skip")),
            env=("A=b", "EMPTY="),
            labels=(("org.example/site", "x"),),
        ),
        scope="each",
        changes_names=True,
    )


def test_what_is_left_out_is_any() -> None:
    (rule,) = read('- do: {refuse: "Not  here,\\n ask us."}')
    assert rule == Rule("10-site.yaml#1", "rules.d/10-site.yaml: rule 1", When(), Do(refuse="Not here, ask us."))


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[]", "rules: []", "rules:\n"])
def test_no_rules(text: str) -> None:
    assert read(text) == ()


def test_a_mapping_holds_the_list_too() -> None:
    assert read("rules: [{do: {env: [A=b=c]}}]") == read("- do: {env: {A: b=c}}")
    assert read("- do: {env: A=1}")[0].do.env == ("A=1",)


@pytest.mark.parametrize(
    ("image", "to", "redirect"),
    [
        ("docker.io/**", "harbor.example/hub", Redirect("docker.io", "harbor.example/hub")),
        ("biocontainers/*", "quay.io/biocontainers", Redirect("docker.io/biocontainers", "quay.io/biocontainers")),
        ("[quay.io/a*, quay.io/**/x]", "localhost:5000", Redirect("quay.io", "localhost:5000")),
        ("busybox", "localhost/bb", Redirect("docker.io/library/busybox", "localhost/bb")),
    ],
)
def test_what_is_redirected_is_the_literal_part(image: str, to: str, redirect: Redirect) -> None:
    (rule,) = read(f"[{{when: {{image: {image}}}, do: {{redirect: {to}}}}}]")
    assert rule.do.redirect == redirect


def test_digests_are_required_in_two_ways() -> None:
    assert read("- do: {require: {digest: true}}")[0].do == Do(require_digest=True)
    assert read(f"- do: {{require: {{digest: '{DIGEST}'}}}}")[0].do == Do(digests=frozenset({DIGEST}))
    assert read(f"- do: {{require: {{digest: [{DIGEST}]}}}}")[0].do.admits
