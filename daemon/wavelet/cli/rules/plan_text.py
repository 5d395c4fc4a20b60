"""A plan as lines for people, of its canonical JSON. Pure.

It knows the forms that rules act upon; of any other it shows the members as they are, as a newer daemon may have more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wavelet.cli.output import lines
from wavelet.packs.model import LOCATION

_LISTS = {"entrypoint": "entry point", "cmd": "command"}


def plan_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a plan: what it starts from, and below it what is added, in order, each behind a `+`."""
    match plan:
        case {"from": str(image)}:
            yield "  ".join(filter(None, (image, str(plan.get("platform", "")))))
        case {"conda": {"base": dict(base), **packages}}:
            yield "packages"
            yield from (f"  {line}" for line in lines(packages))
            yield from (f"on {line}" for line in plan_lines(base))
        case {"index": dict(images)}:
            for platform, member in images.items():
                yield f"{platform}:"
                yield from (f"  {line}" for line in plan_lines(member))
        case {"sif": dict(image)}:
            yield "a SIF of"
            yield from (f"  {line}" for line in plan_lines(image))
        case {"base": dict(base)}:
            yield from plan_lines(base)
            yield from (f"+ {line}" for line in _added(plan))
        case _:
            yield from lines(dict(plan))


def _added(plan: Mapping[str, Any]) -> Iterator[str]:
    config = plan.get("config", {})
    yield from dict.fromkeys(map(_layer, config.get("layers", ())))
    yield from (f"the layers of {line}" for each in plan.get("includes", ()) for line in plan_lines(each))
    yield from (f"{word} {' '.join(config[key])}" for key, word in _LISTS.items() if config.get(key))
    yield from (f"variable {each}" for each in config.get("env", ()))
    if config.get("workingDir"):
        yield f"working directory {config['workingDir']}"
    yield from (f"label {name}={value}" for name, value in config.get("labels", {}).items())
    if plan.get("rules"):
        yield f"by the rules {', '.join(plan['rules'])}"


def _layer(layer: Mapping[str, Any]) -> str:
    """Return what a layer is called; those of a pack have its name, and so are one line."""
    location = layer.get("location", "")
    if location.startswith(LOCATION):
        return f"pack {location.removeprefix(LOCATION).partition('/')[0]}"
    return f"layer {layer.get('gzipDigest', '')}"
