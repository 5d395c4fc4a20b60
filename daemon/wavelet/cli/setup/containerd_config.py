"""containerd's own configuration: whether it says where hosts.toml files lie, and what to add otherwise. Pure."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

OLD_SECTION = "io.containerd.grpc.v1.cri"
"""The CRI plugin's section in version 2 of the file, which containerd 1.x writes and 2.x still reads."""

NEW_SECTION = "io.containerd.cri.v1.images"
"""The section from version 3 on, which containerd 2.x writes."""

BY_ITSELF = (2, 2)
"""The release from which containerd looks into the usual directory where no `config_path` is set."""


@dataclass(frozen=True, slots=True)
class Registries:
    """What a config.toml says of registries.

    Attributes:
        directories: where hosts.toml files are looked for, in that order; empty where nothing is said.
        addition: the lines that say so, for this version of the file.
        outdated: the older ways to say it that the file uses, which exclude `config_path`.
    """

    directories: tuple[str, ...]
    addition: str
    outdated: tuple[str, ...] = ()


def read(text: str | None, usual: str) -> Registries:
    """Read a config.toml; None stands for none, which is one of the newest version.

    Raises:
        tomllib.TOMLDecodeError: it is no TOML.
    """
    document = {"version": 3} if text is None else tomllib.loads(text)
    section = NEW_SECTION if int(document.get("version", 1)) >= 3 else OLD_SECTION
    addition = f'[plugins."{section}".registry]\n  config_path = "{usual}"\n'
    said = [_table(document, name) for name in (NEW_SECTION, OLD_SECTION, "cri")]
    path = next((each["config_path"] for each in said if each.get("config_path")), "")
    outdated = tuple(key for key in ("mirrors", "configs") if any(each.get(key) for each in said))
    return Registries(tuple(part for part in str(path).split(":") if part), addition, outdated)


def _table(document: dict[str, Any], plugin: str) -> dict[str, Any]:
    found: Any = document
    for key in ("plugins", plugin, "registry"):
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}
