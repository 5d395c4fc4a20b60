"""The conda values as JSON: what `canonical` puts into names, keys and records.

Sizes, a second hash and the leaves of a lock are written for records alone: they make no other plan. The version of
what makes an image is written for keys alone: names and records stay what they were.
"""

from __future__ import annotations

from typing import Any

from wavelet.image.platform import Platform
from wavelet.image.reference import Reference
from wavelet.plan.conda import (
    IMAGE_MAKER,
    LINKER,
    CondaPart,
    FromConda,
    FromLock,
    Layers,
    LibcOf,
    Package,
    PackageLayer,
    ScriptsLayer,
    Wheel,
    WheelLayer,
)
from wavelet.plan.source import FromRegistry
from wavelet.plan.view import View


def write_source(plan: FromRegistry) -> dict[str, Any]:
    """Return the leaf as JSON; of a reference with a digest the tag takes no part."""
    reference = plan.reference if plan.reference.digest is None else plan.reference.at(plan.reference.digest)
    return {"from": str(reference)} | ({} if plan.platform is None else {"platform": str(plan.platform)})


def read_source(value: dict[str, Any]) -> FromRegistry:
    """Read what `write_source` wrote."""
    platform = read_platform(value["platform"]) if "platform" in value else None
    return FromRegistry(Reference.parse(value["from"]), platform)


def read_platform(text: str) -> Platform:
    """Read a platform in its normal form."""
    return Platform.of(*text.split("/"))


def filled(members: dict[str, Any]) -> dict[str, Any]:
    """Return the members that are not empty."""
    return {name: value for name, value in members.items() if value}


def write_conda(plan: FromConda | FromLock | CondaPart, *, view: View) -> dict[str, Any]:
    """Return the value as JSON, under a member that names its kind."""
    match plan:
        case FromConda():
            return {"conda": filled(_asked(plan, view=view))}
        case FromLock():
            return {"lock": filled(_locked(plan, view=view)) | _maker(view)}
        case PackageLayer(package, python, site_packages):
            made_by = {"python": python, "sitePackages": site_packages, "linker": LINKER}
            return {"package": _package(package, view=view) | filled(made_by)}
        case WheelLayer(wheel, python, site_packages):
            made_by = {"python": python, "sitePackages": site_packages, "linker": LINKER}
            return {"wheel": _wheel(wheel, view=view) | made_by}
        case ScriptsLayer(packages, image):
            scripts = [_package(package, view=view) for package in packages]
            # What scripts run in is their packages and base, however these are put together: a layer stays claimed.
            return {"scripts": scripts, "image": {"lock": filled(_locked(image, view=view))}}
        case LibcOf(base):
            return {"libc": write_source(base)}


def _maker(view: View) -> dict[str, int]:
    return {"maker": IMAGE_MAKER} if view is View.KEY and IMAGE_MAKER > 1 else {}


def _asked(plan: FromConda, *, view: View) -> dict[str, Any]:
    return {
        "specs": list(plan.specs),
        "channels": list(plan.channels),
        "platform": str(plan.platform),
        "base": write_source(plan.base),
        "pip": list(plan.pip),
        "asOf": plan.as_of,
        "locked": [_package(package, view=view) for package in plan.locked],
        "wheels": [_wheel(wheel, view=view) for wheel in plan.wheels],
        "lockLocation": plan.lock_location,
        "renewed": plan.renewed,
        **_layers(plan.layers),
        "leaves": list(plan.leaves) if view is View.RECORD else [],
    }


def _locked(plan: FromLock, *, view: View) -> dict[str, Any]:
    return {
        "packages": [_package(package, view=view) for package in plan.packages],
        "wheels": [_wheel(wheel, view=view) for wheel in plan.wheels],
        "platform": str(plan.platform),
        "base": write_source(plan.base),
        "withoutScripts": not plan.scripts,
        **_layers(plan.layers),
    }


def _layers(layers: Layers) -> dict[str, Any]:
    return {} if layers == "many" else {"layers": layers}


def _read_layers(value: dict[str, Any]) -> Layers:
    layers = value.get("layers", "many")
    if layers not in ("many", "few"):
        raise ValueError(f"no images have {layers!r} layers")
    return layers  # type: ignore[no-any-return]


def _package(package: Package, *, view: View) -> dict[str, Any]:
    # One hash says which file it is; what a lock says besides makes no other lock of it.
    md5 = package.md5 if view is View.RECORD or package.sha256 is None else None
    members = {"url": package.url, "sha256": package.sha256, "md5": md5}
    return filled(members | ({"size": package.size} if view is View.RECORD else {}))


def _wheel(wheel: Wheel, *, view: View) -> dict[str, Any]:
    return filled({"url": wheel.url, "sha256": wheel.sha256} | ({"size": wheel.size} if view is View.RECORD else {}))


def read_conda(value: dict[str, Any]) -> FromConda | FromLock | CondaPart | None:
    """Read what `write_conda` wrote; None if it is of another kind."""
    if "conda" in value:
        return _read_asked(value["conda"])
    return read_lock(value["lock"]) if "lock" in value else _read_part(value)


def _read_part(value: dict[str, Any]) -> CondaPart | None:
    match value:
        case {"package": package}:
            return PackageLayer(_read_package(package), package.get("python", ""), package.get("sitePackages", ""))
        case {"wheel": wheel}:
            return WheelLayer(_read_wheel(wheel), wheel["python"], wheel["sitePackages"])
        case {"scripts": scripts, "image": image}:
            return ScriptsLayer(tuple(map(_read_package, scripts)), read_lock(image["lock"]))
        case {"libc": base}:
            return LibcOf(read_source(base))
    return None


def _read_asked(value: dict[str, Any]) -> FromConda:
    return FromConda(
        specs=tuple(value.get("specs", ())),
        channels=tuple(value.get("channels", ())),
        platform=read_platform(value["platform"]),
        base=read_source(value["base"]),
        pip=tuple(value.get("pip", ())),
        as_of=value.get("asOf"),
        locked=tuple(map(_read_package, value.get("locked", ()))),
        wheels=tuple(map(_read_wheel, value.get("wheels", ()))),
        lock_location=value.get("lockLocation", ""),
        renewed=value.get("renewed", False),
        layers=_read_layers(value),
        leaves=tuple(value.get("leaves", ())),
    )


def read_lock(value: dict[str, Any]) -> FromLock:
    """Read the members of a lock."""
    return FromLock(
        tuple(map(_read_package, value.get("packages", ()))),
        tuple(map(_read_wheel, value.get("wheels", ()))),
        read_platform(value["platform"]),
        read_source(value["base"]),
        not value.get("withoutScripts", False),
        _read_layers(value),
    )


def _read_package(value: dict[str, Any]) -> Package:
    return Package(value["url"], value.get("sha256"), value.get("md5"), value.get("size"))


def _read_wheel(value: dict[str, Any]) -> Wheel:
    return Wheel(value["url"], value["sha256"], value.get("size"))
