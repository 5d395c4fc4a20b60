"""The environment that a text lists, whatever its type: nobody declares it. Pure.

environment YAML       `channels`, `dependencies`, a section for pip, `variables`
@EXPLICIT              the URLs of packages, with `#<md5>` or `#sha256:<sha256>`
conda-lock, pixi       lock files (`kinds/conda/locks/`)
list                   one spec a line, as `conda install --file` reads it, or `conda list --export` writes it

An `@EXPLICIT` line makes a list of URLs, a key in the first line an environment in YAML or a lock; all else is a list
of specs.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wavelet.bounded_yaml import TEXT_LIMIT, read_yaml
from wavelet.errors import TooLarge
from wavelet.image.reference import Platform
from wavelet.kinds.conda.locks.foreign import refuse_foreign_document, refuse_foreign_entry, refuse_foreign_list
from wavelet.kinds.conda.locks.locked import Locked, LockFile
from wavelet.kinds.conda.locks.read_conda_lock import is_conda_lock, read_conda_lock
from wavelet.kinds.conda.locks.read_explicit import explicit_package, of_packages, read_explicit
from wavelet.kinds.conda.locks.read_pixi_lock import (
    is_flat_pixi_lock,
    is_pixi_lock,
    read_flat_pixi_lock,
    read_pixi_lock,
)
from wavelet.kinds.conda.model.packages import platform_of, subdir_of
from wavelet.kinds.conda.model.specs import (
    NO_DEFAULTS,
    PIP_PREFIX,
    normal_channel,
    normal_requirement,
    normal_spec,
    unquoted,
    without_login,
    wrong,
)
from wavelet.kinds.other_architecture import remedy

ENTRIES_LIMIT = 5000
"""Specs, requirements and packages of one environment."""

_KEY = re.compile(r"(?:---|%[A-Z]|\{|[\"']?[A-Za-z_][\w-]*[\"']?[ \t]*:(?:\s|$))")
_UNSERVED = frozenset(
    {"pip-repositories", "channel_alias", "custom_channels", "default_channels", "migrated_custom_channels",
     "pinned_packages", "repodata_fns", "solver", "track_features", "create_default_packages", "use_only_tar_bz2"}
)  # fmt: skip
"""Settings of conda and conda-lock that would change which packages are chosen, or where they come from."""

_SERVED = frozenset({"name", "channels", "dependencies", "variables", "channel_priority"})
_WHY_NOT = {
    "prefix": "in images environments are in /opt/conda",
    "platforms": "the platform is the request's, linux/amd64 unless it says another",
}
"""Members of environment files that have no effect, and why."""

_OVERRIDES = {
    "PATH": "PATH takes the place of the image's, in which the packages' programs are found (/opt/conda/bin)",
    "BASH_ENV": "BASH_ENV takes the place of the image's, which activates packages that need it",
}
"""Variables that images have for their packages; those of an environment file stand over them."""

NOTES_LIMIT = 20
"""Notes on one file."""

_UNSERVED_ADVICE = "say in channels and dependencies what is wanted; logins and indexes are the daemon user's"
_EXPORTED = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)=(?P<version>[^=<>!~|,*\s]+)=pypi(?:_\d+)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Environment:
    """What a text asks for.

    Attributes:
        specs: in normal form, sorted and unique.
        channels: as listed, unique, without `nodefaults`.
        pip: requirements, sorted and unique.
        variables: `NAME=VALUE`, for the image's environment.
        locks: for each platform that a lock is for, the files; no lock has no entry.
        notes: what the text says that has no effect, a sentence each; that makes no other environment.
    """

    specs: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    locks: tuple[Locked, ...] = ()
    notes: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    def locked_for(self, platform: Platform, field: str) -> Locked:
        """Return what the lock names for a platform; nothing, where the text is no lock.

        Raises:
            InvalidRequest: it is a lock for other platforms.
            NotServed: no images of conda packages are made for the platform.
        """
        subdir = subdir_of(platform)
        found = [lock for lock in self.locks if lock.subdir in (subdir, "") and lock.packages + lock.wheels]
        if self.locks and not found:
            others = ", ".join(sorted(lock.subdir for lock in self.locks))
            usable = [there for there in map(platform_of, sorted(lock.subdir for lock in self.locks)) if there]
            todo = f"; {remedy(usable[0])}" if usable else ""
            raise wrong(field, f"locks packages for {others[:200]}, none for {subdir}, which {platform} needs{todo}")
        return found[0] if found else Locked(subdir, ())


def read_environment(text: str, field: str) -> Environment:
    """Say what a text asks for.

    Raises:
        InvalidRequest: it is of no type that is known, is broken or names no package; `field`, and the line or the
            member of the text, are named.
        TooLarge: it is larger than any environment.
    """
    if len(text) > TEXT_LIMIT:
        raise TooLarge(f"{field}: {len(text)} characters; {TEXT_LIMIT} are the most", field=field)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    environment = _read(text, field)
    count = len(environment.specs) + len(environment.pip)
    count += sum(len(lock.packages) + len(lock.wheels) for lock in environment.locks)
    if count == 0:
        others = ", ".join(sorted({lock.subdir for lock in environment.locks}))
        raise wrong(field, f"names no package{f' for Linux, only for {others[:200]}' if others else ''}")
    if count > ENTRIES_LIMIT:
        raise TooLarge(f"{field}: names {count} packages; {ENTRIES_LIMIT} are the most", field=field)
    return environment


def read_channels(names: list[str], field: str) -> tuple[str, ...]:
    """Return channels in normal form, each once, without `nodefaults`.

    Raises:
        InvalidRequest: one is none.
    """
    found = dict.fromkeys(normal_channel(name, f"{field}[{index}]") for index, name in enumerate(names))
    return tuple(name for name in found if name != NO_DEFAULTS)


def read_entries(entries: list[tuple[str, str]]) -> Environment:
    """Say what specs, requirements (`pip:…`) and URLs of packages ask for, each with the name of its place.

    Raises:
        InvalidRequest: one is none of them.
    """
    specs, pip, packages = set(), set(), []
    for field, text in entries:
        entry = unquoted(text)
        refuse_foreign_entry(entry, field)
        if entry.startswith(PIP_PREFIX) and not entry.startswith(PIP_PREFIX + ":"):
            pip.add(normal_requirement(entry.removeprefix(PIP_PREFIX), field))
        elif re.fullmatch(r"https?://\S+\.whl(#\S*)?(\s+;.*)?", entry):
            raise wrong(field, f"{without_login(entry)[:300]!r} is a Python wheel; write {PIP_PREFIX}<URL>")
        elif re.match(r"(?:https?|file)://", entry) and "::" not in entry:
            packages.append(explicit_package(entry, field))
        else:
            specs.add(normal_spec(entry, field))
    where = entries[0][0].partition("[")[0].partition(":")[0] if entries else ""
    return Environment(tuple(sorted(specs)), pip=tuple(sorted(pip)), locks=of_packages(packages, (), where))


def _read(text: str, field: str) -> Environment:
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    first = lines[0][1] if lines else ""
    if first.startswith("<"):
        raise wrong(field, "is a page in HTML or XML, no list of packages; give the file itself, as it is downloaded")
    if any(line == "@EXPLICIT" for _, line in lines):
        return Environment(locks=read_explicit(text, field))
    if is_flat_pixi_lock(text):
        return _of_lock(read_flat_pixi_lock(text, field))
    if re.match(r"-\s", first):
        raise wrong(field, "is a list in YAML without a name; write `dependencies:` above it, or specs without dashes")
    if _KEY.match(first):
        refuse_foreign_document(text, field)
        return _read_document(text, field)
    refuse_foreign_list(text, field)
    return _read_list(lines, field)


def _read_document(text: str, field: str) -> Environment:
    document = read_yaml(text, field)
    if not isinstance(document, dict):
        raise wrong(field, "is neither a mapping in YAML nor a list of specs")
    if is_conda_lock(document):
        return _of_lock(read_conda_lock(document, field))
    if is_pixi_lock(document):
        return _of_lock(read_pixi_lock(document, field))
    if "dependencies" not in document:
        keys = ", ".join(list(document)[:6])[:200] or "no members"
        why = "it takes an environment in YAML, a lock file of conda-lock or pixi, an @EXPLICIT list or a list of specs"
        raise wrong(field, f"has {keys}, but no dependencies; {why}")
    return _read_yaml_environment(document, field)


def _of_lock(lock: LockFile) -> Environment:
    return Environment(channels=lock.channels, locks=lock.locked)


def _read_yaml_environment(document: dict[str, Any], field: str) -> Environment:
    _check_settings(document, field)
    where = f"{field}: channels"
    channels = read_channels(list(_texts(document.get("channels"), where)), where)
    entries = list(_dependencies(document["dependencies"], f"{field}: dependencies"))
    found = read_entries(entries)
    variables = _variables(document.get("variables"), field)
    return Environment(found.specs, channels, found.pip, variables, found.locks, tuple(_notes(document)))


def _notes(document: dict[str, Any]) -> Iterator[str]:
    """Yield what a file says that changes nothing of an image."""
    for key in [key for key in document if key not in _SERVED][:NOTES_LIMIT]:
        yield f"{key[:80]} is not used: {_WHY_NOT.get(key, 'it is no member of an environment file that is known')}"
    variables = document.get("variables")
    yield from (f"variables: {why}" for name, why in _OVERRIDES.items() if variables and name in variables)


def _check_settings(document: dict[str, Any], field: str) -> None:
    """Check that what a file says of how packages are chosen is what is done."""
    priority = document.get("channel_priority", "strict")
    if priority not in ("strict", "true", "True", ""):
        what = "channels have strict priority here: a package comes from the first channel that has it"
        hint = "leave it out, and write <channel>::<name> for a package that is wanted of a later channel"
        raise wrong(f"{field}: channel_priority", f"{str(priority)[:80]!r} is not served; {what}; {hint}")
    for name in _UNSERVED & document.keys():
        raise wrong(f"{field}: {name}", f"is not served; leave it out, and {_UNSERVED_ADVICE}")


def _dependencies(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield each dependency with its place, those of the section for pip with their prefix."""
    for index, entry in enumerate(_items(value, where)):
        here = f"{where}[{index}]"
        if isinstance(entry, str):
            yield here, entry
        elif isinstance(entry, dict) and list(entry) == ["pip"]:
            for text in _texts(entry["pip"], f"{here}.pip"):
                yield f"{here}.pip", PIP_PREFIX + text.lstrip()
        else:
            raise wrong(here, "is neither a spec nor a section `pip`")


def _variables(value: Any, field: str) -> tuple[str, ...]:
    if not value:
        return ()
    if not isinstance(value, dict):
        raise wrong(f"{field}: variables", "is not a mapping")
    for name, text in value.items():
        if _VARIABLE.fullmatch(name) is None or not isinstance(text, str) or "\0" in text:
            raise wrong(f"{field}: variables", f"{name[:80]!r} is not a variable with a text")
    return tuple(f"{name}={text}" for name, text in sorted(value.items()))


def _items(value: Any, where: str) -> list[Any]:
    if value in (None, "", "~", "null"):
        return []
    if not isinstance(value, list):
        raise wrong(where, "is not a list")
    return value


def _texts(value: Any, where: str) -> Iterator[str]:
    for index, text in enumerate(_items(value, where)):
        if not isinstance(text, str):
            raise wrong(f"{where}[{index}]", "is not a text")
        yield text


def _read_list(lines: list[tuple[int, str]], field: str) -> Environment:
    entries = []
    for number, line in lines:
        entry = re.sub(r"\s+#.*", "", line)
        exported = _EXPORTED.fullmatch(entry)
        if exported is not None:
            entry = f"{PIP_PREFIX}{exported['name']}=={exported['version']}"
        entries.append((f"{field}: line {number}", entry))
    return read_entries(entries)
