"""Manifests, indexes and configurations as registries have them, and bytes that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.foreign_json import NESTING_LIMIT
from wavelet.image.augment import Addition, AugmentedManifest, augment_manifest
from wavelet.image.image import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_ARTIFACT,
    OCI_INDEX,
    OCI_MANIFEST,
    Family,
    Index,
    MalformedManifest,
    Manifest,
    merge_env,
    parse_config,
    parse_document,
)
from wavelet.image.reference import Digest

A, B, C = (str(Digest.of(letter)) for letter in (b"a", b"b", b"c"))


def descriptor(digest: str, size: int = 1, media_type: str = "x", **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size} | more


def parse(document: Any, content_type: str | None = None) -> Manifest | Index:
    return parse_document(json.dumps(document).encode(), content_type)


IMAGE = {"schemaVersion": 2, "config": descriptor(A), "layers": [descriptor(B), descriptor(C)]}
INDEX = {"schemaVersion": 2, "manifests": [descriptor(A, platform={"os": "linux", "architecture": "arm"})]}


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_a_manifest_of_each_family(media_type: str) -> None:
    view = parse(IMAGE | {"mediaType": media_type}, "text/plain")
    assert isinstance(view, Manifest)
    assert view.media_type == media_type
    assert [each.digest for each in view.descriptors] == [A, B, C]


def test_without_a_media_type_the_header_decides_and_else_the_members() -> None:
    assert parse(IMAGE, f"{DOCKER_MANIFEST}; charset=utf-8").media_type == DOCKER_MANIFEST
    assert parse(IMAGE).media_type == OCI_MANIFEST
    assert parse(IMAGE, "application/json").media_type == OCI_MANIFEST
    assert parse(INDEX, DOCKER_LIST).media_type == DOCKER_LIST
    assert parse(INDEX).media_type == OCI_INDEX
    assert parse(IMAGE | {"mediaType": OCI_INDEX}).media_type == OCI_MANIFEST


def test_a_nested_index_and_an_attestation_are_entries_like_others() -> None:
    entries = [
        descriptor(A, media_type=OCI_INDEX),
        descriptor(B, platform={"os": "unknown", "architecture": "unknown"}, annotations={"k": "v"}),
        descriptor(C, platform={"os": "linux", "architecture": "arm64", "variant": "v8", "os.version": "1"}),
    ]
    view = parse({"manifests": entries, "annotations": None})
    assert isinstance(view, Index)
    assert [each.is_image for each in view.entries] == [False, False, True]
    assert view.entries[1].annotations == {"k": "v"}
    assert str(view.entries[2].platform) == "linux/arm64"


def test_null_is_absent_and_a_bad_entry_of_an_index_is_left_out_alone() -> None:
    """Fault B9: null means absent in the JSON of others, and one bad entry voids itself only."""
    platform = {"os": "linux", "architecture": "amd64", "variant": None, "os.version": None}
    bad = [None, 1, {}, descriptor("sha256:short"), descriptor(C, size=-1), descriptor(C, platform=[])]
    good = descriptor(A, platform=platform, annotations={"a": None, "b": "c", "d": 1}, urls=None)
    view = parse({"schemaVersion": 2, "mediaType": None, "layers": None, "manifests": [*bad, good]})
    assert isinstance(view, Index)
    assert [(entry.descriptor.digest, str(entry.platform), entry.annotations) for entry in view.entries] == [
        (A, "linux/amd64", {"b": "c"})
    ]
    image = {"schemaVersion": None, "config": descriptor(A), "layers": [descriptor(B) | {"mediaType": None}]}
    assert [each.media_type for each in parse(image).descriptors] == ["x", ""]


def test_an_artifact_has_its_blobs_as_layers() -> None:
    artifact = {"mediaType": OCI_ARTIFACT, "blobs": [descriptor(B)], "subject": descriptor(A)}
    view = parse(artifact)
    assert isinstance(view, Manifest)
    assert (view.config, view.media_type) == (None, OCI_ARTIFACT)
    assert [each.digest for each in view.layers] == [B]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "text",
        {},
        {"schemaVersion": 2},
        {"schemaVersion": 1, "fsLayers": [], "history": []},
        {"manifests": {}},
        {"manifests": [1]},
        {"manifests": [{"digest": A}]},
        IMAGE | {"layers": [descriptor("sha256:short")]},
        IMAGE | {"layers": [descriptor(A, size=-1)]},
        IMAGE | {"config": descriptor(A, size="1")},  # type: ignore[arg-type]
        IMAGE | {"config": descriptor("../../etc/passwd")},
    ],
)
def test_what_is_no_manifest(document: Any) -> None:
    with pytest.raises(MalformedManifest):
        parse(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([A, B]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = ["config", "layers", "manifests", "blobs", "subject", "mediaType", "schemaVersion", "annotations"]
GARBLED = st.builds(
    lambda base, changes: base | changes,
    st.sampled_from([IMAGE, INDEX]),
    st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=2),
)


@given(st.binary(max_size=60) | (GARBLED | JSON).map(lambda value: json.dumps(value).encode()), st.text() | st.none())
def test_garbage_is_malformed_and_nothing_else(data: bytes, content_type: str | None) -> None:
    try:
        view = parse_document(data, content_type)
    except MalformedManifest:
        return
    for each in view.descriptors:
        assert each.size >= 0
        assert Digest.parse(each.digest)


def test_a_deeply_nested_document_is_malformed() -> None:
    for data in (b"[" * 100_000, b'{"config":' * 100_000):
        with pytest.raises(MalformedManifest):
            parse_document(data)
        with pytest.raises(MalformedManifest):
            parse_config(data)


@pytest.mark.parametrize("deep", [NESTING_LIMIT - 1, NESTING_LIMIT, 500, 900, 990, 1100])
def test_what_can_be_read_can_be_written(deep: int) -> None:
    """Fault G1: no depth of an image's documents is read by one step and too much for the next."""
    inner = "[" * deep + "]" * deep
    config = f'{{"architecture":"amd64","os":"linux","x":{inner},"rootfs":{{"type":"layers","diff_ids":[]}}}}'.encode()
    own = f'"config":{{"mediaType":"x","digest":"{Digest.of(config)}","size":{len(config)}}}'
    manifest = f'{{"schemaVersion":2,"says":"\\"[[{{","x":{inner},{own},"layers":[]}}'.encode()

    def add(frames: int) -> AugmentedManifest:
        """Augment below so many frames of others."""
        return add(frames - 1) if frames else augment_manifest(manifest, "", config, Addition(env=("A=1",)))

    for frames in (0, 300):
        if deep < NESTING_LIMIT:
            assert inner.encode() in add(frames).config
        else:
            with pytest.raises(MalformedManifest, match="nested more than 128 deep"):
                add(frames)


@pytest.mark.parametrize("like", ["gzip", "zstd", "application/vnd.oci.image.layer.v1.tar+gzip", "tar"])
def test_each_family_names_its_own_layers(like: str) -> None:
    assert Family.DOCKER.layer(like).startswith("application/vnd.docker.")
    assert Family.OCI.layer(like).startswith("application/vnd.oci.")
    assert ("zstd" in like) == ("zstd" in Family.OCI.layer(like)) == ("zstd" in Family.DOCKER.layer(like))
    assert Family.of(Family.OCI.index) is Family.OCI
    assert Family.of(Family.DOCKER.index) is Family.DOCKER


def test_a_configuration_says_platform_and_diff_ids() -> None:
    data = b'{"z":1,"architecture":"arm64","variant":"v8","os":"linux","rootfs":{"diff_ids":["%s"]}}' % A.encode()
    document, view = parse_config(data)
    assert list(document) == ["z", "architecture", "variant", "os", "rootfs"]
    assert str(view.platform) == "linux/arm64"
    assert view.diff_ids == (A,)
    assert str(parse_config(b"{}")[1].platform) == "linux/amd64"


def test_null_in_a_configuration_is_absent() -> None:
    """Fault B9: null means absent in the JSON of others."""
    document = {"os": None, "architecture": "arm64", "variant": None, "config": {"Env": None, "Cmd": None}}
    rootfs = {"type": None, "diff_ids": [A]}
    whole, view = parse_config(json.dumps(document | {"rootfs": rootfs, "history": None}).encode())
    assert (str(view.platform), view.diff_ids) == ("linux/arm64", (A,))
    assert whole["config"] == {"Env": None, "Cmd": None}, "the document is kept as it is"


CONFIG_MEMBERS = ["config", "rootfs", "history", "os", "architecture", "variant"]


@given(
    st.binary(max_size=40)
    | st.dictionaries(st.sampled_from(CONFIG_MEMBERS), JSON).map(lambda v: json.dumps(v).encode())
)
def test_a_garbled_configuration_is_malformed_and_nothing_else(data: bytes) -> None:
    try:
        document, _ = parse_config(data)
    except MalformedManifest:
        return
    assert isinstance(document, dict)


NAMES = st.sampled_from(["A", "B", "PATH", ""])
ENTRIES = st.builds("{}={}".format, NAMES, st.text("xy=", max_size=3)) | NAMES
LISTS = st.lists(st.lists(ENTRIES, max_size=5), max_size=4)


@given(LISTS)
def test_merged_environments_have_each_name_once_with_its_last_value(lists: list[list[str]]) -> None:
    merged = merge_env(*lists)
    flat = [entry for entries in lists for entry in entries]
    names = [entry.partition("=")[0] for entry in flat]
    assert [entry.partition("=")[0] for entry in merged] == list(dict.fromkeys(names))
    assert merge_env(merged) == merged
    for entry in merged:
        assert entry == next(e for e in reversed(flat) if e.partition("=")[0] == entry.partition("=")[0])


@given(LISTS)
def test_merging_is_associative(lists: list[list[str]]) -> None:
    merged: list[str] = []
    for entries in lists:
        merged = merge_env(merged, entries)
    assert merged == merge_env(*lists)
