"""The exact packages of a request, written as a lock file: an explicit list, pixi.lock (version 6), conda-lock.yml (1).

Channels and requested specs are not known of a lock, so that what files have to say of
these is what follows from the packages: their channels, in the order of their first package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import yaml

from wavelet.kinds.conda.compose import made_parts
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.kinds.conda.model.explicit_list import distribution
from wavelet.kinds.conda.model.node import LockedEnvironment
from wavelet.kinds.conda.model.packages import Package, Wheel, subdir_of
from wavelet.kinds.kind import Work

LockForm = Literal["explicit", "pixi", "conda-lock"]

LOCK_FORMS: tuple[LockForm, ...] = get_args(LockForm)
"""The forms that a lock can be asked for in; the first one where nothing is said."""

Described = Sequence[tuple[Package | Wheel, LayerInfo]]
"""Packages, dependencies first, then wheels, each with what is known of its layer."""


async def write_lock(plan: LockedEnvironment, form: LockForm, work: Work) -> str:
    """Return a lock as text. Forms that say what packages depend on need the layers to be made.

    Raises:
        WaveletError: a layer cannot be made.
    """
    if form == "explicit":
        return plan.explicit
    every = [*await made_parts.packages(plan, work), *await made_parts.wheels(plan, work)]
    locked = [(part.of, part.info) for part in every if part.of is not None]
    return pixi_lock(plan, locked) if form == "pixi" else conda_lock(plan, locked)


def pixi_lock(plan: LockedEnvironment, locked: Described) -> str:
    """Return `pixi.lock`, as rattler's `LockFile` reads it."""
    urls = [{_kind(of): of.url} for of, _ in locked]
    channels = [{"url": f"{channel}/"} for channel in _channels(locked)]
    environment: dict[str, object] = {"channels": channels}
    if plan.wheels:
        environment["indexes"] = []
    environment["packages"] = {subdir_of(plan.platform): urls}
    document = {
        "version": 6,
        "environments": {"default": environment},
        "packages": [_pixi_conda(of, info) if isinstance(of, Package) else _pixi_pypi(of, info) for of, info in locked],
    }
    return _write(document)


def conda_lock(plan: LockedEnvironment, locked: Described) -> str:
    """Return `conda-lock.yml`, as conda-lock and micromamba read it."""
    subdir = subdir_of(plan.platform)
    content = hashlib.sha256("".join(f"{of.url}#{of.sha256}\n" for of, _ in locked).encode()).hexdigest()
    document = {
        "version": 1,
        "metadata": {
            "content_hash": {subdir: content},
            "channels": [{"url": channel, "used_env_vars": []} for channel in _channels(locked)],
            "platforms": [subdir],
            "sources": [],
        },
        "package": [_conda_lock_entry(of, info, subdir) for of, info in locked],
    }
    return _write(document)


def _pixi_conda(package: Package, info: LayerInfo) -> dict[str, object]:
    index = info.index
    members = {
        "conda": package.url,
        "sha256": package.sha256,
        "md5": package.md5,
        **{name: index.get(name) for name in ("depends", "constrains", "track_features")},
        **{name: index.get(name) for name in ("license", "license_family", "python_site_packages_path")},
        "size": package.size,
        "timestamp": index.get("timestamp"),
    }
    return _filled(members)


def _pixi_pypi(wheel: Wheel, info: LayerInfo) -> dict[str, object]:
    members = {
        "pypi": wheel.url,
        "name": distribution(wheel)[0],
        "version": distribution(wheel)[1],
        "sha256": wheel.sha256,
        "requires_dist": info.index.get("requires_dist"),
    }
    return _filled(members)


def _conda_lock_entry(of: Package | Wheel, info: LayerInfo, subdir: str) -> dict[str, object]:
    conda = isinstance(of, Package)
    name, version = (of.name, of.version) if isinstance(of, Package) else distribution(of)
    needs = info.index.get("depends" if conda else "requires_dist") or ()
    return {
        "name": name,
        "version": version,
        "manager": "conda" if conda else "pip",
        "platform": subdir,
        "dependencies": dict(_dependency(spec, conda=conda) for spec in needs if conda or "extra ==" not in spec),
        "url": of.url,
        "hash": _filled({"md5": getattr(of, "md5", None), "sha256": of.sha256}),
        "category": "main",
        "optional": False,
    }


def _dependency(spec: str, *, conda: bool) -> tuple[str, str]:
    """Split a match spec at its first space, or a requirement (PEP 508) after its name."""
    if conda:
        name, _, rest = spec.partition(" ")
        return name, rest
    requirement = spec.partition(";")[0].strip()
    end = next((place for place, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), None)
    return (requirement, "*") if end is None else (requirement[:end], requirement[end:].strip() or "*")


def _kind(of: Package | Wheel) -> str:
    return "conda" if isinstance(of, Package) else "pypi"


def _channels(locked: Described) -> Iterable[str]:
    return dict.fromkeys(of.channel for of, _ in locked if isinstance(of, Package))


def _filled(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value}


def _write(document: Mapping[str, object]) -> str:
    # By way of JSON, so that no value is written as a reference to an equal one before it.
    return yaml.safe_dump(json.loads(json.dumps(document)), sort_keys=False, allow_unicode=True, width=10_000)
