"""Exact packages as a list of URLs, `@EXPLICIT`, which conda, micromamba and pixi install from. Pure."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable

from wavelet.kinds.conda.model.packages import Package, Wheel


def explicit(packages: Iterable[Package], subdir: str, wheels: Iterable[Wheel] = ()) -> str:
    """Return an explicit list; packages come in the order in which they are installed.

    Hashes are written `#sha256:<hex>`, which conda, micromamba and rattler read (text spec input files, the CEP on
    them: "The prefix `sha256:` MAY be present"); without the prefix micromamba takes any hash for an MD5. The form has
    no lines for wheels: they are comments, `# pip <name> @ <URL>#sha256=<hex>` as conda-lock writes them.
    """
    lines = [f"{p.url}#sha256:{p.sha256}\n" for p in packages]
    lines += [f"# pip {distribution(wheel)[0]} @ {wheel.url}#sha256={wheel.sha256}\n" for wheel in wheels]
    return f"# platform: {subdir}\n@EXPLICIT\n" + "".join(lines)


def distribution(wheel: Wheel) -> tuple[str, str]:
    """Return name and version of a wheel's distribution, the name in the form that pip shows."""
    name, version = (urllib.parse.unquote(text) for text in (wheel.name, wheel.version))
    return name.lower().replace("_", "-"), version
