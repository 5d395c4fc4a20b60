"""podman, and what reads the same files: skopeo, buildah and CRI-O. A mirror for each registry, by drop-ins."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace

from wavelet.cli.setup import registries_drop_ins
from wavelet.cli.setup.plan import Asked, Plan
from wavelet.cli.setup.verify import Pull, test_image

OF_NODE = False
SUMMARY = "let podman, skopeo, buildah and CRI-O ask the daemon first for the images of registries"

ALSO_APPTAINER = (
    "Apptainer reads these files, too: from 1.4.2 on it asks a mirror alone, so that its docker:// names fail while "
    "the daemon is down"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: it has the arguments of all engines."""


def plan(asked: Asked) -> Plan:
    """Plan the drop-ins; see `registries_drop_ins.plan`."""
    planned = registries_drop_ins.plan(asked, mirrors=True)
    if shutil.which("apptainer") is None:
        return planned
    return replace(planned, notes=(*planned.notes, ALSO_APPTAINER))


undo = registries_drop_ins.undo


def apply(asked: Asked, plan: Plan) -> Iterable[str]:
    """Say what is left to do: CRI-O alone reads the files once."""
    if asked.of_node and shutil.which("crio") is not None:
        yield "CRI-O reads them when it is told: systemctl reload crio"


def pulls(asked: Asked, plan: Plan) -> Sequence[Pull]:
    """Return how podman pulls, and the others where there is no podman."""
    if not plan.intercepted:
        return ()
    name = test_image(plan.intercepted[0])
    return (
        Pull(("podman", "pull", "--quiet", name), ("podman", "rmi", "--force", name)),
        Pull(("skopeo", "inspect", "--raw", f"docker://{name}")),
        Pull(("buildah", "pull", "--quiet", name), ("buildah", "rmi", "--force", name)),
    )
