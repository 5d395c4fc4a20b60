"""Rules found by the registries of images: none is passed over, and their order stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rules.test_applying import rule
from wavelet.rules.index import IndexedRules
from wavelet.rules.model import When
from wavelet.rules.patterns import image_glob

REGISTRIES = ["docker.io", "quay.io", "localhost:5000"]
PATTERNS = ["quay.io/**", "docker.io/**", "busybox", "localhost:5000/a/b:1", "**", "*/a/b", "*.io/**", "quay.io/a/*"]


@given(
    st.lists(st.lists(st.sampled_from(PATTERNS), max_size=3), max_size=8),
    st.sets(st.sampled_from([*REGISTRIES, ""]), max_size=2),
)
def test_all_rules_that_may_be_for_an_image_follow_each_other(patterns: list[list[str]], registries: set[str]) -> None:
    rules = [rule(When(images=tuple(map(image_glob, each)))) for each in patterns]
    index, found, number = IndexedRules(rules), [], -1
    while (following := index.following(number, registries)) is not None:
        assert following > number
        number = following
        found.append(number)
    for number, each in enumerate(rules):
        names = [
            f"{registry}/{path}" for registry in registries if registry for path in ("a/b", "library/busybox", "x")
        ]
        is_for = not each.when.images or any(
            pattern.repository.matches(name) for pattern in each.when.images for name in names
        )
        assert number in found or not is_for
