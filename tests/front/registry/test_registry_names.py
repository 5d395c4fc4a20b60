"""What paths and repository names of the registry mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.errors import CallerError, InvalidName, NotFound
from wavelet.front.registry.names import CondaName, Route, TokenName, UpstreamName, as_pulled, parse_name, parse_route
from wavelet.image.reference import Reference

TOKEN = "0" * 32


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("a/manifests/1", Route("a", "manifests", "1")),
        ("a/b/blobs/sha256:x", Route("a/b", "blobs", "sha256:x")),
        ("a/tags/list", Route("a", "tags", "")),
        ("a/referrers/sha256:x", Route("a", "referrers", "sha256:x")),
        ("a/manifests/blobs/x", Route("a/manifests", "blobs", "x")),
        ("tags/list/tags/list", Route("tags/list", "tags", "")),
        ("manifests/manifests/manifests", Route("manifests", "manifests", "manifests")),
    ],
)
def test_routes(path: str, route: Route) -> None:
    assert parse_route(path) == route


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "a",
        "a/b",
        "a/manifests",
        "a/manifests/",
        "/manifests/1",
        "manifests/1",
        "a/tags/other",
        "tags/list",
        "a/blobs/uploads/",
        "_catalog",
        "a/b/c/d",
    ],
)
def test_what_is_no_route(path: str) -> None:
    with pytest.raises(NotFound):
        parse_route(path)


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(["a", "manifests", "tags", "list", "blobs", "", ".."])).map("/".join)
)
def test_any_path_is_a_route_or_not_found(path: str) -> None:
    try:
        route = parse_route(path)
    except NotFound:
        return
    assert path == f"{route.name}/{route.kind}/{route.reference or 'list'}"


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("busybox", "docker.io/library/busybox"),
        ("a/b", "docker.io/a/b"),
        ("docker.io/busybox", "docker.io/library/busybox"),
        ("quay.io/a/b", "quay.io/a/b"),
        ("Quay.IO/a/b", "quay.io/a/b"),
        ("localhost/a", "localhost/a"),
        ("localhost_5000/a", "localhost:5000/a"),
        ("127.0.0.1_5000/a/b", "127.0.0.1:5000/a/b"),
        ("myhost_5000/a", "myhost:5000/a"),
        ("myhost:5000/a", "myhost:5000/a"),
        ("wt", "docker.io/library/wt"),
        ("conda", "docker.io/library/conda"),
        ("quay.io/wt/x", "quay.io/wt/x"),
    ],
)
def test_near_cache_names(name: str, repository: str) -> None:
    found = parse_name(name, None, reserved=True)
    assert isinstance(found, UpstreamName)
    assert str(found.repository) == repository


def test_token_names() -> None:
    assert parse_name(f"wt/{TOKEN}/a/b", None, reserved=True) == TokenName(TOKEN, "a/b")
    assert parse_name("wt/anything/a", None, reserved=True) == TokenName("anything", "a")


def test_packages_are_named_by_their_path() -> None:
    assert parse_name("conda/samtools__1.17/bwa", None, reserved=True) == CondaName("samtools__1.17/bwa")
    assert isinstance(parse_name("conda/samtools", None, reserved=False), UpstreamName)
    assert isinstance(parse_name("conda/samtools", "quay.io", reserved=True), UpstreamName)
    assert isinstance(parse_name("conda", None, reserved=True), UpstreamName)
    for name in ("conda/Samtools", "conda/a//b", "conda/_a", f"conda/{'a' * 250}"):
        with pytest.raises(InvalidName):
            parse_name(name, None, reserved=True)


def test_names_are_not_special_where_the_site_wants_none() -> None:
    for name in ("sif/busybox", "sif/wt/x", f"wt/{TOKEN}/a"):
        assert isinstance(parse_name(name, None, reserved=False), UpstreamName)


def test_the_namespace_wins_over_all() -> None:
    for name in ("quay.io/a", f"wt/{TOKEN}/a", "conda/x"):
        found = parse_name(name, "ghcr.io", reserved=True)
        assert isinstance(found, UpstreamName)
        assert str(found.repository) == f"ghcr.io/{name}"
    found = parse_name("busybox", "docker.io", reserved=True)
    assert isinstance(found, UpstreamName)
    assert str(found.repository) == "docker.io/library/busybox"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../a",
        "a/../b",
        "quay.io/../a",
        "quay.io/",
        "quay.io//a",
        "A/b",
        "a b",
        "a\0b",
        "a\nb",
        "quay.io:0/a",
        "quay.io_99999/a",
        "quay..io/a",
        "x" * 255,
        "a/" * 150 + "a",
        f"wt/{TOKEN}",
        f"wt/{TOKEN}/",
        f"wt/{TOKEN}/../a",
        "wt/a",
        "a%2fb",
        "quay.io@evil.example/a",
        "quay.io#x/a",
        "http:/quay.io/a",
    ],
)
def test_path_tricks(name: str) -> None:
    with pytest.raises(InvalidName):
        parse_name(name, None, reserved=True)


@pytest.mark.parametrize("namespace", ["", " ", "a b", "a/b", "http://quay.io", "quay.io/", "a@b", "x\r\ny", ".."])
def test_namespace_tricks(namespace: str) -> None:
    with pytest.raises(InvalidName):
        parse_name("a/b", namespace, reserved=True)


@given(st.text(max_size=30), st.none() | st.text(max_size=12), st.booleans())
def test_any_name_means_something_that_reads_back_or_is_the_callers_fault(
    name: str, namespace: str | None, reserved: bool
) -> None:
    try:
        found = parse_name(name, namespace, reserved=reserved)
    except CallerError:
        return
    if isinstance(found, UpstreamName) and namespace is None:
        reference = Reference(found.repository, "1")
        assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("name", "pulled"),
    [
        ("localhost:5000/a/b:1", "localhost_5000/a/b:1"),
        ("10.0.0.1:443/a@sha256:" + "0" * 64, "10.0.0.1_443/a@sha256:" + "0" * 64),
        ("quay.io/a/b:1", "quay.io/a/b:1"),
        ("busybox:1", "busybox:1"),
        ("conda/samtools:1.17", "conda/samtools:1.17"),
        ("sif/localhost:5000/a/b:1", "sif/localhost_5000/a/b:1"),
        ("sif/busybox:1", "sif/busybox:1"),
    ],
)
def test_engines_take_no_colon_in_a_path(name: str, pulled: str) -> None:
    assert as_pulled(name) == pulled
