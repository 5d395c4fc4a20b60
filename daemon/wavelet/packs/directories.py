"""The directories of packs, looked at: which packs there are, what they say, who could change them. Blocks.

A directory of packs has a directory for each; those that begin with a dot are none. A site's pack stands in for the one
of the same name that wavelet comes with, even while it is broken.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from wavelet import plain_files
from wavelet.directory_trees import TooDeep, walk
from wavelet.errors import CallerError
from wavelet.host.ownership import check_owned, trusted_owners
from wavelet.packs import site_certificates
from wavelet.packs.building import builder
from wavelet.packs.members import refused
from wavelet.packs.reading import FILE, read_pack
from wavelet.packs.spec import PackSpec

SHIPPED = Path(__file__).parents[1] / "shipped_packs"
"""The packs that wavelet comes with."""

ABSENT = {
    "trace": "not in use: this wavelet was built without it; run `make packs` in a checkout of wavelet, which takes"
    " Debian's apt, and copy build/packs/trace into {site}"
}
"""Packs that wavelet may come without, for they have programs in them, and how they are got."""

DOCUMENT_LIMIT = 1024 * 1024
"""Bytes of a `pack.yaml`."""

WATCHED_LIMIT = 10_000
"""Entries of a pack that are watched: each is looked at whenever one has changed, which has to be quick."""

_AT_STAKE = "what is put into everybody's containers"
_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class FoundPack:
    """A pack's directory as it is now.

    Attributes:
        name: what it says, else what the directory is called.
        shipped: whether it came with wavelet.
        spec: None: it cannot be used, and `problem` or `unused` says why.
        fingerprint: changes whenever something is built otherwise.
        unused: what has to be done before it is in use, where nothing is wrong with it.
    """

    directory: Path
    name: str
    shipped: bool
    spec: PackSpec | None = None
    fingerprint: str = ""
    problem: str = ""
    unused: str = ""


def find_packs(site: Path, shipped: Path = SHIPPED) -> list[FoundPack]:
    """Return the packs of a site and those that wavelet comes with, sorted by their names, each name once.

    Beside the directory `site` are the site's certificates.

    Raises:
        OSError: a directory cannot be read; one that is not there has none.
    """
    found: dict[str, FoundPack] = {}
    certificates = certificates_of(site)
    own = sorted(_in(site, certificates, shipped=False), key=_precedence)
    others = [pack for pack in own if found.setdefault(pack.name, pack) is not pack]
    for pack in others:
        taken = f"{_place(pack.directory)}: name: {found[pack.name].directory} is called {pack.name!r} too; rename one"
        name = pack.directory.name if pack.directory.name not in found else str(pack.directory)
        found[name] = replace(pack, name=name, spec=None, problem=pack.problem or taken)
    for pack in _in(shipped, certificates, shipped=True):
        found.setdefault(pack.name, pack)
    for name, how in (ABSENT if shipped == SHIPPED else {}).items():
        found.setdefault(name, FoundPack(SHIPPED / name, name, shipped=True, unused=how.format(site=site)))
    return sorted(found.values(), key=lambda pack: pack.name)


def _precedence(pack: FoundPack) -> tuple[bool, bool, str]:
    """Return by what of several packs of one name one is taken: it can be used, and is called as its directory is."""
    return bool(pack.problem), pack.directory.name != pack.name, pack.directory.name


def certificates_of(site: Path) -> Path:
    """Return the directory of the certificates of a site whose directory of packs this is."""
    return site.parent / site_certificates.NAME


def watched_files(directories: Iterable[Path]) -> Iterator[Path]:
    """Yield what decides which packs there are: the directories, and all that is in them."""
    for directory in directories:
        yield directory
        with contextlib.suppress(OSError):  # it says so when it is read
            for name in sorted(os.listdir(directory)):  # noqa: PTH208
                yield from _watched(directory / name)


def _watched(path: Path) -> Iterator[Path]:
    """Yield a pack's directory, to which a link may lead, and what is in it, `pack.yaml` first."""
    yield path
    if path.is_dir():
        yield path / FILE
        with contextlib.suppress(OSError):  # the others are watched all the same
            yield from (Path(entry.path) for entry in islice(walk(path), WATCHED_LIMIT))


def _in(directory: Path, certificates: Path, *, shipped: bool) -> Iterator[FoundPack]:
    try:
        names = sorted(name for name in os.listdir(directory) if not name.startswith("."))  # noqa: PTH208
    except FileNotFoundError:
        return
    for name in names:
        if (directory / name).is_dir() and name != "__pycache__":
            yield look_at(directory / name, certificates, shipped=shipped)


def look_at(directory: Path, certificates: Path, *, shipped: bool = False) -> FoundPack:
    """Return the pack of a directory as it is now; `certificates` is the site's directory of these."""
    found = FoundPack(directory, directory.name.encode("utf-8", "replace").decode(), shipped)
    try:
        if found.name != directory.name:
            raise refused(_place(directory), "the name of its directory is not UTF-8; rename it")
        if not shipped:
            _check_document(directory)
        spec = find_spec(directory)
        found = replace(found, name=spec.name)
        fingerprint = _fingerprint(directory, shipped=shipped)
        if site_certificates.takes_site_certificates(spec):
            spec, said = site_certificates.with_site_certificates(spec, certificates, trusted_owners())
            fingerprint += said
            if not said:
                return replace(
                    found, unused=f"not in use: put the site's certificates as PEM files into {certificates}"
                )
    except CallerError as error:
        return replace(found, problem=error.message)
    return replace(found, spec=spec, fingerprint=fingerprint)


def _check_document(directory: Path) -> None:
    """Return if nobody else could have said what is read: messages say some of it, and a link may lead anywhere.

    Raises:
        UnsafeOwner: somebody could.
        PackRefused: it cannot be looked at.
    """
    owners = trusted_owners()
    try:
        check_owned(directory, owners, _AT_STAKE)
        with contextlib.suppress(FileNotFoundError):  # `find_spec` says so
            check_owned(directory / FILE, owners, _AT_STAKE)
    except OSError as error:
        raise refused(_place(directory), f"{error.filename}: {error.strerror}") from None


def find_spec(directory: Path) -> PackSpec:
    """Return what the `pack.yaml` of a directory says.

    Raises:
        PackRefused: there is none, or it cannot be used.
    """
    place = _place(directory)
    try:
        if not (real := (directory / FILE).resolve()).is_relative_to(directory.resolve()):
            raise refused(place, f"leads out of the directory of the pack, to {real}")
        data, _ = plain_files.read(directory / FILE, DOCUMENT_LIMIT, follow=True)
        return read_pack(data.decode(), place, directory.name)
    except FileNotFoundError:
        raise refused(place, "is not there; a directory of packs has a directory for each, with this file") from None
    except UnicodeDecodeError:
        raise refused(place, "is not UTF-8") from None
    except (OSError, RuntimeError) as error:  # the latter of a loop of links
        raise refused(place, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _place(directory: Path) -> str:
    return f"{directory.parent.name}/{directory.name}/{FILE}"


def _fingerprint(directory: Path, *, shipped: bool) -> str:
    """Return what tells whether a directory has changed.

    Raises:
        UnsafeOwner: somebody else could change what is in it. What wavelet comes with belongs to who has installed it.
        PackRefused: it cannot be looked at.
    """
    owners = trusted_owners()
    said = []
    try:
        for entry in walk(directory):
            status = entry.stat(follow_symlinks=False)
            is_link = stat.S_ISLNK(status.st_mode)
            if not shipped and (status.st_uid not in owners or (status.st_mode & _BY_OTHERS and not is_link)):
                check_owned(Path(entry.path), owners, _AT_STAKE)
            target = str(Path(entry.path).readlink()) if is_link else ""
            size = status.st_size if stat.S_ISREG(status.st_mode) else 0
            # Tools that copy trees set the time of what they have written, but not when the inode has changed.
            is_directory = stat.S_ISDIR(status.st_mode)
            changed = "" if is_directory else f"{status.st_mtime_ns}\0{status.st_ctime_ns}\0{status.st_ino}"
            said.append(f"{entry.path[len(str(directory)) :]}\0{status.st_mode}\0{size}\0{changed}\0{target}")
    except TooDeep as error:
        raise refused(_place(directory), error.args[0]) from None
    except OSError as error:
        raise refused(_place(directory), f"{error.filename}: {error.strerror}") from None
    text = "\1".join([builder(), *sorted(said)])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
