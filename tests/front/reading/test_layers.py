"""Layers of a request: forms of location, digests at the door, bounds."""

from __future__ import annotations

import base64
import gzip
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.errors import DigestMismatch, InvalidRequest, TooLarge
from wavelet.front.reading.members import INLINE_LIMIT, LOCATION_LIMIT, read_layers
from wavelet.front.reading.values import LayerValues
from wavelet.front.wave.models import ConfigBody, LayerBody, SubmitBody
from wavelet.front.wave.translate import values_of
from wavelet.image.reference import Digest
from wavelet.plan.node import INLINE, Layer

TAR = b"\0" * 10240
BLOB = gzip.compress(TAR, mtime=0)
DIGEST, DIFF_ID = Digest.of(BLOB), Digest.of(TAR)
BASE64 = base64.b64encode(BLOB).decode()
ONE, TWO = Digest("sha256:" + "1" * 64), Digest("sha256:" + "2" * 64)


def read(location: Any, **members: Any) -> tuple[Layer, dict[Digest, bytes]]:
    given = {"location": location, "gzipDigest": DIGEST, "tarDigest": DIFF_ID} | members
    body = SubmitBody(container_config=ConfigBody(layers=[msgspec.convert(given, LayerBody)]))
    layers, inline = read_layers(values_of(body).config.layers, "layers")
    return layers[0], inline


@pytest.mark.parametrize(
    "location",
    [
        f"data:{BASE64}",
        f"data:{BASE64.rstrip('=')}",
        f"data:;base64,{BASE64}",
        f"data:application/octet-stream;base64,{BASE64}",
        f"DATA:application/gzip;charset=x;BASE64,{BASE64}",
        f"gzip:{base64.b64encode(zlib.compress(BLOB)).decode()}",
    ],
)
@pytest.mark.parametrize("size", [len(BLOB), str(len(BLOB)), None, ""])
def test_inline_layers(location: str, size: Any) -> None:
    layer, inline = read(location, gzipSize=size)
    assert layer == Layer(DIGEST, len(BLOB), DIFF_ID, INLINE)
    assert inline == {DIGEST: BLOB}


@given(st.binary(max_size=200))
def test_any_bytes_come_through(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    if text:
        assert read(f"data:{text}", gzipDigest=Digest.of(data))[1] == {Digest.of(data): data}


@pytest.mark.parametrize(
    ("location", "architecture"),
    [
        ("https://example.org/l.tar.gz", None),
        ("http://127.0.0.1:8080/l.tar.gz?a=b", None),
        ("https://example.org/v2.4/fusion-amd64.tar.gz", "amd64"),
        ("https://example.org/fusion-arm64.tar.gz?version=2", "arm64"),
        ("https://example.org/fusion-aarch64.tar.gz", "arm64"),
        ("https://example.org/fusion-arm64.tar.gz/other", None),
        ("https://example.org/my-fusion-arm64.tar.gz", None),
        ("https://example.org/fusion-nonsense.tar.gz", None),
    ],
)
def test_urls(location: str, architecture: str | None) -> None:
    layer, inline = read(location, gzipSize=10)
    assert layer == Layer(DIGEST, 10, DIFF_ID, location, architecture)
    assert inline == {}


@pytest.mark.parametrize(
    ("members", "field", "words"),
    [
        ({"location": None}, "location", "missing"),
        ({"location": ""}, "location", "missing"),
        ({"location": "/etc/passwd"}, "location", "scheme is not known"),
        ({"location": "file:///etc/passwd"}, "location", "scheme is not known"),
        ({"location": "docker://quay.io/v2/a/blobs/x"}, "location", "containerIncludes"),
        ({"location": "http:///x"}, "location", "not a URL"),
        ({"location": "http://h:x/"}, "location", "not a URL"),
        ({"location": "http://[::1/"}, "location", "not a URL"),
        ({"location": "http://h/\r\nX: y"}, "location", "not a URL"),
        ({"location": "http://me:pw@h/x"}, "location", "password"),
        ({"location": "data:A"}, "location", "base64"),
        ({"location": "data:AAAA AAAA"}, "location", "base64"),
        ({"location": "data:äöü"}, "location", "base64"),
        ({"location": "data:text/plain,AAAA"}, "location", "base64"),
        ({"location": "gzip:AAAA"}, "location", "zlib"),
        ({"location": f"gzip:{base64.b64encode(zlib.compress(BLOB)[:-6]).decode()}"}, "location", "breaks off"),
        ({"gzipDigest": None}, "gzipDigest", "missing"),
        ({"tarDigest": None}, "tarDigest", "missing"),
        ({"gzipDigest": "sha256:12"}, "gzipDigest", "not a digest"),
        ({"tarDigest": "1" * 64}, "tarDigest", "not a digest"),
        ({"tarDigest": "sha512:" + "1" * 128}, "tarDigest", "sha256"),
        ({"gzipSize": -1}, "gzipSize", "number of bytes"),
        ({"gzipSize": "ten"}, "gzipSize", "number of bytes"),
        ({"gzipSize": "٣"}, "gzipSize", "number of bytes"),
        ({"gzipSize": 10**30}, "gzipSize", "number of bytes"),
    ],
)
def test_a_mistake_is_named(members: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**({"location": "https://example.org/x"} | members))
    assert caught.value.field == f"layers[0].{field}"
    assert caught.value.message.startswith(f"layers[0].{field}: ")
    assert words in caught.value.message
    assert "pw" not in caught.value.message.replace("password", "")


@pytest.mark.parametrize(
    ("members", "field"),
    [({"gzipDigest": ONE}, "gzipDigest"), ({"gzipSize": len(BLOB) - 1}, "gzipSize"), ({"gzipSize": 0}, "gzipSize")],
)
def test_inline_bytes_are_compared_at_once(members: dict[str, Any], field: str) -> None:
    for location in (f"data:{BASE64}", f"gzip:{base64.b64encode(zlib.compress(BLOB)).decode()}"):
        with pytest.raises(DigestMismatch) as caught:
            read(location, **members)
        assert caught.value.field == f"layers[0].{field}"


def test_locations_are_bounded() -> None:
    with pytest.raises(TooLarge, match=r"layers\[0\]\.location"):
        read("data:" + "A" * LOCATION_LIMIT)
    with pytest.raises(TooLarge, match=r"layers\[0\]\.location"):
        read("https://example.org/" + "a" * 10_000)


def test_inflated_bytes_are_bounded() -> None:
    stream = zlib.compressobj(9)
    bomb = b"".join(stream.compress(bytes(1024 * 1024)) for _ in range(INLINE_LIMIT // 1024**2 + 1)) + stream.flush()
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge, match="inline layers"):
        read(f"gzip:{base64.b64encode(bomb).decode()}")


def test_layers_keep_their_order_and_their_number_is_bounded() -> None:
    bodies = [
        LayerValues(location=f"data:{BASE64}", gzip_digest=DIGEST, tar_digest=DIFF_ID),
        LayerValues(location="http://h/x", gzip_digest=ONE, tar_digest=TWO),
        LayerValues(location=f"data:{BASE64}", gzip_digest=DIGEST, tar_digest=DIFF_ID),
    ]
    layers, inline = read_layers(bodies, "layers")
    assert [layer.digest for layer in layers] == [DIGEST, ONE, DIGEST]
    assert inline == {DIGEST: BLOB}
    with pytest.raises(InvalidRequest, match="layers: 129 layers"):
        read_layers(bodies * 43, "layers")
