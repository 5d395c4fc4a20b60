"""Errors said in other words: all else that they say stays."""

from __future__ import annotations

import pytest

from wavelet.errors import AccessRefused, RangeInvalid, UpstreamBusy, WaveletError


@pytest.mark.parametrize("error", [AccessRefused("no", field="a", declined=True), RangeInvalid(7)])
def test_saying(error: WaveletError) -> None:
    said = error.with_message("not now")
    assert type(said) is type(error)
    assert (said.message, str(said)) == ("not now", "not now")
    assert {**vars(said), "message": error.message} == vars(error)
    assert error.with_message("not now", field="b").field == "b"
    assert str(error) != "not now"


def test_when_to_come_again_stays() -> None:
    assert UpstreamBusy("busy", retry_after=3.0).with_message("still busy").retry_after == 3.0
