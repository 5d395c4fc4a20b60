"""Rules found by the images that they are for: none is passed over, and their order stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rules.test_applying import AMD64, ARM64, POST, image, rule
from wavelet.image.reference import Platform
from wavelet.rules.index import IndexedRules
from wavelet.rules.matching import matches, starts
from wavelet.rules.model import When
from wavelet.rules.patterns import image_glob

PATTERNS = ["quay.io/**", "docker.io/**", "busybox", "localhost:5000/a/b:1", "**", "*/a/b", "*.io/**", "quay.io/a/*"]
PLATFORMS: list[tuple[Platform, ...]] = [(), (AMD64,), (ARM64,)]
IMAGES = ["quay.io/a/b:1", "busybox", "busybox:2", "localhost:5000/a/b:1", "localhost:5000/a/b:2", "x/y"]


@given(
    st.lists(st.tuples(st.lists(st.sampled_from(PATTERNS), max_size=3), st.sampled_from(PLATFORMS)), max_size=8),
    st.lists(st.tuples(st.sampled_from(IMAGES), st.sampled_from([AMD64, ARM64, None])), min_size=1, max_size=4),
)
def test_all_rules_for_some_images_follow_each_other(
    conditions: list[tuple[list[str], tuple[Platform, ...]]], asked: list[tuple[str, Platform | None]]
) -> None:
    rules = [
        rule(When(images=tuple(map(image_glob, globs)), platforms=frozenset(platforms)))
        for globs, platforms in conditions
    ]
    index = IndexedRules(rules)
    found_starts = [next(starts(image(name, platform), POST)) for name, platform in asked]
    for some in (found_starts[:1], found_starts):
        found, number = [], -1
        while (following := index.following(number, some)) is not None:
            number = following
            found.append(number)
        assert found == [n for n, each in enumerate(rules) if any(matches(each.when, start) for start in some)]
