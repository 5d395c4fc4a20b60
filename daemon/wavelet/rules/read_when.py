"""When a rule applies, read from what is written. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import get_args

from wavelet.bounded_yaml import Value
from wavelet.errors import InvalidRequest
from wavelet.image.reference import Platform
from wavelet.rules.members import Faults, Members
from wavelet.rules.model import Door, Form, Pattern, Source, When
from wavelet.rules.patterns import glob, image_glob

WHEN_MEMBERS = ("image", "not", "source", "platform", "door", "form", "user", "group", "labels")

DOORS: tuple[Door, ...] = get_args(Door)
FORMS: tuple[Form, ...] = get_args(Form)
SOURCES: tuple[Source, ...] = get_args(Source)

_HIGHEST = 2**32 - 2
"""The highest number of a user or a group: (uid_t) -1 stands for none (setresuid(2))."""


@dataclass(frozen=True, slots=True)
class NodeNames:
    """What names mean on the node where rules are read.

    Attributes:
        user, group: the number of a user and of a group; None: there is none of that name.
        authorities: of the node's own registry, as they stand in names of images.
    """

    user: Callable[[str], int | None]
    group: Callable[[str], int | None]
    authorities: frozenset[str] = frozenset()


def read_when(value: Value, names: NodeNames, faults: Faults) -> When:
    """Return when a rule applies. What is wrong is noted in `faults`."""
    members = Members(value, "when", WHEN_MEMBERS, faults)
    return When(
        images=members.each("image", image_glob),
        but_not=members.each("not", image_glob),
        sources=frozenset(members.words("source", SOURCES)),
        platforms=frozenset(members.each("platform", partial(Platform.parse, field=members.at("platform")))),
        doors=frozenset(members.words("door", DOORS)),
        forms=frozenset(members.words("form", FORMS)),
        uids=frozenset(_numbers(members, "user", names.user)),
        gids=frozenset(_numbers(members, "group", names.group)),
        labels=tuple(_labels(members)),
    )


def _numbers(members: Members, member: str, look_up: Callable[[str], int | None]) -> list[int]:
    found = []
    for text in members.texts(member):
        is_number = text.isascii() and text.isdecimal()
        number = int(text[:12]) if is_number else look_up(text)
        if number is None:
            why = f"there is no {member} {text[:80]!r} on this node; write the number, or add the {member}"
            members.faults.add(members.at(member), why)
        elif number > _HIGHEST:
            members.faults.add(members.at(member), f"{text[:80]} is no number of a {member}")
        else:
            found.append(number)
    return found


def _labels(members: Members) -> list[tuple[str, Pattern]]:
    found = []
    for name, text in members.pairs("labels"):
        try:
            found.append((name, glob(text)))
        except InvalidRequest as error:
            members.faults.add(f"{members.at('labels')}.{name[:80]}", error.message)
    return found
