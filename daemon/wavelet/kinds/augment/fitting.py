"""Added layers as they fit the image that they are put on: each looked at once, and changed only where it has to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wavelet.image.augment import AddedLayer
from wavelet.image.image import Content
from wavelet.kinds.augment import certificates, linked_directories
from wavelet.kinds.augment.existing import kept
from wavelet.kinds.augment.image_below import search
from wavelet.kinds.augment.layer_members import read_layer
from wavelet.kinds.augment.marks import Marks, marks_of
from wavelet.kinds.augment.rewriting import Changes, rewritten
from wavelet.kinds.kind import Work

_MERGED = ("bin/", "sbin/", "lib/", "lib64/")
"""What is below `/usr` in most images of distributions, with a link to it (UsrMerge)."""


@dataclass(frozen=True, slots=True)
class Below:
    """The image that layers are put on.

    Attributes:
        layers: the lowest first.
        architecture: layers for another one are left as they are; they take no part.
        env: its variables.
    """

    layers: Sequence[Content]
    architecture: str
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Fitted:
    """The layers, in their order, and whether certificates were merged into the last one."""

    layers: list[tuple[AddedLayer, Content]]
    has_certificates: bool = False


async def fitted(below: Below, layers: Sequence[tuple[AddedLayer, Content]], work: Work) -> Fitted:
    """Return layers as they fit an image.

    Raises:
        UpstreamBroken: a layer below cannot be read.
        InvalidRequest: a layer cannot be put on this image.
    """
    marks = {layer.digest: await read_layer(work, content, marks_of) for layer, content in layers}
    concerned = [marks[layer.digest] for layer, _ in layers if layer.architecture in (None, below.architecture)]
    wanted = frozenset().union(*(each.kept | each.kept_directories for each in concerned))
    likely = [f"usr/{path}" for path in wanted if path.startswith(_MERGED)]
    existing = (await search(below.layers, work, wanted, follow=False, likely=likely)).keys() if wanted else ()
    directories = frozenset().union(*(each.directories for each in marks.values()))
    links = await linked_directories.links(below.layers, directories, work)
    fitting: list[tuple[AddedLayer, Content]] = []
    certified: list[tuple[Content, Marks]] = []
    for layer, content in layers:
        mark = marks[layer.digest]
        is_concerned = layer.architecture in (None, below.architecture)
        giving_way = kept(mark, existing) if is_concerned and mark.kept else kept(Marks(), ())
        if is_concerned and mark.certificates:
            certified.append((content, mark))
        if giving_way.is_empty:
            work.report(f"the layer {layer.digest} is left out: the image has all that is in it")
            continue
        if giving_way.omitted or mark.directories & links.keys():
            changes = Changes(links, giving_way.omitted, dict(giving_way.heirs))
            _report(layer, changes, work)
            fitting.append(await rewritten(layer, content, changes, work))
        else:
            fitting.append((layer, content))
    if certified:
        fitting.append(await certificates.merged(below.layers, certified, below.env, work))
    return Fitted(fitting, bool(certified))


def _report(layer: AddedLayer, changes: Changes, work: Work) -> None:
    if changes.moved:
        shown = ", ".join(f"{directory} to {target}" for directory, target in sorted(changes.moved.items()))
        work.report(f"the layer {layer.digest} has directories where the image has links; moved: {shown}")
    if changes.omitted:
        shown = ", ".join(f"/{path}" for path in sorted(changes.omitted)[:20])
        work.report(f"the layer {layer.digest} gives way to what the image has: {shown}")
