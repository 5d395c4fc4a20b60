"""Content that is joined of others: what of each part is in a range, and what the memo keeps of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.image.image import Content, Descriptor, FromUpstream, Image, Joined, MadeBy
from wavelet.image.reference import Digest, Repository
from wavelet.resolve.joined import JoinedBlob
from wavelet.resolve.memo import decode_image, encode_image
from wavelet.store.content import Blob


def content(data: bytes, media_type: str = "text/plain") -> Content:
    return Content(Descriptor(media_type, Digest.of(data), len(data)), MadeBy("key"))


async def _never(_: Content) -> Blob:
    raise AssertionError


@given(st.lists(st.binary(max_size=9), max_size=6), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_cut_out_of_the_parts(pieces: list[bytes], start: int, end: int) -> None:
    whole = b"".join(pieces)
    parts = tuple(map(content, pieces))
    of = {part.descriptor.digest: data for part, data in zip(parts, pieces, strict=True)}
    blob = JoinedBlob(Digest.of(whole), len(whole), parts, _never)
    found = b"".join(of[part.content.descriptor.digest][part.start : part.end] for part in blob.between(start, end))
    assert found == whole[start:end]


def test_the_memo_keeps_parts_and_what_an_image_is_derived_from() -> None:
    one, two = content(b"one"), content(b"two")
    whole = Content(Descriptor("application/x", Digest.of(b"onetwoone"), 9), Joined((one, two, one)))
    own = content(b"{}")
    image = Image.of(own.descriptor, [own, whole, one, two], [Repository("reg.test", "team/x")])
    read = decode_image(encode_image(image))
    assert read == image
    assert read.upstreams == {Repository("reg.test", "team/x")}
    assert read.stored == (own, one, two)
    assert image.makers == {"key"}


def test_an_image_of_an_upstream_needs_that_one_too() -> None:
    upstream = Content(Descriptor("text/plain", Digest.of(b"x"), 1), FromUpstream(Repository("a.test", "x")))
    image = Image.of(upstream.descriptor, [upstream], [Repository("b.test", "y")])
    assert {each.host for each in image.upstreams} == {"a.test", "b.test"}


def test_a_part_that_is_not_there_makes_the_row_unreadable() -> None:
    one = content(b"one")
    whole = Content(Descriptor("application/x", Digest.of(b"one"), 3), Joined((one,)))
    with pytest.raises(Exception, match="nothing says where"):
        decode_image(encode_image(Image(whole.descriptor, (whole,))))
