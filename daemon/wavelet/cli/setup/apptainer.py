"""Apptainer (and Singularity, which reads the same file): explicit names by default, mirrors only where asked for.

Apptainer takes the first mirror of an entry and no other, not even the registry: while the daemon is down, nothing can
be pulled by a mirrored name. Names that begin with the daemon's address leave all others as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace

from wavelet.cli.setup import registries_drop_ins
from wavelet.cli.setup.plan import Asked, Plan
from wavelet.cli.setup.verify import DIRECTORY, Pull, test_image

OF_NODE = False
SUMMARY = "let apptainer speak plain http with the daemon on this machine"

NO_FALL_BACK = (
    "--mirror: Apptainer asks the first mirror alone and never the registry itself: while the daemon is down, "
    "docker:// names of {registries} cannot be pulled"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare its own argument."""
    parser.add_argument(
        "--mirror", action="store_true", help="plain names go through the daemon, too; they fail while it is down"
    )


def plan(asked: Asked) -> Plan:
    """Plan the drop-ins; see `registries_drop_ins.plan`."""
    planned = registries_drop_ins.plan(asked, mirrors=asked.mirror)
    if not planned.intercepted:
        return planned
    warning = NO_FALL_BACK.format(registries=", ".join(planned.intercepted))
    return replace(planned, notes=(*planned.notes, warning))


undo = registries_drop_ins.undo


def apply(asked: Asked, plan: Plan) -> Iterable[str]:
    """Do nothing: it reads the files whenever it runs."""
    return ()


def pulls(asked: Asked, plan: Plan) -> Sequence[Pull]:
    """Return how it pulls by a plain name, or by that of the daemon where it has no mirror."""
    name = f"docker://{test_image(next(iter(plan.intercepted), asked.authority))}"
    return tuple(
        Pull((program, "pull", "--force", f"{DIRECTORY}/wavelet-setup-test.sif", name))
        for program in ("apptainer", "singularity")
    )
