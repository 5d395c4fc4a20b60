"""Which URLs are those of published files, in what form they are kept, and which prefixes cover them."""

from __future__ import annotations

import pytest

from wavelet.errors import AccessRefused, InvalidRequest
from wavelet.kinds.sif.published.sources import Sources, is_url, url_of

DEPOT = "https://depot.galaxyproject.org/singularity/"
TOOL = f"{DEPOT}samtools:1.17--h00cdaf9_0"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (TOOL, TOOL),
        ("HTTPS://Depot.GalaxyProject.org:443/singularity/samtools%3A1.17--h00cdaf9_0", TOOL),
        ("http://cache:8080/a%20b.sif", "http://cache:8080/a%20b.sif"),
        ("http://[FE80::1]:81/x", "http://[fe80::1]:81/x"),
        ("http://h/%e2%82%ac", "http://h/%E2%82%AC"),
    ],
)
def test_one_form_of_a_url(text: str, url: str) -> None:
    assert is_url(text)
    assert url_of(text) == url
    assert url_of(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "https://depot.galaxyproject.org",
        DEPOT,
        "ftp://h/x",
        "file:///etc/passwd",
        "https:///x",
        "https://user:secret@h/x",
        "https://h@g/x",
        "https://h/x?token=1",
        "https://h/x?",
        "https://h/x#y",
        "https://h/a/../x",
        "https://h/a/%2e%2E/x",
        "https://h/a%2f..%2fx",
        "https://h/a//x",
        "https://h/./x",
        "https://h/a\\x",
        "https://h/a%5cx",
        "https://h/a%00",
        "https://h/a%0d%0aX",
        "https://h/a b",
        "https://h/a%ff",
        "https://h/a%zz",
        "https://h:99999/x",
        "https://h:x/x",
        "https://h/" + "x" * 2048,
    ],
)
def test_what_is_no_url_of_a_file(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"containerImage: .*URL of a file") as raised:
        url_of(text, "containerImage")
    assert raised.value.field == "containerImage"
    assert "secret" not in raised.value.message


@pytest.mark.parametrize("text", ["ubuntu:24.04", "docker://ubuntu", "oras://h/x", "/x.sif", "", "http:x", "//h/x"])
def test_names_of_registries_are_no_urls(text: str) -> None:
    assert not is_url(text)


@pytest.mark.parametrize("prefix", [DEPOT, DEPOT.rstrip("/"), "https://DEPOT.galaxyproject.org:443/%73ingularity"])
def test_a_prefix_covers_what_is_below_it(prefix: str) -> None:
    Sources([prefix]).check(TOOL)


@pytest.mark.parametrize(
    "url",
    [
        "http://depot.galaxyproject.org/singularity/x",
        "https://depot.galaxyproject.org:8443/singularity/x",
        "https://depot.galaxyproject.org.evil.example/singularity/x",
        "https://depot.galaxyproject.org/singularity-evil/x",
        "https://depot.galaxyproject.org/Singularity/x",
        "https://169.254.169.254/singularity/x",
    ],
)
def test_anything_else_is_refused_by_the_name_of_the_setting(url: str) -> None:
    with pytest.raises(AccessRefused, match=r"sif\.sources") as raised:
        Sources([DEPOT]).check(url_of(url))
    assert url in raised.value.message
    assert DEPOT in raised.value.message


@pytest.mark.parametrize(
    "prefix", ["depot.galaxyproject.org", "https://u:secret@h/", "https://h/a/../", "https://h/?x"]
)
def test_a_prefix_that_is_no_url_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match=r"sif\.sources") as raised:
        Sources([prefix])
    assert "secret" not in str(raised.value)
