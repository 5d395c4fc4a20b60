"""Augmentation: bytes from bytes, the same for ever (golden/augment.json), and the rules that the bytes follow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.errors import InvalidRequest
from wavelet.image.augment import (
    LAYER_LIMIT,
    AddedLayer,
    Addition,
    AugmentedManifest,
    augment_index,
    augment_manifest,
    make_index,
)
from wavelet.image.image import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Family,
    Index,
    MalformedManifest,
    parse_document,
)
from wavelet.image.reference import Digest, Platform

GOLDEN = json.loads((Path(__file__).parent / "golden" / "augment.json").read_text("utf-8"))
OWN = Digest.of(b"own layer")
OWN_TAR = Digest.of(b"own tar")
ADDED = AddedLayer(Digest.of(b"added"), 7, Digest.of(b"added tar"))


def addition_of(members: dict[str, Any]) -> Addition:
    """Read an addition as the golden file has it."""
    layers = tuple(
        AddedLayer(
            Digest.parse(layer["digest"]),
            layer["size"],
            Digest.parse(layer["diff_id"]),
            layer.get("compression", "gzip"),
            layer.get("architecture"),
        )
        for layer in members.get("layers", ())
    )
    lists = {name: tuple(members.get(name, ())) for name in ("entrypoint", "cmd", "env")}
    return Addition(layers, working_dir=members.get("working_dir", ""), **lists)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in GOLDEN["manifests"]])
def test_the_same_input_gives_the_same_bytes_for_ever(case: dict[str, Any]) -> None:
    """A change of these bytes changes the digests of images that users have recorded: it is no change to make."""
    made = augment_manifest(
        case["manifest"].encode(), case["content_type"], case["config"].encode(), addition_of(case["addition"])
    )
    expected = case["expected"]
    assert made.config.decode() == expected["config"]
    assert made.manifest.decode() == expected["manifest"]
    assert Digest.of(made.manifest) == expected["manifest_digest"]
    assert Digest.of(made.config) == expected["config_digest"]
    assert (made.media_type, made.config_media_type) == (expected["media_type"], expected["config_media_type"])
    assert [layer.digest for layer in made.layers] == expected["layers"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in GOLDEN["indexes"]])
def test_the_same_index_gives_the_same_bytes_for_ever(case: dict[str, Any]) -> None:
    replaced = {Digest.parse(old): Descriptor("", Digest.parse(new), size) for old, (new, size) in case["with"].items()}
    made = augment_index(case["index"].encode(), replaced)
    assert made.decode() == case["expected"]
    assert Digest.of(made) == case["digest"]


def manifest(family: Family = Family.OCI, layers: int = 1, *, says: bool = True, **members: Any) -> bytes:
    document = {
        "schemaVersion": 2,
        "config": {
            "mediaType": OCI_CONFIG if family is Family.OCI else DOCKER_CONFIG,
            "digest": Digest.of(b"config"),
            "size": 6,
        },
        "layers": [Descriptor(family.layer(), OWN, 9).as_json()] * layers,
    }
    if says:
        document["mediaType"] = OCI_MANIFEST if family is Family.OCI else DOCKER_MANIFEST
    return json.dumps(document | members).encode()


def config(settings: dict[str, Any] | None = None, **members: Any) -> bytes:
    document = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [OWN_TAR]}}
    return json.dumps(document | ({} if settings is None else {"config": settings}) | members).encode()


def augmented(addition: Addition, data: bytes | None = None, own: bytes | None = None) -> AugmentedManifest:
    return augment_manifest(data or manifest(), "", own or config(), addition)


def settings_of(addition: Addition, settings: dict[str, Any] | None) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(augmented(addition, own=config(settings)).config)["config"]
    return made


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("compression", ["gzip", "zstd", "tar"])
def test_added_layers_have_the_media_type_of_the_manifests_family(family: Family, compression: str) -> None:
    made = augmented(Addition((replace(ADDED, compression=compression),)), manifest(family))
    document = json.loads(made.manifest)
    types = [layer["mediaType"] for layer in document["layers"]]
    assert types == [family.layer(), family.layer(compression)]
    assert document["layers"][1] == {"mediaType": types[1], "digest": ADDED.digest, "size": ADDED.size}
    assert made.media_type == document["mediaType"]


def test_a_document_without_a_media_type_gets_none_and_is_of_the_family_that_the_header_says() -> None:
    made = augment_manifest(manifest(Family.DOCKER, says=False), DOCKER_MANIFEST, config(), Addition((ADDED,)))
    document = json.loads(made.manifest)
    assert "mediaType" not in document
    assert made.media_type == DOCKER_MANIFEST
    assert document["layers"][1]["mediaType"] == Family.DOCKER.layer("gzip")


def test_the_documents_name_each_other() -> None:
    made = augmented(Addition((ADDED,)))
    document, image = json.loads(made.manifest), json.loads(made.config)
    assert document["config"] == {"mediaType": OCI_CONFIG, "digest": Digest.of(made.config), "size": len(made.config)}
    assert image["rootfs"]["diff_ids"] == [OWN_TAR, ADDED.diff_id]
    assert len(document["layers"]) == len(image["rootfs"]["diff_ids"])


def test_what_is_not_understood_is_kept_in_its_place() -> None:
    own = b'{"x-first":[1.50,1e2],"rootfs":{"y":"\xc3\xa9","diff_ids":[]},"config":{"Z":null},"os":"linux","last":0}'
    made = augmented(
        Addition((ADDED,), env=("A=1",)),
        manifest(annotations={"k": "ü"}, subject=Descriptor("x", OWN, 1).as_json()),
        own,
    )
    assert list(json.loads(made.config)) == ["x-first", "rootfs", "config", "os", "last", "history"]
    assert "é".encode() in made.config
    document = json.loads(made.manifest)
    assert document["annotations"] == {"k": "ü"}
    assert document["subject"]["digest"] == OWN


def test_history_goes_on_only_where_it_speaks_of_every_layer() -> None:
    def history(**members: Any) -> Any:
        return json.loads(augmented(Addition((ADDED, ADDED)), own=config(**members)).config).get("history")

    assert history() is None
    assert history(history=[]) == []
    assert history(history=None) is None
    own = {"created_by": "base"}
    added = history(history=[own])
    assert added[0] == own
    assert len(added) == 3
    assert ADDED.diff_id in added[1]["created_by"]
    assert len(history(rootfs={"type": "layers", "diff_ids": []})) == 2


def test_only_what_is_given_is_changed() -> None:
    own = {"Entrypoint": ["/e"], "Cmd": ["c"], "Env": ["A=1", "B=2"], "WorkingDir": "/w", "User": "u"}
    assert settings_of(Addition(), own) == own | {"Env": ["A=1", "B=2", "WAVE_ENTRY_CHAIN=/e"]}
    new = Addition((), ("/n", "x"), ("d",), ("B=3", "C=4"), "/v")
    assert settings_of(new, own) == {
        "Entrypoint": ["/n", "x"],
        "Cmd": ["d"],
        "Env": ["A=1", "B=3", "C=4", "WAVE_ENTRY_CHAIN=/e"],
        "WorkingDir": "/v",
        "User": "u",
    }


@pytest.mark.parametrize(
    ("entrypoint", "chain"),
    [
        (None, None),
        ([], None),
        (["/usr/bin/tini"], "/usr/bin/tini"),
        (["/tini", "--", "ü b"], '["/tini","--","ü b"]'),
    ],
)
def test_the_images_own_entry_point_is_handed_on(entrypoint: list[str] | None, chain: str | None) -> None:
    """One element as it is, several as a JSON array, none not at all: as Wave writes it."""
    for addition in (Addition(entrypoint=("/launcher",)), Addition(env=("X=1",))):
        env = settings_of(addition, {"Entrypoint": entrypoint}).get("Env", [])
        found = [each.partition("=")[2] for each in env if each.startswith("WAVE_ENTRY_CHAIN=")]
        assert found == ([] if chain is None else [chain])


def test_an_absent_or_null_configuration_counts_as_empty() -> None:
    for own in (config(), config(config=None), config({"Env": None, "Entrypoint": None})):
        made = json.loads(augmented(Addition(cmd=("c",), env=("A=1",)), own=own).config)
        assert made["config"]["Cmd"] == ["c"]
        assert made["config"]["Env"] == ["A=1"]


@pytest.mark.parametrize(("architecture", "taken"), [("amd64", True), ("arm64", False), (None, True)])
def test_a_layer_for_one_architecture_joins_only_that(architecture: str | None, taken: bool) -> None:
    made = augmented(Addition((replace(ADDED, architecture=architecture),)))
    assert (len(made.layers) == 1) is taken
    assert (len(json.loads(made.manifest)["layers"]) == 2) is taken
    assert (ADDED.diff_id in made.config.decode()) is taken


def test_engines_mount_127_layers_and_no_more() -> None:
    full = manifest(layers=LAYER_LIMIT - 1)
    assert len(json.loads(augmented(Addition((ADDED,)), full).manifest)["layers"]) == LAYER_LIMIT
    with pytest.raises(InvalidRequest, match="128 layers; engines mount 127") as caught:
        augmented(Addition((ADDED, ADDED)), full)
    assert caught.value.field == "containerConfig.layers"
    other = replace(ADDED, architecture="arm64")
    augmented(Addition((ADDED, other, other)), full)


@pytest.mark.parametrize("layers", [b'"layers": null,', b'"layers": [],', b""])
def test_a_manifest_without_layers_gets_the_first_one(layers: bytes) -> None:
    empty = b'"layers": [],'
    data = manifest(layers=0).replace(empty, layers)
    assert (empty in data) is (layers == empty)
    made = augmented(Addition((ADDED,)), data)
    assert [layer["digest"] for layer in json.loads(made.manifest)["layers"]] == [ADDED.digest]


@pytest.mark.parametrize(
    ("data", "own"),
    [
        (b"{}", config()),
        (b'{"manifests":[]}', config()),
        (b'{"layers":[]}', config()),
        (manifest(), b"null"),
        (manifest(), b"[]"),
        (manifest(), config({"Env": "A=1"})),
        (manifest(), config({"Env": [1]})),
        (manifest(), config({"Entrypoint": 5})),
        (manifest(), config(history="x")),
        (manifest(), config(history={"a": 1})),
        (manifest(), config(config=["x"])),
        (manifest(), config(rootfs=[])),
        (manifest(), config(rootfs={"diff_ids": ["x"]})),
        (manifest(), config(os=5)),
    ],
)
def test_what_is_no_image_is_malformed(data: bytes, own: bytes) -> None:
    with pytest.raises(MalformedManifest):
        augment_manifest(data, "", own, Addition((ADDED,), env=("A=1",)))


WORDS = st.lists(st.text(max_size=5), max_size=3).map(tuple)


@given(WORDS, WORDS, WORDS, st.text(max_size=5), st.integers(0, 3))
def test_augmenting_twice_gives_the_same_bytes(
    entrypoint: tuple[str, ...], cmd: tuple[str, ...], env: tuple[str, ...], working_dir: str, count: int
) -> None:
    addition = Addition((ADDED,) * count, entrypoint, cmd, env, working_dir)
    made = augmented(addition)
    assert made == augmented(addition)
    assert json.loads(made.config)["config"] is not None
    assert len(json.loads(made.manifest)["layers"]) == 1 + count


def entry(name: str, platform: dict[str, str] | None, **members: Any) -> dict[str, Any]:
    own = Descriptor(OCI_MANIFEST, Digest.of(name.encode()), len(name)).as_json() | members
    return own | ({} if platform is None else {"platform": platform})


AMD64 = {"architecture": "amd64", "os": "linux"}
ARM64 = {"architecture": "arm64", "os": "linux", "variant": "v8"}


def test_an_entry_that_is_not_augmented_is_never_left_in_an_index() -> None:
    entries = [
        entry("amd64", AMD64, annotations={"k": "v"}),
        entry("attestation", {"architecture": "unknown", "os": "unknown"}),
        entry("arm64", ARM64),
        entry("nested", None),
    ]
    index = json.dumps({"mediaType": OCI_INDEX, "manifests": entries, "annotations": {"a": "b"}}).encode()
    new = {Digest.of(name): Descriptor(OCI_MANIFEST, Digest.of(b"new " + name), 99) for name in (b"amd64", b"arm64")}
    document = json.loads(augment_index(index, new))
    assert document["annotations"] == {"a": "b"}
    assert document["manifests"] == [
        entries[0] | {"digest": Digest.of(b"new amd64"), "size": 99},
        entries[2] | {"digest": Digest.of(b"new arm64"), "size": 99},
    ]
    assert json.loads(augment_index(index, {}))["manifests"] == []


def test_an_index_of_exactly_the_platforms_that_were_asked_for() -> None:
    members = {
        Platform.parse("arm64"): Descriptor(DOCKER_MANIFEST, Digest.of(b"b"), 2),
        Platform.parse("amd64"): Descriptor(DOCKER_MANIFEST, Digest.of(b"a"), 1),
        Platform.parse("linux/arm/v6"): Descriptor(DOCKER_MANIFEST, Digest.of(b"c"), 3),
    }
    data = make_index(members)
    view = parse_document(data)
    assert isinstance(view, Index)
    assert view.media_type == DOCKER_LIST
    assert {each.platform: each.descriptor for each in view.entries} == members
    assert data == make_index(dict(reversed(members.items())))
    members[Platform.parse("arm64")] = Descriptor(OCI_MANIFEST, Digest.of(b"b"), 2)
    assert parse_document(make_index(members)).media_type == OCI_INDEX
