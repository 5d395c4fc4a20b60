"""Where layers of packs are: what is said comes back, and nothing else is taken for it."""

from __future__ import annotations

import pytest

from wavelet.image.reference import Digest
from wavelet.packs.locations import PackLocation, location_of, read_location, read_url

OWN = frozenset({"127.0.0.1:9090", "node.example:9090"})
DIGEST = Digest("sha256:" + "ab" * 32)
FILE = "ab" * 16


@pytest.mark.parametrize("architecture", [None, "amd64", "s390x"])
def test_a_location_comes_back(architecture: str | None) -> None:
    text = location_of("trace@1.2", DIGEST, architecture)
    found = read_location(text)
    assert found is not None
    assert (found.reference, found.architecture, found.text) == ("trace@1.2", architecture, text)
    url = text.replace("pack:", "http://127.0.0.1:9090/packs/")
    assert read_url(url, OWN) == found


@pytest.mark.parametrize(
    "url",
    [
        f"http://node.example:9090/packs/trace@1.2/{FILE}.linux_arm64.tar.gz",
        f"https://NODE.example:9090/packs/trace%401.2/{FILE}.linux_arm64.tar.gz",
    ],
)
def test_urls_of_this_daemon(url: str) -> None:
    assert read_url(url, OWN) == PackLocation("trace@1.2", f"{FILE}.linux_arm64.tar.gz", "arm64")


@pytest.mark.parametrize(
    "url",
    [
        "inline:",
        f"http://127.0.0.1:9091/packs/trace@1.2/{FILE}.tar.gz",
        f"http://other.example:9090/packs/trace@1.2/{FILE}.tar.gz",
        f"http://127.0.0.1:9090@evil.example/packs/trace@1.2/{FILE}.tar.gz",
        f"ftp://127.0.0.1:9090/packs/trace@1.2/{FILE}.tar.gz",
        f"http://127.0.0.1:9090/packs/trace/{FILE}.tar.gz",
        f"http://127.0.0.1:9090/packs/Trace@1/{FILE}.tar.gz",
        f"http://127.0.0.1:9090/packs/trace@1/../{FILE}.tar.gz",
        f"http://127.0.0.1:9090/packs/trace@1.2/{FILE}.tar.gz?x",
        "http://127.0.0.1:9090/packs/trace@1.2/fusion-arm64.tar.gz",
        f"http://127.0.0.1:9090/v2/packs/trace@1.2/{FILE}.tar.gz",
    ],
)
def test_what_is_no_layer_of_a_pack_stays(url: str) -> None:
    assert read_url(url, OWN) is None


@pytest.mark.parametrize(
    "text", ["inline:", "pack:", "pack:trace@1.2", f"pack:trace/{FILE}.tar.gz", "pack:a@1/x.tar.gz"]
)
def test_what_is_no_location_of_a_pack(text: str) -> None:
    assert read_location(text) is None
