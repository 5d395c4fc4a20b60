"""Drop-ins of registries.conf, which podman, skopeo, buildah, CRI-O and Apptainer read.

Two files: one says that the daemon speaks plain http, for names that begin with its address; the other has a mirror for
each registry whose plain names are asked of the daemon first. A drop-in, for beside it all else counts as before
(containers-registries.conf.d(5)).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wavelet.cli.doctor import registries_conf
from wavelet.cli.doctor.registries_conf import SYSTEM_DROP_INS, Entry, Registries
from wavelet.cli.setup import files
from wavelet.cli.setup.plan import Asked, Change, Plan
from wavelet.errors import InvalidRequest, NotStarted
from wavelet.front.registry.names import as_pulled

PATTERN = "wavelet-*.conf"
MARK = "# Written by `wavelet setup`"
"""How the first line of a file that is ours begins."""

_FIRST_LINE = f"{MARK}, and removed by `wavelet setup podman --undo`, or that of apptainer."

MIRRORS = "wavelet-mirrors.conf"
"""It has the same name for a user and for the node: who has one of his own goes by that."""


def plan(asked: Asked, *, mirrors: bool) -> Plan:
    """Plan the drop-ins; `mirrors`: both of them, otherwise that for the daemon's address alone.

    Raises:
        InvalidRequest: somebody's own entry for the daemon says otherwise.
        NotStarted: engines fail on a file, whatever else is written.
    """
    seen = _seen(asked)
    texts: dict[str, str] = {}
    notes: list[str] = []
    intercepted: tuple[str, ...] = ()
    if others := _said_by_others(seen, asked.authority):
        notes.append(f"{others} has it already: engines speak http with {asked.authority}")
    else:
        texts[name_for(asked.authority)] = text_for(asked.authority)
    if mirrors:
        split = divide(seen, asked.registries)
        intercepted, notes = split.free, [*notes, *split.notes]
        if not intercepted:
            notes.append(f"no plain name comes through wavelet: none of {', '.join(asked.registries)} is free")
        texts[MIRRORS] = mirrors_for(asked.authority, intercepted)
    changes = [_change(folder / name, text) for folder in folders(asked) for name, text in texts.items()]
    return Plan(tuple(changes), tuple(notes), intercepted)


def undo(asked: Asked) -> Plan:
    """Plan the removal of what was written for any address: the settings may have changed since."""
    found = [path for folder in folders(asked) for path in sorted(folder.glob(PATTERN)) if is_ours(path)]
    if not found:
        where = " or ".join(str(each) for each in folders(asked))
        return Plan(notes=(f"nothing to remove in {where}",))
    return Plan(tuple(Change(path, files.read(path), None) for path in found))


def folders(asked: Asked) -> tuple[Path, ...]:
    """Return the directories that the drop-ins belong into."""
    system = (asked.below_root(SYSTEM_DROP_INS),)
    return system if asked.of_node else registries_conf.user_drop_ins(asked.environment)


def text_for(authority: str) -> str:
    """Return the drop-in for a daemon's address."""
    entry = f'[[registry]]\nlocation = "{authority}"\ninsecure = true\n'
    return f"{_FIRST_LINE}\n# The daemon on this machine speaks plain http.\n{entry}"


def mirrors_for(authority: str, registries: Iterable[str]) -> str:
    """Return the drop-in with mirrors. The mirror's path names the registry, for engines do not say which they mean."""
    lines = [
        _FIRST_LINE,
        "# The daemon on this machine is asked first, and the registry itself where it does not answer.",
    ]
    for host in registries:
        lines += [f'[[registry]]\nprefix = "{host}"\nlocation = "{host}"']
        lines += [f'[[registry.mirror]]\nlocation = "{authority}/{_in_path(host)}"\ninsecure = true']
    return "\n".join(lines) + "\n"


def name_for(authority: str) -> str:
    """Return the file's name. It holds the address: a user's drop-in hides the system's of the same name."""
    return PATTERN.replace("*", re.sub(r"[^\w.]+", "-", authority))


def is_ours(path: Path) -> bool:
    """Tell whether a file was written here."""
    return path.match(PATTERN) and path.is_file() and (files.read(path) or "").startswith(MARK)


@dataclass(frozen=True, slots=True)
class Division:
    """Registries for which nobody has an entry, and what there is to say of the others."""

    free: tuple[str, ...]
    notes: tuple[str, ...]


def divide(seen: Registries, registries: Iterable[str]) -> Division:
    """Leave out registries that somebody has an entry for: a second one would replace it with all that it says."""
    free: list[str] = []
    notes: list[str] = []
    others = [entry for entry in seen.entries if not is_ours(entry.file)]
    for host in registries:
        whole = [entry for entry in others if _covers(entry, host)]
        if whole:
            notes.append(f"{whole[-1].file} has an entry for {_prefix(whole[-1])}: {host} is left as it says")
        else:
            free.append(host)
            notes += [
                f"{entry.file} has an entry for {_prefix(entry)}: images below it go by that, not by wavelet"
                for entry in others
                if _prefix(entry).startswith(f"{host}/")
            ]
    return Division(tuple(free), tuple(notes))


def _in_path(host: str) -> str:
    return as_pulled(f"{host}/").rstrip("/")


def _prefix(entry: Entry) -> str:
    return entry.registry.prefix or entry.registry.location


def _covers(entry: Entry, host: str) -> bool:
    """Tell whether an entry is for all of a registry; `*.example.org` is for all hosts of that domain."""
    prefix = _prefix(entry)
    return prefix == host or (prefix.startswith("*.") and host.endswith(prefix[1:]))


def _seen(asked: Asked) -> Registries:
    seen = (
        registries_conf.of_system(asked.root)
        if asked.of_node
        else registries_conf.of_user(asked.environment, asked.root)
    )
    for path, why in seen.unreadable:
        raise NotStarted(f"{path} cannot be used, and engines end with an error for it: {why}")
    return seen


def _said_by_others(seen: Registries, authority: str) -> Path | None:
    """Return the file that is not ours in which the entry for the daemon is, if one has it.

    Raises:
        InvalidRequest: the entry that is there is without `insecure`. A second one would replace it with all it says.
    """
    found = seen.of(authority)
    if found is None or is_ours(found.file):
        return None
    if not found.registry.insecure:
        raise InvalidRequest(
            f"{found.file} has an entry for {authority} already, which a second one would replace with all that it "
            "says; add the line `insecure = true` to it"
        )
    return found.file


def _change(path: Path, text: str) -> Change:
    before = files.read(path)
    if before is not None and not before.startswith(MARK):
        raise NotStarted(f"{path} is not a file of `wavelet setup`, which would write there; rename it")
    return Change(path, before, text)
