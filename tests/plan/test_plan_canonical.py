"""Plans: what is kept reads back the same, equal requests have equal names, and what takes no part in names."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lab.plans import map_leaves
from wavelet.errors import InvalidRequest, NewerForm
from wavelet.image.reference import Digest, Platform, Reference, Repository
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import canonical, decode, encode, key
from wavelet.plan.node import ContainerConfig, Layer, Node, layers, leaves
from wavelet.plan.tokens import ANONYMOUS, Principal, asked_token, well_formed

KEY = b"k" * 32
DIGESTS = st.sampled_from([Digest.of(bytes([n])) for n in range(4)])
PLATFORMS = st.sampled_from([Platform.parse(text) for text in ("amd64", "arm64", "linux/arm/v6")])
REPOSITORIES = st.builds(Repository, st.sampled_from(["docker.io", "quay.io", "host:5000"]), st.just("a/b"))
REFERENCES = st.builds(Reference, REPOSITORIES, st.sampled_from(["1", "latest"])) | st.builds(
    Reference, REPOSITORIES, st.none(), DIGESTS
)
LEAVES = st.builds(RegistryImage, REFERENCES, PLATFORMS | st.none())
LAYERS = st.builds(
    Layer,
    DIGESTS,
    st.integers(0, 2**40) | st.none(),
    DIGESTS,
    st.sampled_from(["https://example.org/a?b=ü", "inline:"]),
    st.sampled_from([None, "amd64"]),
)
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), max_size=2).map(tuple)
ENV = st.dictionaries(st.sampled_from("ABC"), st.text("xy=", max_size=2)).map(
    lambda members: tuple(f"{name}={value}" for name, value in members.items())
)
CONFIGS = st.builds(
    ContainerConfig, TEXTS, TEXTS, ENV, st.sampled_from(["", "/w"]), st.lists(LAYERS, max_size=2).map(tuple)
)
MEMBERS = LEAVES | st.builds(AugmentedImage, LEAVES, CONFIGS, st.lists(LEAVES, max_size=2).map(tuple))
INDEXES = st.dictionaries(PLATFORMS, MEMBERS, max_size=3).map(lambda m: ImageIndex(tuple(sorted(m.items(), key=str))))
PLANS = MEMBERS | INDEXES

BASE = RegistryImage(Reference.parse("quay.io/a/b:1"), Platform.parse("amd64"))
LAYER = Layer(Digest.of(b"layer"), 5, Digest.of(b"tar"), "https://example.org/layer")
CONFIG = ContainerConfig(("/e",), ("c",), ("A=1",), "/w", (LAYER,))
PLAN = AugmentedImage(BASE, CONFIG, (RegistryImage(Reference.parse("c/d")),))


@given(PLANS)
def test_what_is_kept_reads_back_the_same(plan: Node) -> None:
    again = decode(encode(plan), FORMS)
    if not isinstance(plan, ImageIndex):
        assert again == plan
    assert encode(again) == encode(plan)
    assert canonical(again) == canonical(plan)
    assert key(again) == key(plan)


@given(PLANS, PLANS)
def test_different_plans_have_different_keys(one: Node, other: Node) -> None:
    assume(encode(one) != encode(other))
    assert key(one) != key(other)


@given(PLANS)
def test_equal_canonical_forms_and_principals_are_equal_tokens(plan: Node) -> None:
    token = asked_token(KEY, plan, ANONYMOUS)
    assert well_formed(token)
    assert token == asked_token(KEY, decode(encode(plan), FORMS), ANONYMOUS)
    assert token != asked_token(KEY, plan, Principal(1))
    assert token != asked_token(b"o" * 32, plan, ANONYMOUS)


def with_config(**members: object) -> AugmentedImage:
    return replace(PLAN, config=replace(CONFIG, **members))  # type: ignore[arg-type]


def with_layer(**members: object) -> AugmentedImage:
    return with_config(layers=(replace(LAYER, **members),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        with_layer(location="https://elsewhere.example/x"),
        with_layer(location="inline:"),
        with_layer(size=None),
        with_config(env=("A=0", "A=1")),
    ],
)
def test_what_takes_no_part_in_names(other: Node) -> None:
    assert canonical(other) == canonical(PLAN)
    assert asked_token(KEY, other, ANONYMOUS) == asked_token(KEY, PLAN, ANONYMOUS)


@pytest.mark.parametrize(
    "other",
    [
        with_layer(digest=Digest.of(b"other")),
        with_layer(diff_id=Digest.of(b"other")),
        with_layer(architecture="amd64"),
        with_config(layers=(LAYER, LAYER)),
        with_config(env=("A=2",)),
        with_config(env=("A=1", "B=1")),
        with_config(entrypoint=("/f",)),
        with_config(cmd=()),
        with_config(working_dir=""),
        replace(PLAN, includes=()),
        replace(PLAN, base=replace(BASE, platform=Platform.parse("arm64"))),
        replace(PLAN, base=replace(BASE, reference=Reference.parse("quay.io/a/b:2"))),
        BASE,
        ImageIndex(((Platform.parse("amd64"), PLAN),)),
    ],
)
def test_what_takes_part_in_names(other: Node) -> None:
    assert canonical(other) != canonical(PLAN)


def test_a_location_takes_part_in_the_memo_key() -> None:
    assert key(with_layer(location="https://elsewhere.example/x")) != key(PLAN)


def test_an_empty_configuration_is_none() -> None:
    assert not ContainerConfig()
    assert ContainerConfig(cmd=("x",))
    assert canonical(AugmentedImage(BASE, ContainerConfig())) == canonical(
        decode(encode(AugmentedImage(BASE, ContainerConfig())), FORMS)
    )
    assert b"config" not in canonical(AugmentedImage(BASE, ContainerConfig()))


def test_of_a_tag_and_a_digest_the_digest_decides() -> None:
    digest = Digest.of(b"x")
    one, other = (RegistryImage(Reference.parse(f"a/b{tag}@{digest}")) for tag in (":1", ""))
    assert canonical(one) == canonical(other)


BODIES = ["null", "[]", "{}", '{"from":1}', '{"from":"A"}', '{"index":[]}', '{"base":{}}']
BODIES += ['{"from":"a","platform":' + text + "}" for text in ('"a"', '"a/b/c/d"', "1")]
BODIES += ['{"base":{"from":"a"},"config":' + text + "}" for text in ("[]", '{"layers":[{}]}', '{"cmd":1}')]
GARBAGE = ["", "{", "null", "[]", "{}", '{"version":1}', '{"version":0,"plan":{"from":"a"}}']
GARBAGE += ['{"version":1,"plan":' + body + "}" for body in BODIES]


def test_the_form_of_a_newer_version_is_named() -> None:
    with pytest.raises(NewerForm, match=r"newer wavelet \(form 2; this one reads up to form 1\)"):
        decode(b'{"version":2,"plan":{"whatever":1}}', FORMS)


@pytest.mark.parametrize("text", GARBAGE)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        decode(text.encode(), FORMS)


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=6) | st.just("a/b:1"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["from", "base", "index", "config", "layers", "platform", "env"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.binary(max_size=30) | VALUES.map(lambda value: json.dumps({"version": 1, "plan": value}).encode()))
def test_garbage_is_refused_and_nothing_else(data: bytes) -> None:
    try:
        plan = decode(data, FORMS)
    except InvalidRequest:
        return
    assert isinstance(plan, RegistryImage | AugmentedImage | ImageIndex)


def test_every_leaf_and_layer_is_found_and_can_be_changed() -> None:
    index = ImageIndex(((Platform.parse("amd64"), PLAN), (Platform.parse("arm64"), BASE)))
    assert list(leaves(index)) == [BASE, *PLAN.includes, BASE]
    assert list(layers(index)) == [LAYER]
    digest = Digest.of(b"pinned")
    fixed = map_leaves(index, lambda leaf: replace(leaf, reference=leaf.reference.at(digest)))
    assert {leaf.reference.digest for leaf in leaves(fixed)} == {digest}
    assert list(layers(fixed)) == [LAYER]
    assert map_leaves(fixed, lambda leaf: leaf) == fixed


def test_under_what_a_token_answers() -> None:
    digest = Digest.of(b"x")
    pinned = RegistryImage(Reference.parse(f"a/b@{digest}"))
    assert BASE.label.served_as == "1"
    assert PLAN.label.served_as == "1"
    assert pinned.label.served_as == digest
    assert isinstance(pinned.label.served_as, Digest)
    changed = f"sha256-{digest.hex[:12]}"
    assert AugmentedImage(pinned, CONFIG).label.served_as == changed
    assert replace(pinned, platform=Platform.parse("amd64")).label.served_as == changed
    assert ImageIndex(((Platform.parse("amd64"), PLAN),)).label.path == BASE.reference.repository.path


@pytest.mark.parametrize(
    "token", ["", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "0" * 31 + "\n", "0" * 31 + "\N{ARABIC-INDIC DIGIT ZERO}"]
)
def test_what_is_no_token(token: str) -> None:
    assert not well_formed(token)
