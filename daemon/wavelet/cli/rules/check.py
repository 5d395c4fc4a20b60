"""`wavelet rules check`: files of rules read as a daemon would, and tried on the containers of a pipeline."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from wavelet.cli import daemon_call
from wavelet.cli.argument_types import label
from wavelet.cli.image_lists import containers_in
from wavelet.cli.input_files import text_of
from wavelet.cli.output import FORMS, emit, visible
from wavelet.cli.rules.explain import BY_NAME, DOORS, user
from wavelet.cli.rules.offline import Offline, read_offline
from wavelet.cli.rules.trial import Node, Trial, by_container, try_all
from wavelet.config import Settings, Source
from wavelet.front.registry.own_names import OwnReferences
from wavelet.hosted.own_registry import own_authorities
from wavelet.image.reference import Platform
from wavelet.kinds.conda.site_defaults import defaults_of
from wavelet.rules.model import Asking, RuleSet
from wavelet.rules.site_rules import SiteRules

NEXTFLOW = "wave"
"""The door by which Nextflow asks, which names a platform always."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "files", metavar="FILE", type=Path, nargs="*", help="files of rules, or directories of such (the settings')"
    )
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    parser.add_argument(
        "--images", metavar="FILE",
        help="try the rules on the containers that `nextflow inspect -format json` prints; - is stdin",
    )  # fmt: skip
    parser.add_argument("--as", metavar="USER", type=user, dest="uid", help="with --images: who would ask (you)")
    parser.add_argument(
        "--door", choices=DOORS, default=NEXTFLOW, help="with --images: by which they are asked for (wave)"
    )
    parser.add_argument("--platform", metavar="NAME", help="with --images: for which (linux/amd64; none for names)")
    parser.add_argument(
        "--label", metavar="NAME=VALUE", type=label, action="append", default=[],
        help="with --images: a label that the requests carry; repeat",
    )  # fmt: skip
    parser.add_argument("--config", metavar="FILE", type=Path, help="the daemon's file of settings")
    parser.add_argument("-o", "--output", choices=FORMS, default="text", help="form of what is printed (text)")


def run(options: argparse.Namespace) -> int:
    """Print what is wrong with rules, and what they make of images; 1 if something is, or if an image is refused.

    Raises:
        ConfigError: the settings cannot be used.
        InvalidRequest: a list of containers, or a platform, is none.
    """
    settings = Source(options.config, os.environ, {}).read()
    containers = by_container(list(_containers(options.images)))
    found = read_offline(options.files, settings)
    trials = [] if found.errors else asyncio.run(_try(found, containers, settings, options))
    emit(_value(found, trials), options.output, _lines(found, trials))
    for each in found.errors:
        sys.stderr.write(f"wavelet: {visible(each)}\n")
    for each in found.warnings:
        sys.stderr.write(f"wavelet: warning: {visible(each)}\n")
    is_wrong = bool(found.errors) or (options.strict and bool(found.warnings))
    is_refused = any(trial.verdict == "refused" for trial in trials)
    return daemon_call.FAILED if is_wrong or is_refused else daemon_call.DONE


def _containers(file: str | None) -> Iterator[tuple[str, str]]:
    if file is not None:
        yield from containers_in(text_of(file, "--images"), f"--images: {file}")


async def _try(
    found: Offline, containers: dict[str, tuple[str, ...]], settings: Settings, options: argparse.Namespace
) -> list[Trial]:
    platform = Platform.parse(options.platform, "--platform") if options.platform else None
    asking = Asking(
        options.door,
        "near-cache" if options.door in BY_NAME else "request",
        uid=os.geteuid() if options.uid is None else options.uid,
        labels=dict(options.label),
        has_platform=platform is not None or options.door == NEXTFLOW,
    )
    own = OwnReferences(own_authorities(settings), lambda: defaults_of(settings))
    rules = RuleSet(found.rules)
    node = Node(SiteRules(lambda: rules, found.packs, own=own.hosts), own, asking, platform)
    return await try_all(node, containers)


def _value(found: Offline, trials: Sequence[Trial]) -> dict[str, object]:
    return {
        "rules": len(found.rules),
        "files": [str(each) for each in found.files],
        "errors": list(found.errors),
        "warnings": list(found.warnings),
        "images": [_image(each) for each in trials],
    }


def _image(trial: Trial) -> dict[str, object]:
    effects = [{"rule": rule, "place": place, "effect": effect} for rule, place, effect in trial.effects]
    return asdict(trial) | {
        "processes": list(trial.processes),
        "effects": effects,
        "packs": list(trial.packs),
        "notes": list(trial.notes),
    }


def _lines(found: Offline, trials: Sequence[Trial]) -> Iterator[str]:
    if not found.errors:
        yield f"{len(found.rules)} rules in {len(found.files)} files" if found.files else "no files of rules"
    for trial in trials:
        changed = f" -> {trial.image}" if trial.verdict == "changed" and trial.image not in trial.container else ""
        yield f"{trial.verdict:9}  {trial.container}{changed}  ({', '.join(trial.processes)})"
        yield from (f"    {rule} ({place}): {effect}" for rule, place, effect in trial.effects)
        yield from (f"    note: {note}" for note in trial.notes)
        if trial.refusal:
            yield f"    {trial.refusal}"
