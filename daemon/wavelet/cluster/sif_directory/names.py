"""The names of the files: which SIF one is, for people and for programs. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

READABLE_LIMIT = 100
"""Characters of a name's readable part; with its key and ending it stays well below the 255 that a name may have."""

SIF_FILE = re.compile(r"[a-z0-9._-]+--[0-9a-f]{32}\.sif")
"""The name of a file of a directory of SIF files. What is called otherwise is somebody else's, and is left alone."""

PRIVATE = re.compile(r"private-(0|[1-9][0-9]{0,9})")
"""The name of a user's own directory in it."""

_KEY = re.compile(r"[0-9a-f]{32}")
_OTHERS = re.compile(r"[^a-z0-9._]+")


@dataclass(frozen=True, slots=True)
class SifName:
    """What a SIF is called.

    Attributes:
        label: for people: whatever stands for it, e.g. `library/ubuntu:24.04`.
        key: 32 hexadecimal digits that tell it from all others.
    """

    label: str
    key: str

    def __post_init__(self) -> None:
        """Refuse a key that is none: names of files are made of it.

        Raises:
            ValueError: it is not of that form.
        """
        if not _KEY.fullmatch(self.key):
            raise ValueError(f"{self.key[:80]!r} is not 32 hexadecimal digits")

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{readable(self.label)}--{self.key}.sif"


def readable(label: str) -> str:
    """Return what a label becomes in the name of a file: `[a-z0-9._-]`, at most `READABLE_LIMIT`, never empty.

    It begins with a letter, a digit or `_`, so that it is no hidden file and no option of a command, and two hyphens
    never follow each other, as they do before the key.
    """
    text = _OTHERS.sub("-", label.lower()).lstrip("-.")
    return text[:READABLE_LIMIT].rstrip("-.") or "image"


def private_directory(uid: int) -> str:
    """Return the name of the directory of a user's own files."""
    return f"private-{uid}"
