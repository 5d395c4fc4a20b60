"""The variables that a pipeline's environment needs to use a daemon. Standard library only.

`WAVE_API_ENDPOINT` is nf-wave's own variable. Its path is `/sif` where Apptainer or Singularity will run the images, so
that they are answered as SIF files: a request does not say for which engine it is. These two are told to speak http,
which they do not do by themselves with `docker://127.0.0.1`, and to keep their layers on this node rather than in the
home directory. Where Nextflow keeps images is left to it (its work directory, which all nodes see), unless a directory
is named.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from wavelet.cli.user_daemon.daemon import DIRECTORY_VARIABLE, PORT_VARIABLE, DaemonLocation
from wavelet.paths import SOCKET_VARIABLE, node_directory, private_port

SIF_ENGINES = ("apptainer", "singularity")
"""Engines that run a SIF file as it is."""

OCI_ENGINES = ("docker", "podman")
"""Engines that pull OCI images. Where one of them is, it is not known by itself which engine a pipeline will use."""

SIF_PATH = "/sif"
"""The path of Wave's API under which all answers are SIF files."""

_PREFIXES = tuple(each.upper() for each in SIF_ENGINES)


def engine_of(named: str, environment: Mapping[str, str]) -> str:
    """Return the engine that is named; else Apptainer or Singularity, if PATH has no other engine; else nothing."""
    if named:
        return named
    there = (each for each in (*OCI_ENGINES, *SIF_ENGINES) if shutil.which(each, path=environment.get("PATH")))
    first = next(there, "")
    return first if first in SIF_ENGINES else ""


def exported_variables(
    location: DaemonLocation, images: str, environment: Mapping[str, str], engine: str = ""
) -> dict[str, str]:
    """Return the variables to set. The user's own cache directories stay.

    Args:
        location: the daemon.
        images: a shared directory for images that Nextflow pulls or converts; empty: its own choice.
        environment: that of the caller.
        engine: what will run the images, as `engine_of` has it.
    """
    path = SIF_PATH if engine in SIF_ENGINES else ""
    variables = {"WAVE_API_ENDPOINT": f"{location.endpoint}{path}", SOCKET_VARIABLE: location.socket}
    for prefix in _PREFIXES:
        variables[f"{prefix}_NOHTTPS"] = "true"
        cache = f"{prefix}_CACHEDIR"
        variables[cache] = environment.get(cache) or location.inside("cache")
        if images:
            variables[f"NXF_{cache}"] = str(Path(images).absolute())  # tasks run in directories of their own
    # Where these are not what everybody would look for, calls from within have to find the same daemon.
    if location.directory != node_directory(location.uid):
        variables[DIRECTORY_VARIABLE] = location.directory
    if location.port != private_port(location.uid):
        variables[PORT_VARIABLE] = str(location.port)
    return variables


def as_shell(variables: Mapping[str, str]) -> str:
    """Write variables for `eval` in a POSIX shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
