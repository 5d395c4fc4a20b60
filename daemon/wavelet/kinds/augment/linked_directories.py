"""Layers that have a directory where the image below has a link, and what is done about them.

Most distributions have made `/bin`, `/lib` and their like links to what is in `/usr`. A layer that has `bin/x` covers
the link with a directory, and no program of the image starts any more. Its paths are put below the link's target
instead, as tools that copy into containers do. What reads layers blocks, and is called in a thread or worker.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

from wavelet.errors import InvalidRequest, WaveletError
from wavelet.image.image import Content
from wavelet.kinds.augment.layer_members import OPAQUE, WHITEOUT, members, relative
from wavelet.kinds.kind import Work


async def links(base: Sequence[Content], wanted: frozenset[str], work: Work) -> dict[str, str]:
    """Return which of the directories `wanted` are links in an image, and where they lead, from the root on.

    Args:
        base: the image's layers, the lowest first.

    Raises:
        UpstreamBroken: a layer cannot be read.
        InvalidRequest: a link leads nowhere that a layer could put anything.
    """
    found: dict[str, str] = {}
    left = wanted
    for content in reversed(base):
        if not left:
            break
        path = await work.path(content)
        decided: dict[str, str] = await work.run(links_of, path, str(content.descriptor.digest), left)
        found |= {directory: target for directory, target in decided.items() if target}
        left -= decided.keys()
    return found


def links_of(layer: Path, name: str, wanted: frozenset[str]) -> dict[str, str]:
    """Return what a layer says of these paths: where a link leads, from the root on, or nothing where it is none."""
    found: dict[str, str] = {}
    for member in members(layer, name):
        path = relative(member.path)
        directory, _, last = path.rpartition("/")
        if path in wanted:
            found[path] = _target(path, member.target) if member.is_symlink else ""
        elif last.startswith(WHITEOUT) and last != OPAQUE:
            gone = f"{directory}/{last.removeprefix(WHITEOUT)}".lstrip("/")
            found |= {each: "" for each in wanted if each == gone and each not in found}
        else:
            found |= {each: "" for each in wanted if path.startswith(f"{each}/") and each not in found}
    return found


def _target(path: str, target: str) -> str:
    found = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), target)).strip("/")
    if not found or found == path or found.startswith(f"{path}/"):
        raise _nowhere(path, target)
    return found


def _nowhere(path: str, target: str) -> WaveletError:
    return InvalidRequest(
        f"containerConfig.layers: the image has a link /{path} to {target!r}, so that nothing can be put into /{path};"
        " put the layer's files into another directory",
        field="containerConfig.layers",
    )
