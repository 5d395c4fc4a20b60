"""References, digests and platforms: what is read is written the same, and what is none is refused."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wavelet.errors import InvalidName, InvalidRequest
from wavelet.image.image import Descriptor, Index, IndexEntry
from wavelet.image.reference import (
    DOCKER_HUB,
    Digest,
    Platform,
    Reference,
    Repository,
    valid_host,
    valid_path,
    valid_tag,
    without_login,
)

HEX = "a" * 64
COMPONENT = st.from_regex(r"[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
PATHS = st.lists(COMPONENT, min_size=1, max_size=4).map("/".join)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
PORTS = st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format))
HOSTS = st.tuples(
    st.sampled_from(["quay.io", "localhost", "127.0.0.1", "[::1]", "my-host.example.org", "Registry.Example"]), PORTS
).map("".join)
DIGESTS = st.one_of(
    st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format),
    st.text("0123456789abcdef", min_size=128, max_size=128).map("sha512:{}".format),
)


@given(HOSTS | st.none(), PATHS, TAGS | st.none(), DIGESTS | st.none())
def test_a_reference_is_written_as_it_is_read(host: str | None, path: str, tag: str | None, digest: str | None) -> None:
    text = path if host is None else f"{host}/{path}"
    assume(host is not None or "/" not in path or not ("." in path.partition("/")[0] or path.startswith("localhost/")))
    text += f":{tag}" if tag else ""
    text += f"@{digest}" if digest else ""
    reference = Reference.parse(text)
    assert Reference.parse(str(reference)) == reference
    assert reference.repository.host == (host or DOCKER_HUB)
    assert reference.repository.path == (path if host or "/" in path else f"library/{path}")
    assert (reference.tag, reference.digest) == (tag if tag or digest else "latest", digest)


@given(st.text(max_size=40) | st.text(string.ascii_lowercase + "/:@.-_[]", max_size=30))
def test_any_text_is_a_reference_that_round_trips_or_is_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidName as error:
        assert error.status == 400
        assert error.message
    else:
        assert Reference.parse(str(reference)) == reference
        assert valid_host(reference.repository.host)
        assert valid_path(reference.repository.path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/busybox:1", "docker.io/library/busybox:1"),
        ("registry-1.docker.io/a/b", "docker.io/a/b:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("host:5000/x:1", "host:5000/x:1"),
        ("a/b", "docker.io/a/b:latest"),
        (f"a/b:1@sha256:{HEX}", f"docker.io/a/b:1@sha256:{HEX}"),
        (f"a/b@sha256:{HEX}", f"docker.io/a/b@sha256:{HEX}"),
    ],
)
def test_dockers_rules_of_normalisation(text: str, expected: str) -> None:
    assert str(Reference.parse(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "@",
        "/",
        "a:",
        "a@",
        "UPPER",
        "a//b",
        "a/../b",
        "../a",
        "a/.b",
        "a b",
        "a\n",
        "docker://busybox",
        "https://quay.io/a",
        "a:tag with space",
        "a:" + "t" * 129,
        "a/" * 200 + "b",
        "x" * 255,  # with `library/` before it, it is longer than a name may be
        "quay.io:0/a",
        "quay.io:99999/a",
        "-host.example/a",
        "quay..io/a",
        f"a@sha256:{HEX[:-1]}",
        f"a@sha256:{HEX.upper()}",
        f"a@md5:{HEX[:32]}",
        "a\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        Reference.parse(text)


def test_the_refusal_names_the_field_and_what_to_do() -> None:
    with pytest.raises(InvalidName, match=r"^containerImage: 'docker://x'.*leave out the scheme") as caught:
        Reference.parse("docker://x", "containerImage")
    assert caught.value.field == "containerImage"
    with pytest.raises(InvalidName, match="no such store of SIF files is asked"):
        Reference.parse("library://sylabs/examples/lolcow:1", "containerImage")
    with pytest.raises(InvalidName) as caught:
        Reference.parse("x" * 100_000)
    assert len(caught.value.message) < 500


def test_a_fixed_reference_has_no_tag() -> None:
    digest = Digest.of(b"x")
    fixed = Reference(Repository("quay.io", "a/b"), "1").at(digest)
    assert str(fixed) == f"quay.io/a/b@{digest}"


@given(st.binary(max_size=100), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_is_of_its_bytes_alone(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert Digest.parse(digest) == digest
    assert f"{digest.algorithm}:{digest.hex}" == digest
    hasher = digest.hasher()
    hasher.update(data)
    assert digest.matches(hasher)
    hasher.update(b"more")
    assert not digest.matches(hasher)


@given(st.text(max_size=80))
def test_other_text_is_no_digest(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Digest.parse(text)


@pytest.mark.parametrize("text", [f"sha256:{HEX}\n", f" sha256:{HEX}", f"sha256:{HEX}/..", f"SHA256:{HEX}"])
def test_nearly_a_digest_is_none(text: str) -> None:
    with pytest.raises(InvalidRequest, match="field"):
        Digest.parse(text, "field")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amd64", "linux/amd64"),
        ("x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        (" linux/amd64 ", "linux/amd64"),
    ],
)
def test_aliases_of_platforms(text: str, expected: str) -> None:
    assert str(Platform.parse(text)) == expected


@pytest.mark.parametrize(
    "text", ["", "linux", "windows/amd64", "linux/mips", "linux/amd64/v3", "linux/arm64/v9", "a/b/c/d", "linux/arm/v4"]
)
def test_unsupported_platforms_are_refused_with_those_that_are_not(text: str) -> None:
    with pytest.raises(InvalidRequest, match="linux/amd64") as caught:
        Platform.parse(text)
    assert caught.value.field == "containerPlatform"


@given(st.sampled_from(["linux", "windows"]), st.sampled_from(["amd64", "arm64", "arm", "ppc64le", "x86_64"]), TAGS)
def test_the_normal_form_of_a_platform_is_stable(system: str, architecture: str, variant: str) -> None:
    for each in (variant, "", "8", "v8", "7"):
        platform = Platform.of(system, architecture, each)
        assert Platform.of(*str(platform).split("/")) == platform


def entry(name: str, platform: Platform | None) -> IndexEntry:
    return IndexEntry(Descriptor("application/vnd.oci.image.manifest.v1+json", Digest.of(name.encode()), 1), platform)


def test_an_index_selects_the_first_entry_of_the_platform_in_normal_form() -> None:
    arm64 = entry("arm64", Platform.of("linux", "arm64", "v8"))
    second = entry("second", Platform.of("linux", "arm64"))
    attestation = entry("attestation", Platform.of("unknown", "unknown"))
    index = Index("", (attestation, entry("none", None), arm64, second))
    assert index.select(Platform.parse("aarch64")) is arm64
    assert index.select(Platform.parse("amd64")) is None
    assert index.platforms() == "linux/arm64, linux/arm64"
    assert [each.is_image for each in index.entries] == [False, False, True, True]


@given(TAGS)
def test_what_the_grammar_calls_a_tag(tag: str) -> None:
    assert valid_tag(tag)
    assert not valid_tag(f"-{tag}")
    assert not valid_tag(f"{tag}/x")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("user:password@host:5000/x", "…@host:5000/x"),
        ("https://user:password@host/x:1", "https://…@host/x:1"),
        ("token@host/x@sha256:0", "…@host/x@sha256:0"),
        ("host:5000/x:1@sha256:0", "host:5000/x:1@sha256:0"),
        ("x:1@md5:0", "x:1@md5:0"),
    ],
)
def test_a_login_before_a_host_is_not_shown(text: str, shown: str) -> None:
    assert without_login(text) == shown
    with pytest.raises(InvalidName) as caught:
        Reference.parse(text)
    assert "password" not in caught.value.message
