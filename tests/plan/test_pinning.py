"""What plans are pinned to, and the names that are made of it: the same for the same bytes, whatever else is said."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plan.test_plan_canonical import BASE, CONFIG, KEY, PLAN, TEXTS, VALUES
from wavelet.errors import InvalidRequest
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment
from wavelet.kinds.conda.model.packages import Package, Wheel
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import Pin, reading
from wavelet.plan.node import INLINE, ContainerConfig, Layer, Node, map_parts, parts
from wavelet.plan.tokens import ANONYMOUS, Principal, asked_token, decided_token, undecided_token, well_formed

AMD64, ARM64 = Platform.parse("amd64"), Platform.parse("arm64")
PLATFORMS = st.sampled_from([AMD64, ARM64])
DIGESTS = st.sampled_from([Digest.of(bytes([n])) for n in range(4)])
TAGGED = st.sampled_from(["docker.io/a/b:1", "quay.io/a/b:latest", "host:5000/c"]).map(Reference.parse)
REFERENCES = TAGGED | st.builds(Reference.at, TAGGED, DIGESTS) | st.builds(replace, TAGGED, digest=DIGESTS)
LEAVES = st.builds(RegistryImage, REFERENCES, PLATFORMS | st.none())
SHA256 = st.sampled_from(["a" * 64, "b" * 64])
PACKAGES = st.builds(
    Package,
    st.sampled_from([f"https://c.example/x/linux-64/{name}-1-h0_0.conda" for name in "abc"]),
    SHA256,
    st.none() | st.just("c" * 32),
    st.none() | st.integers(0, 2**40),
)
WHEELS = st.builds(
    Wheel, st.just("https://f.example/six-1-py3-none-any.whl"), SHA256, st.none() | st.integers(0, 2**40)
)
LOCKS = st.builds(
    LockedEnvironment,
    st.lists(PACKAGES, max_size=3).map(tuple),
    st.lists(WHEELS, max_size=1).map(tuple),
    PLATFORMS,
    LEAVES,
    layers=st.sampled_from(["many", "few"]),
)
SPECS = st.lists(st.sampled_from(["python=3.11", "samtools"]), max_size=2, unique=True).map(tuple)
SOLVED = st.builds(
    CondaEnvironment, SPECS, st.just(("conda-forge",)), PLATFORMS, LEAVES, as_of=st.none() | st.just("2026")
)
PARTS = LEAVES | LOCKS | SOLVED
LAYERS = st.builds(Layer, DIGESTS, st.integers(0, 99), DIGESTS, st.sampled_from([INLINE, "https://l.example/l"]))
CONFIGS = st.builds(ContainerConfig, TEXTS, layers=st.lists(LAYERS, max_size=2).map(tuple))
MEMBERS = PARTS | st.builds(AugmentedImage, PARTS, CONFIGS, st.lists(LEAVES, max_size=2).map(tuple))
INDEXES = st.dictionaries(PLATFORMS, MEMBERS, max_size=2).map(lambda m: ImageIndex(tuple(sorted(m.items(), key=str))))
PLANS = MEMBERS | INDEXES

PACKAGE = Package("https://c.example/x/linux-64/a-1-h0_0.conda", "a" * 64, "c" * 32, 5)
WHEEL = Wheel("https://f.example/six-1-py3-none-any.whl", "b" * 64, 6)
SPEC = CondaEnvironment(("samtools",), ("conda-forge",), AMD64, BASE)


def at(leaf: RegistryImage, content: str) -> RegistryImage:
    return leaf if leaf.reference.digest else replace(leaf, reference=leaf.reference.at(Digest.of(content.encode())))


def lock(content: str = "today", **members: Any) -> LockedEnvironment:
    return replace(LockedEnvironment((PACKAGE,), (WHEEL,), AMD64, at(BASE, content)), **members)


def pinned(plan: Node, content: str = "today") -> Node:
    """Return the plan with everything in it that moves fixed, as it was when its content was `content`."""

    def fix(part: Node) -> Node:
        if isinstance(part, RegistryImage):
            return at(part, content)
        if isinstance(part, LockedEnvironment):
            return replace(part, base=at(part.base, content))
        return replace(lock(content), platform=part.platform, base=at(part.base, content), layers=part.layers)

    return map_parts(plan, fix)


def read_back(pin: Pin, asked: Node) -> Pin:
    return Pin.decode(json.loads(json.dumps(pin.encode(asked))), asked, FORMS)


@given(PLANS)
def test_what_is_kept_reads_back_as_the_same_pin(asked: Node) -> None:
    pin = Pin.of(pinned(asked))
    again = read_back(pin, asked)
    assert again.name == pin.name
    assert again.maker == pin.maker
    assert read_back(again, asked) == again
    assert again.encode(asked) == pin.encode(asked)
    assert pin.fix(asked) == pinned(asked)
    assert Pin.of(pin.fix(asked)) == pin


@given(PLANS)
def test_a_pin_says_with_what_images_of_packages_are_made(asked: Node) -> None:
    fixed = pinned(asked)
    pin = Pin.of(fixed)
    assert pin.maker == (
        LockedEnvironment.maker if any(isinstance(part, LockedEnvironment) for part in parts(fixed)) else ""
    )
    assert list(pin.parts) == list(parts(fixed))


@given(PLANS)
def test_what_was_asked_for_by_its_digest_is_not_kept_twice(asked: Node) -> None:
    fixed = pinned(asked)
    assert Pin.of(fixed).encode(fixed)["parts"] == [None] * len(list(parts(fixed)))


@given(PLANS, PLANS)
def test_different_pins_have_different_names(one: Node, other: Node) -> None:
    first, second = Pin.of(pinned(one)), Pin.of(pinned(other))
    assume(first.name != second.name)
    assert decided_token(KEY, one, first, ANONYMOUS) != decided_token(KEY, one, second, ANONYMOUS)


@given(PLANS)
def test_what_decides_a_name(asked: Node) -> None:
    today, tomorrow = Pin.of(pinned(asked)), Pin.of(pinned(asked, "tomorrow"))
    token = decided_token(KEY, asked, today, ANONYMOUS)
    assert well_formed(token)
    assert token == decided_token(KEY, asked, read_back(today, asked), ANONYMOUS)
    others = {
        decided_token(KEY, asked, today, Principal(1)),
        decided_token(b"o" * 32, asked, today, ANONYMOUS),
        decided_token(KEY, asked, replace(today, maker="99.1"), ANONYMOUS),
        undecided_token(KEY, asked, "00", ANONYMOUS),
        undecided_token(KEY, asked, "01", ANONYMOUS),
        undecided_token(KEY, asked, "00", Principal(1)),
        undecided_token(KEY, asked, today.name, ANONYMOUS),
        asked_token(KEY, asked, ANONYMOUS),
    }
    assert len(others) == 8
    assert token not in others
    moves = today.name != tomorrow.name
    assert moves == (token != decided_token(KEY, asked, tomorrow, ANONYMOUS))


def config(**members: Any) -> AugmentedImage:
    (layer,) = CONFIG.layers
    return replace(PLAN, config=replace(CONFIG, layers=(replace(layer, **members),)))


@pytest.mark.parametrize(
    "said", [config(location=INLINE), config(location="https://elsewhere.example/l?x=1"), config(size=None)]
)
def test_where_a_layer_is_and_its_size_take_no_part(said: AugmentedImage) -> None:
    one, other = (decided_token(KEY, each, Pin.of(pinned(each)), ANONYMOUS) for each in (PLAN, said))
    assert one == other


@pytest.mark.parametrize(
    "same",
    [
        lock(packages=(replace(PACKAGE, size=None),)),
        lock(packages=(replace(PACKAGE, size=7),)),
        lock(packages=(replace(PACKAGE, md5=None),)),
        lock(wheels=(replace(WHEEL, size=None),)),
        lock(base=replace(lock().base, reference=replace(lock().base.reference, tag="1"))),
    ],
)
@pytest.mark.parametrize("asked", [SPEC, AugmentedImage(SPEC, CONFIG), ImageIndex(((AMD64, SPEC),))])
def test_what_makes_the_same_bytes_is_the_same_pin(asked: Node, same: LockedEnvironment) -> None:
    one, other = (Pin.of(map_parts(asked, lambda _, fixed=fixed: fixed)) for fixed in (lock(), same))  # type: ignore[misc]
    assert one.name == other.name
    assert decided_token(KEY, asked, one, ANONYMOUS) == decided_token(KEY, asked, other, ANONYMOUS)


@pytest.mark.parametrize(
    "other",
    [
        lock("tomorrow"),
        lock(packages=()),
        lock(packages=(replace(PACKAGE, sha256="d" * 64),)),
        lock(packages=(replace(PACKAGE, url=PACKAGE.url.replace("h0_0", "h0_1")),)),
        lock(wheels=()),
        lock(layers="few"),
        lock(platform=ARM64),
    ],
)
def test_what_makes_other_bytes_is_another_pin(other: LockedEnvironment) -> None:
    assert Pin.of(lock()).name != Pin.of(other).name


def test_each_part_takes_part_and_so_does_its_place() -> None:
    one, two = (at(BASE, content) for content in ("one", "two"))
    pins = [Pin(each) for each in ((), (one,), (two,), (one, two), (two, one), (one, one))]
    assert len({pin.name for pin in pins}) == len(pins)


@given(PLANS)
def test_the_pin_of_another_plan_is_refused(asked: Node) -> None:
    pin = Pin.of(pinned(asked))
    longer = replace(pin, parts=(*pin.parts, at(BASE, "more")))
    with pytest.raises(InvalidRequest, match="other parts"):
        longer.fix(asked)
    for written in (longer.parts, pin.parts[:-1] if pin.parts else longer.parts):
        with pytest.raises(ValueError, match="zip"):
            Pin.decode({"parts": [None] * len(written)}, asked, FORMS)


@pytest.mark.parametrize("asked", [BASE, SPEC, lock(base=BASE), PLAN, ImageIndex(((AMD64, PLAN), (ARM64, SPEC)))])
def test_what_moves_is_no_pin(asked: Node) -> None:
    with pytest.raises(InvalidRequest, match="moves"):
        Pin.decode({"parts": [None] * len(list(parts(asked)))}, asked, FORMS)
    assert read_back(Pin.of(pinned(asked)), asked).fix(asked) == pinned(asked)


@given(st.fixed_dictionaries({"parts": st.lists(VALUES, max_size=3) | VALUES}, optional={"maker": VALUES}) | VALUES)
def test_what_is_no_pin_is_refused_and_nothing_else(value: Any) -> None:
    try:
        with reading("a pin"):
            pin = Pin.decode(value, BASE, FORMS)
    except InvalidRequest:
        return
    assert well_formed(decided_token(KEY, BASE, pin, ANONYMOUS))
