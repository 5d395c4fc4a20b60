"""The variables that a pipeline's environment needs to use a daemon. Standard library only.

`WAVE_API_ENDPOINT` is nf-wave's own variable. Apptainer and Singularity are told to speak http, which their older
releases do not do by themselves with 127.0.0.1, and to keep their layers on this node rather than in the home
directory. Where Nextflow keeps converted images is left to it (its work directory, which all nodes see), unless a
directory is named.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from wavelet.cli.user_daemon.daemon import DIRECTORY_VARIABLE, PORT_VARIABLE, DaemonLocation
from wavelet.paths import SOCKET_VARIABLE, node_directory, private_port

ENGINES = ("APPTAINER", "SINGULARITY")


def exported_variables(location: DaemonLocation, images: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to set. `images`: a shared directory for converted images; empty: Nextflow's own choice.

    The user's own cache directories stay.
    """
    variables = {"WAVE_API_ENDPOINT": location.endpoint, SOCKET_VARIABLE: location.socket}
    for engine in ENGINES:
        variables[f"{engine}_NOHTTPS"] = "true"
        variables[f"{engine}_CACHEDIR"] = environment.get(f"{engine}_CACHEDIR") or location.inside("cache")
        if images:
            variables[f"NXF_{engine}_CACHEDIR"] = images
    # Where these are not what everybody would look for, calls from within have to find the same daemon.
    if location.directory != node_directory(location.uid):
        variables[DIRECTORY_VARIABLE] = location.directory
    if location.port != private_port(location.uid):
        variables[PORT_VARIABLE] = str(location.port)
    return variables


def as_shell(variables: Mapping[str, str]) -> str:
    """Write variables for `eval` in a POSIX shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
