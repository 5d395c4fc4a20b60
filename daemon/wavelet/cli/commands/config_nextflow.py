"""`wavelet config nextflow`: configurations of Nextflow, one for each kind of site."""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from wavelet.cli.output import table
from wavelet.cli.shipped_files import shipped_directory
from wavelet.errors import InvalidRequest

DIRECTORY = "nextflow-config"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("site", metavar="SITE", nargs="?", help="the kind of site; without it they are listed")


def run(options: argparse.Namespace) -> int:
    """Print the site's file, or what there are.

    Raises:
        InvalidRequest: there is no such site.
    """
    files = {path.stem: path for path in sorted(shipped_directory(DIRECTORY).iterdir())}
    if options.site is None:
        sys.stdout.writelines(f"{line}\n" for line in table(("site", "for"), _listed(files)))
        return 0
    if options.site not in files:
        raise InvalidRequest(f"SITE: there is no {options.site!r}; there are {', '.join(files)}")
    sys.stdout.write(files[options.site].read_text("utf-8"))
    return 0


def _listed(files: dict[str, Path]) -> Iterator[tuple[str, str]]:
    for name, path in files.items():
        comment = itertools.takewhile(lambda line: line.startswith(("//", "#")), path.read_text("utf-8").splitlines())
        yield name, re.split(r"[.:;](?: |$)", " ".join(line.lstrip("/# ").strip() for line in comment))[0]
