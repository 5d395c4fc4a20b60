"""What `wavelet setup` would do, as values: changes of files, and sentences for who set it up. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_REGISTRIES = (
    "docker.io",
    "quay.io",
    "ghcr.io",
    "gcr.io",
    "us.gcr.io",
    "nvcr.io",
    "public.ecr.aws",
    "community.wave.seqera.io",
)
"""The registries that images of bioinformatics come from, as docs/interception.md says of each."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command's arguments ask for.

    Attributes:
        authority: the daemon, `HOST:PORT` as in image names.
        registries: hosts as in image names, whose images are asked of the daemon first.
        of_node: for all users of this node; otherwise for this one.
        root: what stands for `/` where files of the node are meant.
        environment: the variables of whoever calls.
        mirror: that Apptainer, too, gets mirrors.
        image: wavelet's own, for Kubernetes; empty: the one that the shipped manifests name.
        file: where Kubernetes' manifests are written to.
    """

    authority: str
    registries: tuple[str, ...]
    of_node: bool
    root: Path
    environment: Mapping[str, str]
    mirror: bool = False
    image: str = ""
    file: Path | None = None

    def below_root(self, path: Path) -> Path:
        """Return where a file of the node lies."""
        return self.root / path.relative_to("/")

    @property
    def is_this_machine(self) -> bool:
        """Tell whether the files are those that engines here read."""
        return self.root == Path("/")


@dataclass(frozen=True, slots=True)
class Change:
    """A file's text before and after; None where there is none."""

    path: Path
    before: str | None
    after: str | None

    @property
    def is_needed(self) -> bool:
        """Tell whether there is anything to do."""
        return self.before != self.after

    def shown(self) -> str:
        """Return it as people read it: a new file whole, a change as a unified diff."""
        if not self.is_needed:
            return f"# {self.path} is as it should be\n"
        if self.before is None:
            return f"# {self.path}\n{self.after}\n"
        if self.after is None:
            return f"# {self.path}\n"
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            str(self.path),
            str(self.path),
        )
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        changes: of files, in the order in which they are made.
        notes: sentences: what is left alone and why, and what is left to do.
        intercepted: the registries whose plain names are asked of the daemon then, the tried one first.
        output: what the command prints in the place of files.
    """

    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    intercepted: tuple[str, ...] = ()
    output: str = ""
