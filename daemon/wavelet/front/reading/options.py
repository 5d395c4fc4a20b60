"""The options of Nextflow that become a request's members: messages name that, and the member. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from wavelet.errors import WaveletError

OPTIONS: Mapping[str, str] = {
    "buildCompression.force": "wave.build.compression.force",
    "buildCompression.level": "wave.build.compression.level",
    "buildCompression.mode": "wave.build.compression.mode",
    "buildRepository": "wave.build.repository",
    "buildTemplate": "wave.build.template",
    "cacheRepository": "wave.build.cacheRepository",
    "condaFile": "the conda directive",
    "containerConfig.layers": "the module's resources, or wave.containerConfigUrl",
    "containerConfig": "wave.containerConfigUrl",
    "containerFile": "the module's Dockerfile or Singularityfile, or wave.build.conda.commands",
    "containerImage": "the container directive",
    "containerPlatform": "the arch directive",
    "format": "wave.freeze with singularity or apptainer",
    "freeze": "wave.freeze",
    "mirror": "wave.mirror",
    "packages.channels": "conda.channels",
    "packages.condaOpts.baseImage": "wave.build.conda.baseImage",
    "packages.condaOpts.basePackages": "wave.build.conda.basePackages",
    "packages.condaOpts.commands": "wave.build.conda.commands",
    "packages.condaOpts.mambaImage": "wave.build.conda.mambaImage",
    "packages.entries": "the conda directive",
    "packages.environment": "the file of the conda directive",
    "scanLevels": "wave.scan.allowedLevels",
    "scanMode": "wave.scan.mode",
    "spackFile": "the spack directive, or spack in wave.strategy",
    "towerWorkspaceId": "tower.workspaceId",
}
"""Options and directives of Nextflow, by the members of a container request that they become."""


def option_of(field: str) -> str | None:
    """Return what a user of Nextflow has set that becomes a member, `packages.entries[0]`; None: nothing that is known.

    Where a member has no option of its own it is that of the member which it is in.
    """
    while field:
        option = OPTIONS.get(field.partition("[")[0])
        if option is not None:
            return option
        field = field.rpartition(".")[0]
    return None


def named(field: str) -> str:
    """Return what the user has set, and the member that it becomes; the member alone where that is what is known."""
    option = option_of(field)
    return field if option is None else f"{option} ({field})"


def naming_option(error: WaveletError) -> WaveletError:
    """Return the same error; where its message begins with a member, what the user has set stands in front of that."""
    field = error.field
    option = option_of(field) if field else None
    if field is None or option is None or not error.message.startswith(field):
        return error
    member, colon, rest = error.message.partition(": ")
    return error.with_message(f"{option} ({member}){colon}{rest}")
