"""Rules that are surely not meant: each is warned of, and what looks like it and is meant is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading_rules import FILE, read

from wavelet.rules.checks import warnings_of
from wavelet.rules.covering import covers_glob, covers_image
from wavelet.rules.patterns import glob, image_glob

FIRST = f"{FILE}: rule 1 (10-site.yaml#1)"
NOT_MEANT = {
    "refused before": (
        """
        - {when: {image: docker.io/**}, do: {refuse: no}}
        - {when: {image: "biocontainers/*:1*", user: alice}, do: {env: {A: b}}}
        """,
        f"rule 2 (10-site.yaml#2): never applies: {FIRST} refuses all of it before",
    ),
    "everything refused before": (
        "[{do: {refuse: no}}, {do: {packs: ca}}]",
        f"rule 2 (10-site.yaml#2): never applies: {FIRST} refuses all of it before",
    ),
    "refused but for an exception that the later one has too": (
        """
        - {when: {image: docker.io/**, not: docker.io/library/*}, do: {refuse: no}}
        - {when: {image: docker.io/**, not: docker.io/**}, do: {env: {A: b}}}
        """,
        f"rule 2 (10-site.yaml#2): never applies: {FIRST} refuses all of it before",
    ),
    "platform refused before": (
        """
        - do: {require: {platform: linux/amd64}}
        - {when: {platform: linux/arm64}, do: {packs: ca}}
        """,
        f"rule 2 (10-site.yaml#2): never applies: {FIRST} refuses these platforms before",
    ),
    "redirected before": (
        """
        - {when: {image: docker.io/**}, do: {redirect: harbor.example/hub}}
        - {when: {image: [busybox, biocontainers/*]}, do: {packs: ca}}
        """,
        f"rule 2 (10-site.yaml#2): never applies: {FIRST} redirects these images to harbor.example/hub before; name"
        " them as they are there",
    ),
    "two redirects": (
        """
        - {when: {image: docker.io/**}, do: {redirect: harbor.example/hub}}
        - {when: {image: docker.io/**}, do: {redirect: mirror.gcr.io}}
        """,
        f"rule 2 (10-site.yaml#2): never applies: {FIRST} redirects these images to harbor.example/hub before; name"
        " them as they are there",
    ),
    "container files of engines": (
        "[{when: {source: containerfile, door: registry}, do: {refuse: no}}]",
        "rule 1 (10-site.yaml#1): never applies: nothing is asked for with door registry and source containerfile",
    ),
    "forms of other doors": (
        "[{when: {door: [wave, inspect], form: conda}, do: {refuse: no}}]",
        "rule 1 (10-site.yaml#1): never applies: nothing is asked for with door inspect or wave and form conda",
    ),
    "labels of engines": (
        "[{when: {door: registry, labels: {team: a}}, do: {refuse: no}}]",
        "rule 1 (10-site.yaml#1): never applies: nothing is asked for with door registry and labels, which requests"
        " alone carry",
    ),
    "names that stay": (
        "[{do: {refuse: no}, names: changed}]",
        "rule 1 (10-site.yaml#1): `names: changed` is for what adds to images or chooses their platform, and this rule"
        " does neither",
    ),
    "names of requests": (
        "[{when: {door: wave}, do: {packs: ca}, names: changed}]",
        "rule 1 (10-site.yaml#1): `names: changed` does nothing: with these conditions it is for requests alone, which"
        " get a name anyway",
    ),
    "names that are not changed": (
        "[{when: {door: registry}, do: {packs: ca}}]",
        "rule 1 (10-site.yaml#1): changes nothing: images that are pulled by their own names are changed only by rules"
        " with `names: changed`",
    ),
    "to each of nothing": (
        "[{do: {refuse: no}, to: each}]",
        "rule 1 (10-site.yaml#1): `to: each` is for packs, env and labels, and this rule adds none",
    ),
    "a redirect of other images": (
        "[{when: {image: quay.io/**}, do: {redirect: {from: docker.io, to: harbor.example/hub}}}]",
        "rule 1 (10-site.yaml#1): redirects nothing: no image of when.image lies below docker.io",
    ),
    "two values": (
        """
        - {when: {image: docker.io/**}, do: {platform: linux/amd64, env: {A: b, B: c}, labels: {x: "1"}}}
        - do: {platform: linux/arm64, env: {A: c, B: c}, labels: {x: "2"}}
        """,
        f"rule 1 (10-site.yaml#1): env A, label x, the platform is set otherwise by {FILE}: rule 2 (10-site.yaml#2),"
        " which comes later and so holds",
    ),
}


@pytest.mark.parametrize(("text", "warning"), NOT_MEANT.values(), ids=NOT_MEANT)
def test_what_is_not_meant(text: str, warning: str) -> None:
    assert warnings_of(read(text)) == [f"{FILE}: {warning}"]


MEANT = {
    "a refusal with an exception": """
        - {when: {image: docker.io/**, not: biocontainers/*}, do: {refuse: no}}
        - {when: {image: biocontainers/*}, do: {packs: ca}}
        """,
    "a refusal for some": """
        - {when: {image: docker.io/**, user: alice}, do: {refuse: no}}
        - {when: {image: docker.io/**}, do: {packs: ca}}
        """,
    "a refusal of a tag": """
        - {when: {image: "docker.io/**:latest"}, do: {refuse: no}}
        - {when: {image: docker.io/**}, do: {packs: ca}}
        """,
    "refused, and redirected there later": """
        - {when: {image: quay.io/**}, do: {refuse: no}}
        - {when: {image: docker.io/**}, do: {redirect: quay.io/hub}}
        - {when: {image: quay.io/hub/**}, do: {packs: ca}}
        """,
    "everything refused but what is redirected": """
        - {when: {image: "**", not: docker.io/**}, do: {refuse: no}}
        - {when: {image: docker.io/**}, do: {redirect: harbor.example/hub}}
        - {when: {image: harbor.example/**}, do: {packs: ca}}
        """,
    "redirected within a registry": """
        - {when: {image: docker.io/biocontainers/**}, do: {redirect: docker.io/mirrored}}
        - {when: {image: docker.io/**}, do: {packs: ca}}
        """,
    "redirected for some": """
        - {when: {image: docker.io/**, platform: linux/amd64}, do: {redirect: harbor.example/hub}}
        - {when: {image: docker.io/**}, do: {packs: ca}}
        """,
    "a platform that is chosen": """
        - do: {require: {platform: linux/amd64}}
        - do: {platform: linux/arm64}
        - {when: {platform: linux/arm64}, do: {packs: ca}}
        """,
    "a platform that is allowed": """
        - do: {require: {platform: [linux/amd64, linux/arm64]}}
        - {when: {platform: linux/arm64}, do: {packs: ca}}
        """,
    "a special value after the usual one": """
        - do: {env: {A: b}, platform: linux/amd64}
        - {when: {image: quay.io/**}, do: {env: {A: c}, platform: linux/arm64}}
        """,
    "names that are changed": "[{when: {form: [near-cache, conda]}, do: {packs: ca}, names: changed}]",
    "requests by gRPC": "[{when: {door: grpc, source: containerfile, labels: {team: a}}, do: {packs: ca}, to: each}]",
}


@pytest.mark.parametrize("text", MEANT.values(), ids=MEANT)
def test_what_is_meant(text: str) -> None:
    assert warnings_of(read(text)) == []


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("**", "quay.io/a/*"),
        ("quay.io/**", "quay.io/a/*"),
        ("quay.io/*/b", "quay.io/a/b"),
        ("quay.io/a", "quay.io/a:1"),
        ("quay.io/a:1*", "quay.io/a:1.2"),
    ],
)
def test_wider_patterns(wide: str, narrow: str) -> None:
    assert covers_image(image_glob(wide), image_glob(narrow))
    assert not covers_image(image_glob(narrow), image_glob(wide))


GLOBS = st.lists(st.sampled_from(["a", "b", "/", "*", "**"]), max_size=5).map("".join).filter(lambda t: "***" not in t)


@given(GLOBS, GLOBS, st.lists(st.text("ab/", max_size=6), min_size=20, max_size=20))
def test_a_wider_glob_has_each_text_of_the_narrower(wide: str, narrow: str, texts: list[str]) -> None:
    if covers_glob(glob(wide), glob(narrow)):
        assert all(glob(wide).matches(text) for text in texts if glob(narrow).matches(text))
