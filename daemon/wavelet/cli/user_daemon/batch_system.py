"""Batch systems: whether a process belongs to a job, and will be ended with it. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping

_VARIABLES = {
    "SLURM_JOB_ID": "Slurm job",
    "PBS_JOBID": "PBS job",
    "LSB_JOBID": "LSF job",
    "JOB_ID": "Grid Engine job",
    "FLUX_JOB_ID": "Flux job",
}

_SLURM_GROUP = re.compile(r"/(?:slurm[^/\s]*|system\.slice/[^/\s]*slurm[^/\s]*)/(?:\S*/)?job_(\d+)")


def batch_job(environment: Mapping[str, str]) -> str:
    """Name the job that this process runs in, e.g. `Slurm job 1234`; empty: none that is known."""
    for variable, name in _VARIABLES.items():
        number = environment.get(variable, "")
        if number[:1].isdigit():
            return f"{name} {number}"
    return ""


def job_of_group(cgroup: str) -> str:
    """Name the Slurm job that a process is tracked by, from its `/proc/PID/cgroup` (cgroups(7)); empty: none."""
    found = _SLURM_GROUP.search(cgroup)
    return f"Slurm job {found[1]}" if found else ""
