"""What is to be heeded of a layer that is added: all that is known of it by one look at its members. Blocks.

A layer can ask for more than being put on top, by what is in it, so that a function of base and layers stays one:

- with directories that may be links in the image below, it is moved (`linked_directories.py`);
- members with the PAX record `WAVELET.keep=existing` are left out where the image has something (`existing.py`);
- with files in `usr/local/share/wavelet/ca/`, its certificates are merged with the image's (`certificates.py`).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from wavelet.archive.tar_reader import Member
from wavelet.errors import InvalidRequest, UpstreamBroken
from wavelet.image import certificate_paths
from wavelet.kinds.augment.layer_members import PATH_LIMIT, members, relative

DIRECTORIES = frozenset(
    ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr/sbin", "usr/lib64", "var/run", "var/lock"],
)
"""What is a link in the images of distributions (UsrMerge, and /run)."""

KEEP, EXISTING = "WAVELET.keep", "existing"
"""A record of a member's extended header (POSIX.1-2001, pax: vendors have names of their own), and its value."""

KEPT_LIMIT = 10_000
"""Members with `KEEP` that a layer may have, each of which is looked for in the image; and files of certificates."""

ASKED_LIMIT = 64 * 1024 * 1024
"""Characters that the paths of these members and all directories above them may have together."""

_SUFFIXES = (".pem", ".crt")


@dataclass(frozen=True, slots=True)
class Marks:
    """See the module.

    Attributes:
        directories: which of `DIRECTORIES` it puts something into.
        kept: the paths with `KEEP`, without those of directories.
        kept_directories: those of directories.
        hard_links: of the kept paths that are hard links, the path of the other member.
        has_others: whether there is anything without `KEEP`.
        certificates: the files of the site's certificates, and their bytes.
    """

    directories: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    kept_directories: frozenset[str] = frozenset()
    hard_links: tuple[tuple[str, str], ...] = ()
    has_others: bool = True
    certificates: tuple[tuple[str, int], ...] = ()


def marks_of(layer: Path, name: str) -> Marks:
    """Return the marks of a layer; what is no tar has none, and is left to whoever unpacks it.

    Raises:
        InvalidRequest: more members with `KEEP`, or certificates, than are looked at.
    """
    seen = _Seen(name)
    with contextlib.suppress(UpstreamBroken):
        for member in members(layer, name):
            seen.add(member)
    return seen.marks


class _Seen:
    def __init__(self, name: str) -> None:
        self._name = name
        self._directories: set[str] = set()
        self._kept: set[str] = set()
        self._kept_directories: set[str] = set()
        self._hard_links: dict[str, str] = {}
        self._has_others = False
        self._certificates: dict[str, int] = {}
        self._asked = 0

    def add(self, member: Member) -> None:
        if len(member.path) > PATH_LIMIT or len(member.target) > PATH_LIMIT:
            self._has_others = True
            return
        path = relative(member.path)
        self._directories.update(directory for directory in DIRECTORIES if path.startswith(f"{directory}/"))
        if member.said.get(KEEP.encode()) == EXISTING.encode():
            self._keep(path, member)
        else:
            self._has_others = True
        directory, _, _ = path.rpartition("/")
        if directory == certificate_paths.DIRECTORY and member.is_file and path.endswith(_SUFFIXES):
            self._certificates[path] = member.size
        if max(len(self._kept) + len(self._kept_directories), len(self._certificates)) > KEPT_LIMIT:
            raise InvalidRequest(
                f"the layer {self._name} has more than {KEPT_LIMIT} members with {KEEP}={EXISTING}, or certificates",
                field="containerConfig.layers",
            )

    def _keep(self, path: str, member: Member) -> None:
        (self._kept_directories if member.is_directory else self._kept).add(path)
        if member.is_hard_link:
            self._hard_links[path] = relative(member.target)
        self._asked += len(path) * (path.count("/") + 1)
        if self._asked > ASKED_LIMIT:
            raise InvalidRequest(
                f"the layer {self._name} has too deep paths of members with {KEEP}={EXISTING}",
                field="containerConfig.layers",
            )

    @property
    def marks(self) -> Marks:
        return Marks(
            frozenset(self._directories),
            frozenset(self._kept),
            frozenset(self._kept_directories),
            tuple(sorted(self._hard_links.items())),
            self._has_others,
            tuple(sorted(self._certificates.items())),
        )
