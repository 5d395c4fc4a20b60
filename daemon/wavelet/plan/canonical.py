"""The canonical form of plans, the keys made of it, and the form in which plans are kept.

`canonical` is what names are made of: equal requests have equal bytes, on every node, whatever client sent them. It
leaves out what may differ between equal requests, above all where a layer's bytes come from. `encode` is the same with
nothing left out, so that a record can be read back. Both carry `VERSION`.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from wavelet.errors import InvalidName, InvalidRequest, NewerForm
from wavelet.image.config import merge_env
from wavelet.image.digest import Digest
from wavelet.plan.conda_form import filled, read_conda, read_platform, read_source, write_conda, write_source
from wavelet.plan.plan import AsIndex, Base, ContainerConfig, Layer, Plan, WithConfig
from wavelet.plan.source import FromRegistry
from wavelet.plan.view import View

VERSION = 1
"""The form. It changes with what equal requests are, or with what a reader has to know; then the plans that the older
form can say keep that form and so their names, and only those that it cannot say get the newer one."""


def canonical(plan: Plan) -> bytes:
    """Return the bytes that stand for `plan` in names."""
    return _write({"version": VERSION, "plan": _value(plan, view=View.NAME)})


def encode(plan: Plan) -> bytes:
    """Return `plan` as JSON, with the locations of its layers."""
    return _write({"version": VERSION, "plan": _value(plan, view=View.RECORD)})


def key(plan: Plan) -> str:
    """Return the memo key of a plan: a SHA-256 over all of it, locations included, in hexadecimal."""
    return _leaf_key(plan) if isinstance(plan, FromRegistry) else _key(plan)


@functools.lru_cache(maxsize=4096)
def _leaf_key(plan: FromRegistry) -> str:
    # Only small plans are kept in memory: what requests add to an image can be long.
    return _key(plan)


def _key(plan: Plan) -> str:
    # Without the sizes of packages: a lock says them or not, and it is the same lock.
    return Digest.of(_write({"version": VERSION, "plan": _value(plan, view=View.KEY)})).hex


def decode(data: bytes) -> Plan:
    """Read what `encode` wrote.

    Raises:
        NewerForm: a newer version's.
        InvalidRequest: not a plan at all.
    """
    with reading("a plan"):
        document = msgspec.json.decode(data)
        check_form(document, VERSION)
        if int(document["version"]) != VERSION:
            raise InvalidRequest(f"there is no form {document['version']} of plans")
        return _plan(document["plan"])


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Say of a document that cannot be read that it is not `what`.

    Raises:
        InvalidRequest: what is read inside is something else.
    """
    try:
        yield
    except (InvalidName, msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidRequest(f"not {what}: {error!r}") from None


def check_form(document: Mapping[str, Any], known: int) -> None:
    """Return if a document that is kept has a form of up to `known`; a later one says in `needs` who reads it.

    Raises:
        NewerForm: a newer version has written it.
        KeyError, TypeError, ValueError: it is no such document.
    """
    form = int(document["version"])
    if form > known:
        needs = document.get("needs")
        reader = f"this one reads up to form {known}"
        if isinstance(needs, str):
            reader = f"wavelet {needs[:40]} or newer reads it"
        raise NewerForm(
            f"it was made by a newer wavelet (form {form}; {reader}); bring this node to the version of the others"
        )


def write_plan(plan: Plan) -> dict[str, Any]:
    """Return what `encode` writes as a value, for documents that have more in them."""
    return _value(plan, view=View.RECORD)


def read_plan(value: dict[str, Any]) -> Plan:
    """Read what `write_plan` returned; errors are those of `reading`."""
    return _plan(value)


def write_part(part: Base, *, view: View) -> dict[str, Any]:
    """Return one of a plan's `parts` as a value."""
    return _value(part, view=view)


def read_part(value: dict[str, Any]) -> Base:
    """Read what `write_part` returned for a record; errors are those of `reading`."""
    part = _plan(value)
    if not isinstance(part, Base):
        raise TypeError(part)
    return part


def _write(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def _value(plan: Plan, *, view: View) -> dict[str, Any]:
    match plan:
        case FromRegistry():
            return write_source(plan)
        case WithConfig(base, config, includes):
            value = {"base": _value(base, view=view)}
            value |= {"config": _config(config, view=view)} if config else {}
            return value | ({"includes": [write_source(each) for each in includes]} if includes else {})
        case AsIndex(members):
            return {"index": {str(platform): _value(member, view=view) for platform, member in members}}
        case _:
            return write_conda(plan, view=view)


def _config(config: ContainerConfig, *, view: View) -> dict[str, Any]:
    members: dict[str, Any] = {
        "entrypoint": list(config.entrypoint),
        "cmd": list(config.cmd),
        "env": merge_env(config.env),
        "workingDir": config.working_dir,
        "layers": [_layer(layer, view=view) for layer in config.layers],
    }
    return filled(members)


def _layer(layer: Layer, *, view: View) -> dict[str, Any]:
    members: dict[str, Any] = {"gzipDigest": layer.digest, "tarDigest": layer.diff_id}
    if layer.architecture is not None:
        members["architecture"] = layer.architecture
    if view is not View.NAME:
        members |= {"gzipSize": layer.size, "location": layer.location}
    return members


def _plan(value: dict[str, Any]) -> Plan:
    if "index" in value:
        members = [(read_platform(text), _plan(member)) for text, member in value["index"].items()]
        return AsIndex(tuple((p, m) for p, m in members if isinstance(m, Base | WithConfig)))
    if "base" in value:
        base = _plan(value["base"])
        if not isinstance(base, Base):
            raise TypeError(base)
        includes = tuple(map(read_source, value.get("includes", ())))
        return WithConfig(base, _read_config(value.get("config", {})), includes)
    return read_conda(value) or read_source(value)


def _read_config(value: dict[str, Any]) -> ContainerConfig:
    return ContainerConfig(
        tuple(value.get("entrypoint", ())),
        tuple(value.get("cmd", ())),
        tuple(value.get("env", ())),
        value.get("workingDir", ""),
        tuple(
            Layer(
                Digest.parse(layer["gzipDigest"]),
                layer["gzipSize"],
                Digest.parse(layer["tarDigest"]),
                layer["location"],
                layer.get("architecture"),
            )
            for layer in value.get("layers", ())
        ),
    )
