"""What a repository for layers has, and what of it is believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from wavelet.image.image import Content, Descriptor, Image, MadeBy, parse_document
from wavelet.image.reference import Digest
from wavelet.push.layer_entry import SEAL, entry_of, read_entry, tag_of

SECRET, OTHERS = b"s" * 32, b"o" * 32
KEY = "ab" * 32


def content(data: bytes, media_type: str) -> Content:
    return Content(Descriptor(media_type, Digest.of(data), len(data)), MadeBy(KEY))


DOCUMENT, LAYER, OTHER = content(b"{}", "application/x"), content(b"layer", "layer/x"), content(b"other", "layer/x")
IMAGE = Image.of(DOCUMENT.descriptor, [DOCUMENT, LAYER])


def test_what_is_written_is_read() -> None:
    data = entry_of(SECRET, KEY, IMAGE)
    assert read_entry(SECRET, KEY, data) == IMAGE
    assert parse_document(data).descriptors == (DOCUMENT.descriptor, LAYER.descriptor)


def test_bytes_are_for_good() -> None:
    """Nodes of several versions use one repository."""
    assert tag_of(SECRET, KEY) == "layer-601ad25f93e990195921343cb24748da"
    assert (
        Digest.of(entry_of(SECRET, KEY, IMAGE))
        == "sha256:6ec4bcd98523c0169c815c885e581a3b825677d44f423e30a43bb24377e2928a"
    )


def test_nobody_else_knows_the_tag() -> None:
    assert len({tag_of(SECRET, KEY), tag_of(OTHERS, KEY), tag_of(SECRET, "cd" * 32)}) == 3


def test_of_another_key_or_for_another_layer_is_no_entry() -> None:
    data = entry_of(SECRET, KEY, IMAGE)
    assert read_entry(OTHERS, KEY, data) is None
    assert read_entry(SECRET, "cd" * 32, data) is None


def _other_layer(entry: dict[str, Any]) -> None:
    entry["layers"] = [OTHER.descriptor.as_json()]


def _other_document(entry: dict[str, Any]) -> None:
    entry["config"] = OTHER.descriptor.as_json()


def _swapped(entry: dict[str, Any]) -> None:
    entry["config"], entry["layers"] = entry["layers"][0], [entry["config"]]


def _one_more(entry: dict[str, Any]) -> None:
    entry["layers"].append(OTHER.descriptor.as_json())


def _unsealed(entry: dict[str, Any]) -> None:
    del entry["annotations"][SEAL]


def _odd_seal(entry: dict[str, Any]) -> None:
    entry["annotations"] = {SEAL: "é"}


def _no_text(entry: dict[str, Any]) -> None:
    entry["annotations"] = [1]


def _of_another_type(entry: dict[str, Any]) -> None:
    entry["layers"][0]["mediaType"] = "layer/y"


def _two_as_one(entry: dict[str, Any]) -> None:
    document, layer = entry["config"], entry["layers"].pop()
    first = f"{document['mediaType']} {document['digest']} {document['size']}"
    entry["config"] = layer | {"mediaType": f"{first}\0{layer['mediaType']}"}


@pytest.mark.parametrize(
    "change",
    [_other_layer, _other_document, _swapped, _one_more, _unsealed, _odd_seal, _no_text, _of_another_type, _two_as_one],
)
def test_what_was_changed_is_no_entry(change: Callable[[dict[str, Any]], None]) -> None:
    entry = json.loads(entry_of(SECRET, KEY, IMAGE))
    change(entry)
    assert read_entry(SECRET, KEY, json.dumps(entry).encode()) is None


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"manifests":[]}', b'{"schemaVersion":2,"layers":[]}'])
def test_what_is_no_artifact_is_no_entry(data: bytes) -> None:
    assert read_entry(SECRET, KEY, data) is None
