"""Generates `wavelet.v1`, the Python code of the protos, when a wheel or an editable install is made.

A wheel also has the pack `trace`, where `make packs` has made it: it has programs, which are not in the repository.
"""

from __future__ import annotations

import importlib.resources
import os
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TRACE = Path("build", "packs", "trace")
"""Where `packaging/trace_pack.py` puts the pack."""


class ProtoBuildHook(BuildHookInterface[Any]):
    """Runs protoc, which comes with grpcio-tools, over `protos/`; the code goes beside the package's own."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate messages, services and their types. Called by hatchling before it collects files."""
        generate(Path(self.root))
        pack = Path(self.root) / TRACE
        if version != "editable" and pack.is_dir():
            build_data["force_include"][str(pack)] = "wavelet/shipped_packs/trace"


def generate(root: Path) -> None:
    """Write `daemon/wavelet/v1/`.

    Raises:
        RuntimeError: a proto cannot be compiled; protoc has said why on standard error.
    """
    from grpc_tools import protoc  # noqa: PLC0415 - only there where something is built

    protos = root / "protos"
    out = root / "daemon"
    package = out / "wavelet" / "v1"
    package.mkdir(exist_ok=True)
    for stale in package.iterdir():
        if stale.is_file():
            stale.unlink()
    files = [str(path.relative_to(protos)) for path in sorted(protos.rglob("*.proto"))]
    # Without build isolation the plug-ins of protoc are beside this Python, which need not be in PATH.
    os.environ["PATH"] = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)))
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    outputs = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    if protoc.main(["protoc", f"--proto_path={protos}", f"--proto_path={well_known}", *outputs, *files]):
        raise RuntimeError("the protos cannot be compiled")
    (package / "__init__.py").write_text('"""Generated from protos/wavelet/v1 by hatch_build.py."""\n')
