"""Globs: against a plain reference, over names as engines read them, and with what makes naive matchers explode."""

from __future__ import annotations

import functools
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.errors import InvalidRequest
from wavelet.image.reference import Reference
from wavelet.rules.patterns import LENGTH_LIMIT, WILDCARDS_LIMIT, full_name, glob, image_glob, literal_prefix

DIGEST = f"sha256:{'0' * 64}"


def is_of(pattern: str, text: str) -> bool:
    """The reference: all ways to take a glob's wildcards are tried."""

    @functools.cache
    def at(p: int, t: int) -> bool:
        if p == len(pattern):
            return t == len(text)
        if pattern.startswith("**", p):
            if pattern.startswith("**/", p) and pattern[p - 1 : p] in ("", "/"):
                # `a/**/b` is also `a/b`.
                return at(p + 3, t) or any(text[end] == "/" and at(p + 3, end + 1) for end in range(t, len(text)))
            return at(p + 2, t) or (t < len(text) and at(p, t + 1))
        if pattern[p] == "*":
            return at(p + 1, t) or (t < len(text) and text[t] != "/" and at(p, t + 1))
        return t < len(text) and text[t] == pattern[p] and at(p + 1, t + 1)

    return at(0, 0)


def matches(pattern: str, image: str) -> bool:
    reference = Reference.parse(image)
    digest = None if reference.digest is None else str(reference.digest)
    return image_glob(pattern).matches(full_name(str(reference.repository)), reference.tag, digest)


PIECES = st.sampled_from(["a", "b", "/", "ab", "a/", "/b", "*", "**", "/**/", "**/", "/*/", "*a", "a*b", "."])
PATTERNS = st.lists(PIECES, max_size=9).map("".join).filter(lambda text: "***" not in text)
TEXTS = st.text("ab/.", max_size=14)


@given(PATTERNS, TEXTS)
def test_globs_are_what_the_reference_says(pattern: str, text: str) -> None:
    assert glob(pattern).matches(text) == is_of(pattern, text)


@given(PATTERNS, st.lists(st.text("ab/", max_size=4), min_size=12, max_size=12))
def test_globs_match_what_they_are_filled_with(pattern: str, fillings: list[str]) -> None:
    text = pattern
    for filling in fillings:
        wildcard = "**" if "**" in text else "*"
        text = text.replace(wildcard, filling if wildcard == "**" else filling.replace("/", ""), 1)
    assert glob(pattern).matches(text) == is_of(pattern, text)


@given(st.text(max_size=20).filter(lambda text: "*" not in text), st.text(max_size=20))
def test_without_wildcards_a_glob_is_a_text(text: str, other: str) -> None:
    assert glob(text).matches(text)
    assert glob(text).matches(other) == (text == other)
    assert glob(f"{text}**").matches(text + other)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("**a" * 16, "a" * 20_000 + "b"),
        ("*a" * 16, "a" * 20_000 + "b"),
        ("**a*b" * 8, "a" * 20_000),
        ("**/*a*a*a*a*a*a*/b", "a" * 20_000 + "/a" * 5_000),
        ("**/a*/a*/a*/a*/a*/c", "a/" * 20_000),
        ("**/" * 16 + "b", "a/" * 20_000),
        ("**/*/" * 8 + "b", "a/" * 20_000),
        ("a**/a*a/**/a*a/**/b*c", "a/" * 20_000 + "bd"),
        (f"**{'a' * 450}b", "a" * 20_000),
    ],
)
def test_patterns_that_explode_do_not(pattern: str, text: str) -> None:
    """A matcher that goes back over its choices takes longer than the universe for most of these."""
    assert not glob(pattern).matches(text)


@pytest.mark.parametrize(
    ("pattern", "images"),
    [
        ("busybox", ["busybox", "docker.io/library/busybox:1@" + DIGEST, "index.docker.io/busybox"]),
        ("busybox:1.36", ["busybox:1.36"]),
        ("busy*", None),
        ("docker.io/busy*", ["busybox", "docker.io/library/busy:latest"]),
        ("docker.io/*", ["busybox"]),
        ("docker.io/**", ["busybox", "biocontainers/samtools:1", "registry-1.docker.io/x/y", "DOCKER.io:443/x/y"]),
        ("biocontainers/*", ["biocontainers/samtools:1.17", "docker.io/biocontainers/bwa"]),
        ("biocontainers/**", ["biocontainers/samtools", "biocontainers/a/b"]),
        ("quay.io/**", ["quay.io/biocontainers/samtools", "Quay.IO/a/b", "quay.io:443/a/b"]),
        ("QUAY.io/biocontainers/*:1*", ["quay.io/biocontainers/samtools:1.17"]),
        ("quay.io:443/**", ["quay.io/a/b"]),
        ("localhost:5000/**", ["localhost:5000/a", "localhost:5000/a/b:1"]),
        ("localhost/a", ["localhost/a"]),
        ("[::1]:5000/a", ["[::1]:5000/a"]),
        ("*:5000/a", ["localhost:5000/a", "site.example:5000/a"]),
        ("*.example/**", ["a.example/b/c", "a.b.example/c"]),
        ("**/samtools", ["quay.io/biocontainers/samtools", "samtools/samtools"]),
        ("**/library/busybox", ["busybox", "site.example/hub/library/busybox"]),
        ("quay.io/**/samtools", ["quay.io/samtools", "quay.io/a/b/samtools"]),
        ("*/library/*:latest", ["busybox", "site.example/library/x"]),
        ("**", ["busybox", "quay.io/a/b@" + DIGEST]),
        ("**:latest", ["busybox", "quay.io/a/b:latest"]),
        (f"**@{DIGEST}", [f"quay.io/a/b@{DIGEST}"]),
        ("**@*", [f"quay.io/a/b@{DIGEST}"]),
        (f"quay.io/**:1@{DIGEST}", [f"quay.io/a/b:1@{DIGEST}"]),
    ],
)
def test_images(pattern: str, images: list[str] | None) -> None:
    if images is None:
        with pytest.raises(InvalidRequest):
            image_glob(pattern)
        return
    for image in images:
        assert matches(pattern, image), image


@pytest.mark.parametrize(
    ("pattern", "image"),
    [
        ("busybox", "quay.io/library/busybox"),
        ("busybox:1.36", "busybox:1.3"),
        ("busybox:1.36", "busybox@" + DIGEST),
        ("biocontainers/*", "biocontainers/a/b"),
        ("biocontainers/*", "quay.io/biocontainers/a"),
        ("quay.io/**", "quay.io.example/a/b"),
        ("quay.io/**", "quay.io:5000/a/b"),
        ("localhost:5000/**", "localhost:5001/a"),
        ("*.example/**", "example/b/c"),
        ("**@*", "busybox:1"),
        ("docker.io/*", "biocontainers/a"),
        ("**/samtools", "quay.io/a/xsamtools"),
    ],
)
def test_other_images(pattern: str, image: str) -> None:
    assert not matches(pattern, image)


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("docker.io/**", "docker.io"),
        ("biocontainers/*", "docker.io/biocontainers"),
        ("quay.io/bio*", "quay.io"),
        ("busybox", "docker.io/library/busybox"),
        ("localhost:5000/a/*/b", "localhost:5000/a"),
        ("**", ""),
        ("*.example/a", ""),
        ("**/x", ""),
    ],
)
def test_literal_prefixes(pattern: str, prefix: str) -> None:
    assert literal_prefix(image_glob(pattern)) == prefix


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("docker://busybox", "'docker://busybox' has a scheme; leave it out, as in `docker.io/**`"),
        ("", "'' has an empty component; any image is `**`, as in `quay.io/**`"),
        (":latest", "':latest' has an empty component; any image is `**`, as in `quay.io/**`"),
        ("quay.io/", "'quay.io/' has an empty component; any image is `**`, as in `quay.io/**`"),
        ("/a", "'/a' has an empty component; any image is `**`, as in `quay.io/**`"),
        ("*", "'*' is a registry without a repository; write `**/*` or `docker.io/library/*`"),
        ("quay.io", "'quay.io' is a registry without a repository; write `quay.io/**`"),
        ("localhost:5000", "'localhost:5000' is a registry without a repository; write `localhost/**`"),
        ("quay.io:x/a", "'quay.io:x/a': 'quay.io:x' is no registry; it takes HOST or HOST:PORT"),
        ("quay.io:99999/a", "'quay.io:99999/a': 'quay.io:99999' is no registry; it takes HOST or HOST:PORT"),
        ("q{u}*.io/a", None),
        (
            "quay.io/Bio/x",
            "'quay.io/Bio/x': 'Bio' is no part of a repository: lower-case letters, digits and . _ - are, and the"
            " wildcards * and **",
        ),
        (
            "quay.io/?",
            "'quay.io/?': '?' is no part of a repository: lower-case letters, digits and . _ - are, and the wildcards"
            " * and **",
        ),
        ("a/b***", "'docker.io/a/b***' has more stars at one place than `**`, which stands for any text"),
        ("a/b:", "'' is no tag: 1 to 128 of A-Z a-z 0-9 _ . - and the wildcard *"),
        ("a/b:x/y:1 2", None),
        ("a/b@sha256:1", "'sha256:1' is not a digest; it takes sha256:<64 hexadecimal digits> (or sha512:<128>)"),
        ("a/b@SHA*", "'SHA*' is no digest; it takes sha256:…, or `*` for any"),
        ("a" * 600, f"'{'a' * 60}'… has 600 characters; {LENGTH_LIMIT} are the most"),
        ("a/" + "b*" * 17, f"'docker.io/a/{'b*' * 17}' has 17 wildcards; {WILDCARDS_LIMIT} are the most"),
    ],
)
def test_what_is_no_pattern(pattern: str, message: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        image_glob(pattern)
    if message is not None:
        assert caught.value.message == message


NAMES = st.text(ascii_lowercase, min_size=1, max_size=5)


@given(st.lists(NAMES, min_size=1, max_size=3), st.sampled_from(["", "quay.io/", "localhost:5000/", "Docker.IO/"]))
def test_the_name_of_an_image_is_a_pattern_of_it(path: list[str], registry: str) -> None:
    assert matches(registry + "/".join(path), registry + "/".join(path))
