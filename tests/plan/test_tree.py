"""Plans as trees: any node stands on any other that yields an image, in what is kept, named and pinned."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lab.makers import made_by
from lab.plans import map_leaves
from wavelet.errors import InvalidRequest
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment
from wavelet.kinds.conda.model.packages import Package
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import Forms, Pin, canonical, decode, encode, key
from wavelet.plan.node import (
    INLINE,
    ContainerConfig,
    Layer,
    Node,
    layers,
    map_layers,
    map_parts,
    moves,
    parts,
    repositories,
    walk,
    without_unkept,
)

AMD64 = Platform.parse("amd64")
IMAGE = RegistryImage(Reference.parse("quay.io/a/b:1"), AMD64)
LAYER = Layer(Digest.of(b"gzip"), 4, Digest.of(b"tar"), INLINE)
BELOW = AugmentedImage(IMAGE, ContainerConfig(layers=(LAYER,)))
PACKAGES = CondaEnvironment(("samtools",), ("bioconda",), AMD64, BELOW)
TWICE = AugmentedImage(BELOW, ContainerConfig(env=("A=1",)))
INDEX = ImageIndex(((AMD64, AugmentedImage(PACKAGES, ContainerConfig(cmd=("sh",)), (BELOW,))),))
PLANS: list[Node] = [BELOW, PACKAGES, TWICE, INDEX, AugmentedImage(INDEX, ContainerConfig(env=("A=1",)))]
IDS = ["augmented", "packages on that", "augmented twice", "an index of that and more", "an index, augmented"]
LOCKED = Package.of("https://c.example/x/linux-64/a-1-h0_0.conda", "a" * 64, None, None)


def pinned(plan: Node) -> Node:
    """Return the plan with its packages locked and its images as they are today."""

    def lock(part: Node) -> Node:
        return LockedEnvironment((LOCKED,), (), AMD64, part.base) if isinstance(part, CondaEnvironment) else part

    def at(leaf: Node) -> Node:
        assert isinstance(leaf, RegistryImage)
        return replace(leaf, reference=leaf.reference.at(Digest.of(b"today")))

    return map_leaves(map_parts(plan, lock), at)


@pytest.mark.parametrize("plan", PLANS, ids=IDS)
def test_a_plan_is_kept_and_pinned_whatever_stands_on_what(plan: Node) -> None:
    assert decode(encode(plan), FORMS) == plan
    fixed = pinned(plan)
    assert moves(plan)
    assert not moves(fixed)
    assert decode(encode(fixed), FORMS) == fixed
    pin = Pin.of(fixed)
    assert Pin.decode(json.loads(json.dumps(pin.encode(plan))), plan, FORMS) == pin
    assert pin.fix(plan) == fixed
    assert set(repositories(plan)) == {IMAGE.reference.repository}
    assert LAYER in set(layers(plan))
    assert not list(layers(without_unkept(plan)))
    assert plan.label.tag is not None


@pytest.mark.parametrize("plan", PLANS, ids=IDS)
def test_layers_are_where_those_who_ask_say_whatever_they_are_below(plan: Node) -> None:
    kept = map_layers(plan, lambda layer: replace(layer, location=f"{INLINE}token"))
    fixed = Pin.of(pinned(plan)).fix(kept)
    assert {layer.location for layer in layers(fixed)} == {f"{INLINE}token"}
    assert Pin.of(fixed).name == Pin.of(pinned(plan)).name


def test_every_plan_has_a_name_and_a_key_of_its_own() -> None:
    assert len({key(plan) for plan in [*PLANS, IMAGE]}) == len(PLANS) + 1
    assert len({canonical(plan) for plan in [*PLANS, IMAGE]}) == len(PLANS) + 1


def test_what_is_pinned_by_itself_is_a_part_and_hides_what_it_stands_on() -> None:
    assert list(parts(INDEX)) == [PACKAGES, IMAGE]
    assert [type(node).__name__ for node in walk(PACKAGES)] == ["CondaEnvironment", "AugmentedImage", "RegistryImage"]
    with pytest.raises(InvalidRequest, match="other parts"):
        Pin.of(pinned(INDEX)).fix(TWICE)


def test_a_pin_with_something_that_moves_below_is_none() -> None:
    lock = LockedEnvironment((LOCKED,), (), AMD64, BELOW)
    with pytest.raises(InvalidRequest, match="moves"):
        Pin.decode(Pin((lock,)).encode(PACKAGES), PACKAGES, FORMS)


def test_a_version_of_what_makes_it_is_part_of_keys_and_of_names_but_not_of_what_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fixed = pinned(TWICE)
    first, asked, name = key(fixed), (canonical(TWICE), encode(TWICE)), Pin.of(fixed).name
    assert Pin.of(fixed).maker == ""
    made_by(monkeypatch, AugmentedImage, "version", 2)
    assert key(fixed) != first
    assert (canonical(TWICE), encode(TWICE)) == asked
    assert Pin.of(fixed).name != name
    assert Pin.of(fixed).maker == "base 2"
    assert Pin.of(pinned(INDEX)).maker == "2.1, base 2"
    earlier = replace(Pin.of(fixed), maker="")
    assert earlier.is_made_otherwise(earlier.fix(TWICE)), "its name does not answer what this version makes"
    assert not Pin.of(fixed).is_made_otherwise(fixed)


def test_what_is_in_no_table_is_not_read() -> None:
    with pytest.raises(InvalidRequest, match="not a plan"):
        decode(encode(PACKAGES), Forms([RegistryImage]))
    with pytest.raises(ValueError, match="two kinds"):
        Forms([RegistryImage, RegistryImage])
