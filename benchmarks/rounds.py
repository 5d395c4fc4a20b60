"""Rounds that alternate, so that a busy moment of the machine hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def alternate(count: int, measures: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Run each measure `count` times, in turn, every other round backwards; return the values of each, by round."""
    values: dict[str, list[T]] = {name: [] for name in measures}
    for number in range(count):
        order = list(measures) if number % 2 == 0 else list(measures)[::-1]
        for name in order:
            values[name].append(measures[name]())
    return values
