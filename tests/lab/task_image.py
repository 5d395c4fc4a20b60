"""An image that a Nextflow task can run in: bash and the tools that its wrapper calls, with their libraries."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from groups import program
from lab import images
from lab.processes import LabError, run

MARK = "made in the lab"
"""What the image's own file says."""

_TOOLS = (
    "awk basename bash cat chmod cp cut date dirname env find grep head id ln ls mkdir mkfifo mktemp mv nproc printf "
    "ps readlink rm sed sleep sort stat tail tee touch tr uname wc"
)


@cache
def task_layer() -> images.Layer:
    """Return a root file system made of this machine's programs."""
    files: dict[str, bytes | str] = {
        "bin/sh": "bash",
        "usr/bin/env": "/bin/env",
        "tmp/": b"",
        "proc/": b"",
        "sys/": b"",
    }
    files |= {
        "etc/passwd": b"root:x:0:0:root:/root:/bin/bash\n",
        "etc/lab-image": MARK.encode(),
        # As Debian has it.
        "etc/profile": b"export PATH=/usr/local/bin:/usr/bin:/bin\nfor i in /etc/profile.d/*.sh; do . $i; done\n",
        "root/": b"",
        "dev/": b"",
    }
    programs = {path: data for name in _TOOLS.split() for path, data in with_libraries(name).items()}
    return images.layer(files | programs, executable=programs)


def with_libraries(name: str) -> dict[str, bytes]:
    """Return a program of this machine, in `bin/`, and its libraries where it looks for them."""
    found = program(name)
    if found is None:
        raise LabError(f"no {name} on this machine")
    libraries = re.findall(r"(/\S+) \(0x", run(["ldd", found]).stdout)
    paths = {library.lstrip("/"): Path(library) for library in libraries}
    return {path: file.read_bytes() for path, file in {f"bin/{name}": Path(found), **paths}.items()}


def task_image() -> images.Image:
    """Return the image."""
    return images.image([task_layer()], env=["PATH=/usr/local/bin:/usr/bin:/bin"], cmd=["/bin/bash"])


def task_image_for_both() -> images.Image:
    """Return it for linux/amd64 and linux/arm64; each has a file `etc/architecture`, and this machine's programs."""
    members = [
        images.image(
            [task_layer(), images.layer({"etc/architecture": each.encode()})],
            platform=f"linux/{each}",
            env=["PATH=/usr/local/bin:/usr/bin:/bin"],
        )
        for each in ("amd64", "arm64")
    ]
    return images.index(members)
