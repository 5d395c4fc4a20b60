"""Settings of the daemon's user for conda's channels: the keys of `.condarc` files that concern names and mirrors.

The values may hold logins; nothing here is shown or logged.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import yaml

from wavelet.foreign_json import without_nulls


class CondarcError(ValueError):
    """The text is no `.condarc`; the message says why, without a value of it."""


class _Document(msgspec.Struct):
    channel_alias: str | None = None
    custom_channels: dict[str, str] | None = None
    default_channels: list[str] | None = None
    mirrored_channels: dict[str, list[str]] | None = None


@dataclass(frozen=True, slots=True)
class Condarc:
    """The keys that are heeded, values with their environment variables put in.

    Attributes:
        channel_alias: where a channel is that is named without a URL; empty: not said.
        custom_channels: channel names, and the URL under which each is.
        default_channels: what `defaults` stands for.
        mirrored_channels: channel names, and the URLs to ask for each, in order.
    """

    channel_alias: str = field(default="", repr=False)
    custom_channels: Mapping[str, str] = field(default_factory=dict, repr=False)
    default_channels: tuple[str, ...] = field(default=(), repr=False)
    mirrored_channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)


def paths(environment: Mapping[str, str], home: Path) -> list[Path]:
    """Return where the files may be, the one with the last word last (conda's documentation, "Searching for .condarc").

    Those of an installed conda are left out: the daemon belongs to none.
    """
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    named = [Path(environment["CONDARC"])] if environment.get("CONDARC") else []
    system = Path("/etc/conda")
    own = (config / "conda/.condarc", home / ".conda/.condarc", home / ".conda/condarc", home / ".condarc")
    return [system / ".condarc", system / "condarc", *own, *named]


def merge(texts: Iterable[tuple[Path, str]], environment: Mapping[str, str]) -> tuple[Condarc, list[tuple[Path, str]]]:
    """Read files, later ones over earlier ones, mappings key by key; return what they say, and which cannot be read."""
    merged, wrong = Condarc(), list[tuple[Path, str]]()
    for path, text in texts:
        try:
            merged = _over(merged, _parse(text, environment))
        except CondarcError as error:
            wrong.append((path, str(error)))
    return merged, wrong


def _parse(text: str, environment: Mapping[str, str]) -> _Document:
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        raise CondarcError("it is not YAML") from None
    try:
        return msgspec.convert(without_nulls(_expanded({} if values is None else values, environment)), _Document)
    except msgspec.ValidationError as error:
        raise CondarcError(f"it is no .condarc ({error})") from None


def _expanded(value: object, environment: Mapping[str, str]) -> object:
    """Put environment variables into all texts of a document, as conda does for channels."""
    if isinstance(value, str):
        return string.Template(value).safe_substitute(environment)
    if isinstance(value, list):
        return [_expanded(each, environment) for each in value]
    if isinstance(value, dict):
        return {key: _expanded(each, environment) for key, each in value.items()}
    return value


def _over(below: Condarc, above: _Document) -> Condarc:
    mirrored = {name: tuple(urls) for name, urls in (above.mirrored_channels or {}).items()}
    return replace(
        below,
        channel_alias=above.channel_alias or below.channel_alias,
        custom_channels={**below.custom_channels, **(above.custom_channels or {})},
        default_channels=tuple(above.default_channels or below.default_channels),
        mirrored_channels={**below.mirrored_channels, **mirrored},
    )
