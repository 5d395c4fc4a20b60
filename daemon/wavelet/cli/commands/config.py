"""`wavelet config`: the settings that a daemon would have here, whether they can be used; and Nextflow's for it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from wavelet.cli.commands import config_nextflow
from wavelet.cli.commands.serve import source_of
from wavelet.cli.on_demand import settings_trial, yaml
from wavelet.cli.subcommands import add_command
from wavelet.config import Settings, Source, settings_yaml
from wavelet.config.keys import doubtful_variables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands below this one, and their arguments."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    show = add_command(commands, "show", "print all settings, defaults included, without logins")
    show.add_argument("--origins", action="store_true", help="say where each value that is set comes from")
    show.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml", help="form (yaml)")
    show.set_defaults(act=_show)
    check = add_command(commands, "check", "say whether a daemon could run with the settings; no daemon is needed")
    check.set_defaults(act=_check)
    nextflow = add_command(commands, "nextflow", "print a configuration of Nextflow, for a kind of site")
    config_nextflow.add_arguments(nextflow)
    nextflow.set_defaults(act=None)
    for each in (show, check):
        each.add_argument("--config", metavar="FILE", type=Path, help="the file, instead of the one that is found")
        each.set_defaults(listen=None, state=None)


def run(options: argparse.Namespace) -> int:
    """Show or check the settings.

    Raises:
        ConfigError: they cannot be used, and why.
        InvalidRequest: there is no such kind of site.
    """
    if options.act is None:
        return config_nextflow.run(options)
    source = source_of(options)
    return int(options.act(source, source.read(), options))


def _show(source: Source, settings: Settings, options: argparse.Namespace) -> int:
    if options.origins:
        sys.stdout.writelines(f"{key}: {origin}\n" for key, origin in source.origins().items())
    elif options.output == "json":
        sys.stdout.write(json.dumps(yaml.safe_load(settings_yaml(settings)), indent=2) + "\n")
    else:
        sys.stdout.write(settings_yaml(settings))
    return 0


def _check(source: Source, settings: Settings, _: argparse.Namespace) -> int:
    settings_trial.check(settings)
    for sentence in doubtful_variables(os.environ):
        sys.stderr.write(f"wavelet: warning: {sentence}\n")
    sys.stdout.write(f"{source.file or 'no file, only defaults and the environment'}: these settings can be used\n")
    return 0
