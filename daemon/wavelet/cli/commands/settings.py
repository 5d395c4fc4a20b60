"""`wavelet settings`: the reference of all settings, as Markdown, from their own types: it is as the code is."""

from __future__ import annotations

import argparse
import sys
import types
import typing

import msgspec
from msgspec import Struct

from wavelet.config import ENV_PREFIX, Alias, Credential, Registry, Settings
from wavelet.config.changes import is_live
from wavelet.config.keys import words_in

_HEAD = """# Settings

One YAML file: `--config FILE`, else `$WAVELET_CONFIG`, else `~/.config/wavelet/config.yaml`, else
`/etc/wavelet/config.yaml`. Beside it there can be drop-ins: the files `*.yaml` in `config.d` (for `config.yaml`) are
read after it, in the order of their names. The environment overrides the files, and the command line overrides all.

What is read later counts, key by key: mappings are joined, lists take each other's place, and a variable takes the
place of the whole value. Lists and mappings in variables are JSON. Every key is optional. A key that does not exist is
an error, and the message names the near one and the file. Aliases (`*name`) are not read.

A variable that is no setting is no error, for others than you put variables into an environment (Kubernetes those of
services). One that looks as if it were meant to be (`WAVELET_CONDA__ENGINE`, `WAVELET_STORE_LIMITS`) counts for
nothing: `wavelet config check` warns of it, and a daemon says so in its log when it starts.

Seconds may have fractions. Sizes are bytes with or without a unit: `500MB`, `50GiB`.

A running daemon reads the files again when they change (`watch`), on SIGHUP, and when asked over gRPC; *live* says
which keys then count at once. A change of another key is refused with its name, and all of the old settings stay:
[operations.md](operations.md#changing-settings).

Everyone who reaches `listen` may ask for images, without TLS and without a login: an address that is not loopback is
refused unless `allow_remote` says that it is meant. `tls.listen` and `grpc.tls.listen` may be any address.

This page is made by `wavelet settings`; a test holds it to the code.

| key | variable | default | live | meaning |
|---|---|---|---|---|
"""

_LISTS = """
`upstream.registries` maps a host to these:

{registries}
`upstream.aliases` is a list of these:

{aliases}
`upstream.credentials` is a list of these:

{credentials}"""


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Declare that there are no arguments."""


def run(_: argparse.Namespace) -> int:
    """Print the page."""
    sys.stdout.write(reference())
    return 0


def reference() -> str:
    """Return the whole page."""
    parts = {"registries": _table(Registry), "aliases": _table(Alias), "credentials": _table(Credential)}
    return _HEAD + "".join(_rows(Settings, "")) + _LISTS.format(**parts)


def _rows(section: type[Struct], prefix: str) -> list[str]:
    rows: list[str] = []
    for field in msgspec.structs.fields(section):
        hint = field.type
        description, inner = _described(hint)
        key = prefix + field.name
        if inner is not None:
            rows += _rows(inner, f"{key}.")
            continue
        variable = f"`{ENV_PREFIX}{key.upper().replace('.', '_')}`"
        live = "yes" if is_live(key) else ""
        rows.append(f"| `{key}` | {variable} | {_default(field)} | {live} | {description} |\n")
    return rows


def _table(section: type[Struct]) -> str:
    rows = [
        f"| `{field.name}` | {_default(field)} | {_described(field.type)[0]} |\n"
        for field in msgspec.structs.fields(section)
    ]
    return "| key | default | meaning |\n|---|---|---|\n" + "".join(rows)


def _described(hint: object) -> tuple[str, type[Struct] | None]:
    """Return a field's description and the section that it is, if it is one."""
    description = ""
    if typing.get_origin(hint) is typing.Annotated:
        hint, *notes = typing.get_args(hint)
        description = next((n.description for n in notes if isinstance(n, msgspec.Meta) and n.description), "")
    choices = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    inner = next((each for each in choices if isinstance(each, type) and issubclass(each, Struct)), None)
    if words := words_in(hint):
        description += f"; one of {', '.join(f'`{word}`' for word in words)}"
    return description.replace("|", "\\|"), inner


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT:
        return "(required)"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return f"`{msgspec.json.encode(value).decode()}`"
