"""The names of all settings, from their classes: what there is, and which one somebody may have meant."""

from __future__ import annotations

import difflib
import functools
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import get_type_hints

from msgspec import Struct

from wavelet.config.section import LIVE, Section
from wavelet.config.settings import Settings

ENV_PREFIX = "WAVELET_"

CONFIG_VARIABLE = "WAVELET_CONFIG"
"""The variable that names the file of settings."""

ANY = "*"
"""Stands for a name that the site chooses (the host in `upstream.registries`), and for a place in a list."""

Key = tuple[str, ...]
"""A setting's name, split at its dots."""


@functools.cache
def leaf_keys() -> tuple[Key, ...]:
    """Return the keys that have a variable and a row in the reference each."""
    return tuple(_walk(Settings, (), inside=False))


@functools.cache
def all_keys() -> tuple[Key, ...]:
    """Return all keys, those of sections and those within mappings and lists too."""
    return tuple(_walk(Settings, (), inside=True))


@functools.cache
def section_keys() -> frozenset[Key]:
    """Return the keys of sections, which hold settings and no value."""
    leaves = leaf_keys()
    return frozenset(leaf[:depth] for leaf in leaves for depth in range(1, len(leaf)))


@functools.cache
def live_keys() -> frozenset[Key]:
    """Return those of `leaf_keys` that are marked as `LIVE`."""
    return frozenset(key for key in leaf_keys() if _is_marked(key))


@functools.cache
def variables() -> Mapping[str, Key]:
    """Return the variables of the environment, and which setting each is."""
    return {variable_of(key): key for key in leaf_keys()}


def variable_of(key: Key) -> str:
    """Return the variable that sets `key`."""
    return ENV_PREFIX + "_".join(key).upper()


def doubtful_variables(environment: Iterable[str]) -> list[str]:
    """Return a sentence for each variable that is none of ours, and looks as if it were meant to be.

    It does when one of ours is near, when it begins as those of a section do, and when it has two underscores in a row,
    as other programs have them between a section and its key. It is no error: others put variables of this prefix into
    environments too, Kubernetes for each service that is called wavelet.
    """
    # Compared without the prefix, which all have: with it, `WAVELET_PATH` (of images with packages) is near `WATCH`.
    known = [name.removeprefix(ENV_PREFIX) for name in (*variables(), CONFIG_VARIABLE)]
    said = []
    for name in sorted(each for each in environment if each.startswith(ENV_PREFIX)):
        bare = name.removeprefix(ENV_PREFIX)
        near = difflib.get_close_matches(re.sub("__+", "_", bare), known, 1, 0.85)
        if bare not in known and (near or "__" in name or _is_within_a_section(name)):
            hint = f"; did you mean {ENV_PREFIX}{near[0]}?" if near else ""
            said.append(f"{name} is not a setting and counts for nothing{hint}")
    return said


def _is_within_a_section(name: str) -> bool:
    return any(f"{name}_".startswith(f"{variable_of(section)}_") for section in section_keys())


def words_of(key: Key) -> tuple[str, ...]:
    """Return the words of which a setting takes one; none where it takes other values, or does not exist."""
    hint: object = Settings
    for name in key:
        section = _section_in(hint)
        hint = typing.get_args(hint) if section is None or name == ANY else get_type_hints(section).get(name)
    return words_in(hint)


def words_in(hint: object) -> tuple[str, ...]:
    """Return the words of which a value of this type is one; none where it is not one of some words."""
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def near(key: Key) -> str:
    """Return the dotted key that somebody may have meant by one that does not exist; empty if nothing is near."""
    *section, name = key
    siblings = [known for known in all_keys() if len(known) == len(key) and matches(known[:-1], section)]
    if found := difflib.get_close_matches(name, [known[-1] for known in siblings], 1):
        return ".".join((*section, found[0]))
    elsewhere = [known for known in leaf_keys() if known[-1] == name]
    return ".".join(elsewhere[0]) if elsewhere else ""


def matches(pattern: Sequence[str], key: Sequence[str]) -> bool:
    """Tell whether each part of `key` is that of `pattern`; `ANY` is, on either side."""
    return all(one == other or ANY in (one, other) for one, other in zip(pattern, key, strict=False))


def _walk(section: type[Struct], prefix: Key, *, inside: bool) -> Iterator[Key]:
    for name, hint in get_type_hints(section).items():
        key = (*prefix, name)
        inner = _section_in(hint)
        if inner is not None:
            if inside:
                yield key
            yield from _walk(inner, key, inside=inside)
            continue
        yield key
        item = _section_in(typing.get_args(hint)) if inside else None
        if item is not None:
            yield from _walk(item, (*key, ANY), inside=True)


def _is_marked(key: Key) -> bool:
    section: type[Struct] = Settings
    for name in key[:-1]:
        inner = _section_in(get_type_hints(section)[name])
        assert inner is not None, "the parts of a leaf but the last are sections"
        section = inner
    return LIVE in typing.get_args(get_type_hints(section, include_extras=True)[key[-1]])


def _section_in(hint: object) -> type[Section] | None:
    union = typing.get_origin(hint) is types.UnionType
    choices = hint if isinstance(hint, tuple) else typing.get_args(hint) if union else (hint,)
    return next((each for each in choices if isinstance(each, type) and issubclass(each, Section)), None)
