"""What `wavelet setup` has written on this machine and nobody has taken back: each file, and the command that does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from wavelet.cli.setup import apptainer, containerd, docker
from wavelet.cli.setup.engine import Engine
from wavelet.cli.setup.plan import Asked
from wavelet.errors import NotStarted

ENGINES: Mapping[str, Engine] = {"apptainer": apptainer, "containerd": containerd, "docker": docker}
"""One of each kind of file: podman's are Apptainer's."""


def set_up(environment: Mapping[str, str], root: Path = Path("/")) -> Iterator[tuple[Path, str]]:
    """Yield them, a user's and the node's. What cannot be read is none. Blocking."""
    for name, engine in ENGINES.items():
        for of_node, whose in ((False, "--user"), (True, "--system")):
            asked = Asked("", (), of_node=of_node, root=root, environment=environment)
            try:
                changes = engine.undo(asked).changes
            except NotStarted:
                continue
            for change in changes:
                yield change.path, f"wavelet setup {name} {whose} --undo"
