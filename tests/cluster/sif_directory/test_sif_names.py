"""The names of files: readable, harmless to shells and file systems, and told apart by their keys."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.cluster.sif_directory.names import READABLE_LIMIT, SIF_FILE, SifName, readable

KEY = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("library/ubuntu:24.04", "library-ubuntu-24.04"),
        ("conda/samtools=1.17 BWA", "conda-samtools-1.17-bwa"),
        ("../../etc/passwd", "etc-passwd"),
        ("-rf", "rf"),
        (".hidden", "hidden"),
        ("a--b", "a-b"),
        ("été", "t"),
        ("", "image"),
        ("//", "image"),
        ("x" * 300, "x" * READABLE_LIMIT),
    ],
)
def test_labels(label: str, text: str) -> None:
    assert readable(label) == text
    assert SifName(label, KEY).file == f"{text}--{KEY}.sif"


@given(st.text())
def test_every_label_gives_a_harmless_name(label: str) -> None:
    text = readable(label)
    assert re.fullmatch(r"[a-z0-9_][a-z0-9._-]*", text)
    assert "--" not in text
    assert len(text) <= READABLE_LIMIT
    assert SIF_FILE.fullmatch(SifName(label, KEY).file)


@pytest.mark.parametrize("key", ["", "../" + KEY, KEY[1:], KEY.upper(), KEY + "\n"])
def test_a_key_is_nothing_else(key: str) -> None:
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        SifName("a", key)
