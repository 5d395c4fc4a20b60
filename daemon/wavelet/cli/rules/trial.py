"""The rules of the site tried on the containers of a pipeline, without a daemon, and without asking any registry.

What an image is pinned to is not known here: of rules that judge it, those count that need not ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from wavelet.cli.image_lists import image_of
from wavelet.errors import CallerError
from wavelet.front.registry.own_names import OwnReferences
from wavelet.image.reference import Platform, Reference
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import title
from wavelet.rules.model import Asking
from wavelet.rules.site_rules import SiteRules

Verdict = Literal["unchanged", "changed", "refused", "not seen"]
"""`not seen`: rules do not see it: it is a file, of no registry of engines, or what a daemon has answered."""

USUAL = Platform("linux", "amd64")
"""The platform of a request that names none."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the rules make of one container.

    Attributes:
        container: as the pipeline has it.
        processes: which have it.
        image: what it is made of in the end; empty where it is refused or not seen.
        effects: of each rule that concerns it: its name, its place, and a sentence.
        packs: that are added.
        refusal: the sentence with which it is refused, which names the rule.
        notes: on packs that are left out.
    """

    container: str
    processes: tuple[str, ...]
    verdict: Verdict
    image: str = ""
    effects: tuple[tuple[str, str, str], ...] = ()
    packs: tuple[str, ...] = ()
    refusal: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """The node on which it would be asked for, and who would ask.

    Attributes:
        rules: of the site.
        own: reads references that name the node's own daemon.
        asking: who asks, and how.
        platform: for which; None: the usual one where it is a request, else none.
    """

    rules: SiteRules
    own: OwnReferences
    asking: Asking
    platform: Platform | None = None


def by_container(processes: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the processes of each container; those without one are left out."""
    found: dict[str, tuple[str, ...]] = {}
    for process, container in processes:
        if container:
            found[container] = (*found.get(container, ()), process)
    return found


async def try_all(node: Node, containers: Mapping[str, tuple[str, ...]]) -> list[Trial]:
    """Return what rules make of containers, each with its processes."""
    return [await _tried(node, container, processes) for container, processes in containers.items()]


async def _tried(node: Node, container: str, processes: tuple[str, ...]) -> Trial:
    name = image_of(container)
    if not name:
        return Trial(container, processes, "not seen")
    try:
        platform = node.platform or (USUAL if node.asking.form == "request" else None)
        asked = RegistryImage(Reference.parse(name), platform)
        plan = node.own(asked)
        if plan is asked and asked.reference.repository.host in node.own.hosts:
            return Trial(container, processes, "not seen")
        outcome, refusal = await node.rules.explain(plan, node.asking)
    except CallerError as error:
        return Trial(container, processes, "refused", refusal=error.message)
    return Trial(
        container,
        processes,
        "refused" if refusal else "changed" if outcome.applied else "unchanged",
        "" if refusal else title(outcome.plan),
        tuple((each.rule.name, each.rule.place, each.text) for each in outcome.effects),
        tuple(pack.reference.removesuffix("@") for pack in outcome.packs),
        refusal,
        tuple(outcome.notes),
    )
