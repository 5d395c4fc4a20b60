"""Each codec gives bytes that are known, and says so of itself where it does not."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest
import zstandard

from wavelet.archive import gzip_members
from wavelet.archive.squashfs import codecs
from wavelet.archive.squashfs.codecs import BLOCK, CODECS, GZIP, ZSTD, Codec, CodecName, installed, sample_digest

GOLDEN = {
    "gzip": "b0b6a36d5a1255c486eeefde1f7921a83b482dce736a7046e06d439e7a0bf831",
    "zstd": "f006919edf7f9d3d288fc92d2b2f8fc55bb760dcf3e8eda97fd6e5ebcac07e12",
}


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    installed.cache_clear()
    yield
    installed.cache_clear()


@pytest.mark.parametrize("name", CODECS)
def test_what_a_codec_makes_of_a_sample_is_known(name: CodecName) -> None:
    """A change here is another implementation, with another name."""
    assert sample_digest(CODECS[name]) == GOLDEN[name]
    assert installed(name) == CODECS[name]


@pytest.mark.parametrize("name", CODECS)
def test_a_library_that_gives_other_bytes_has_another_name(name: CodecName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(codecs._GOLDEN, name, "0" * 64)
    found = installed(name)
    assert (found.name, found.level) == (name, CODECS[name].level)
    assert found.implementation == f"{CODECS[name].implementation.partition('-')[0]}-{GOLDEN[name][:12]}"


@pytest.mark.parametrize("codec", [GZIP, ZSTD], ids=lambda codec: codec.name)
@pytest.mark.parametrize("size", [1, 511, BLOCK - 1, BLOCK])
def test_a_block_is_what_every_reader_can_read(codec: Codec, size: int) -> None:
    data = gzip_members.sample()[:size]
    made = codec.compressor()(memoryview(data))
    assert (zlib.decompress(made) if codec.name == "gzip" else zstandard.decompress(made)) == data
