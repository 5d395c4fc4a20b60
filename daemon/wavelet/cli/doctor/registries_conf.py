"""registries.conf, which podman, skopeo, buildah and Apptainer read: where it lies, and what it says of a registry.

As containers-registries.conf(5) and containers-registries.conf.d(5) have it, and as podman 4.3, skopeo 1.9 and the
library's release 5.41 were seen to do it: **one** main file counts, the user's if there is one, else the system's.
Drop-ins count besides, in the order of their names; an entry takes the place of an earlier one of the same prefix with
all that it says. Where a user has a main file, older releases read none of the system's drop-ins. The user's files
lie below `~/.config`; newer releases look below `XDG_CONFIG_HOME` instead where that is set, and there a user's drop-in
hides the system's of the same name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from wavelet.cli.doctor.facts import home_of
from wavelet.foreign_json import each as each_of

SYSTEM_FILE = Path("/etc/containers/registries.conf")
SYSTEM_DROP_INS = Path("/etc/containers/registries.conf.d")

FILE_VARIABLE = "CONTAINERS_REGISTRIES_CONF"
"""Names the main file; podman and buildah honour it, skopeo does not."""


class Mirror(Struct):
    """A mirror of an entry."""

    location: str = ""


class Registry(Struct):
    """An entry `[[registry]]`."""

    prefix: str = ""
    location: str = ""
    insecure: bool = False
    mirror: tuple[Mirror, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry and the file that it is in."""

    file: Path
    registry: Registry


@dataclass(frozen=True, slots=True)
class Registries:
    """All entries, in the order in which they count; and the files that cannot be read, with the reason."""

    entries: tuple[Entry, ...]
    unreadable: tuple[tuple[str, str], ...] = ()

    def of(self, authority: str) -> Entry | None:
        """Return the entry for all images of a registry: the last one, as a later one replaces an earlier one."""
        named = (each for each in self.entries if (each.registry.prefix or each.registry.location) == authority)
        return next(iter([*named][-1:]), None)

    def speaks_http(self, authority: str) -> bool:
        """Tell whether engines that read this speak http with a registry that has no https."""
        found = self.of(authority)
        return found is not None and found.registry.insecure


def user_folders(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the directories in which a user's files may be, the one that all releases know first."""
    usual = Path(home_of(environment)) / ".config"
    named = environment.get("XDG_CONFIG_HOME")
    return tuple(dict.fromkeys(each / "containers" for each in (usual, *([Path(named)] if named else []))))


def user_drop_ins(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the directories of a user's drop-ins, to be written to all alike."""
    return tuple(each / SYSTEM_DROP_INS.name for each in user_folders(environment))


def of_user(environment: Mapping[str, str], root: Path = Path("/")) -> Registries:
    """Read what counts for a user, in any release, on the system below `root`. Blocking."""
    file, drop_ins = (root / each.relative_to("/") for each in (SYSTEM_FILE, SYSTEM_DROP_INS))
    folders = user_folders(environment)
    own = [each / SYSTEM_FILE.name for each in folders]
    own = [each for each in own if each.is_file()]
    named = environment.get(FILE_VARIABLE)
    hidden = bool(own) and not named
    main = [Path(named)] if named else own or [file]
    return _read([*main, *_drop_ins(() if hidden else (drop_ins,)), *_drop_ins(user_drop_ins(environment))])


def of_system(root: Path = Path("/")) -> Registries:
    """Read what counts for users who have no files of their own, on the system below `root`. Blocking."""
    file, drop_ins = (root / each.relative_to("/") for each in (SYSTEM_FILE, SYSTEM_DROP_INS))
    return _read([file, *_drop_ins((drop_ins,))])


def of_file(path: Path) -> tuple[Entry, ...]:
    """Read one file's entries; none where it cannot be read. Blocking."""
    return _read([path]).entries


def _drop_ins(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir():
            yield from sorted(folder.glob("*.conf"))


def _read(files: Iterable[Path]) -> Registries:
    entries: list[Entry] = []
    unreadable = []
    for path in files:
        if not path.is_file():
            continue
        try:
            document = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            unreadable.append((str(path), str(error)))
            continue
        listed = document.get("registry")
        found = each_of(listed if isinstance(listed, list) else None, Registry)
        entries += [Entry(path, each) for each in found]
    return Registries(tuple(entries), tuple(unreadable))
