"""Which conditions hold wherever others do, as far as that can be told from what is written. Pure.

A yes is certain, a no is not: of two globs it is not always told that one is wider. Warnings are built on it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from wavelet.image.reference import Platform
from wavelet.rules.model import ImagePattern, Pattern, When

Value = TypeVar("Value")


def covers(wide: When, narrow: When) -> bool:
    """Tell whether a rule with the conditions `wide` applies wherever one with `narrow` does."""
    return (
        _is_wider(wide.sources, narrow.sources)
        and _is_wider(wide.platforms, narrow.platforms)
        and _is_wider(wide.doors, narrow.doors)
        and _is_wider(wide.forms, narrow.forms)
        and _is_wider(wide.uids, narrow.uids)
        and _is_wider(wide.gids, narrow.gids)
        and (not wide.images or _covers_images(wide.images, narrow.images))
        and all(_covers_images(narrow.but_not, (each,)) for each in wide.but_not)
        and all(
            any(name == other and covers_glob(glob, each) for other, each in narrow.labels)
            for name, glob in wide.labels
        )
    )


def covers_image(wide: ImagePattern, narrow: ImagePattern) -> bool:
    """Tell whether each image of one pattern is also of another."""
    return (
        covers_glob(wide.repository, narrow.repository)
        and (wide.tag is None or (narrow.tag is not None and covers_glob(wide.tag, narrow.tag)))
        and (wide.digest is None or (narrow.digest is not None and covers_glob(wide.digest, narrow.digest)))
    )


def covers_glob(wide: Pattern, narrow: Pattern) -> bool:
    """Tell whether each text of one glob is also of another."""
    if wide.text == narrow.text:
        return True
    start, star, _ = narrow.text.partition("*")
    if not star:
        return wide.matches(narrow.text)
    return wide.text.endswith("**") and "*" not in wide.text[:-2] and start.startswith(wide.text[:-2])


def is_below(pattern: ImagePattern, prefix: str) -> bool:
    """Tell whether all images of a pattern lie below `<registry>[/<path>]`."""
    literal, star, _ = pattern.repository.text.partition("*")
    return literal.startswith(f"{prefix}/") or (not star and literal == prefix)


def may_be_below(pattern: ImagePattern, prefix: str) -> bool:
    """Tell whether an image of a pattern may lie below `<registry>[/<path>]`."""
    literal, star, _ = pattern.repository.text.partition("*")
    return is_below(pattern, prefix) or (bool(star) and f"{prefix}/".startswith(literal))


def allows(required: Collection[Platform], asked: Platform) -> bool:
    """Tell whether a platform is one of those that are required; without a variant one stands for all of them."""
    return any(asked in (each, Platform(each.os, each.architecture, asked.variant)) for each in required)


def _is_wider(wide: frozenset[Value], narrow: frozenset[Value]) -> bool:
    return not wide or (bool(narrow) and narrow <= wide)


def _covers_images(wide: Collection[ImagePattern], narrow: Collection[ImagePattern]) -> bool:
    return bool(narrow) and all(any(covers_image(more, less) for more in wide) for less in narrow)
