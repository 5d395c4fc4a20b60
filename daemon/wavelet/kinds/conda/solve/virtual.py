"""Virtual packages of the image that is made: what its packages may take for granted, not what this node has. Pure."""

from __future__ import annotations

from wavelet.image.platform import Platform
from wavelet.kinds.conda.model.libc import Libc
from wavelet.kinds.conda.solve.messages import Virtual

LINUX_VERSION = "4.18"
"""The kernel that images are made for. They run on nodes that are not known when they are made; this is the oldest
kernel of a distribution that clusters still run and that is still maintained (RHEL 8)."""

CUDA_VERSION = "99"
"""The driver that is taken for granted where packages want one: the node that runs the image has it, or fails to."""

_CPUS = {"amd64": "x86_64", "arm64": "aarch64"}
"""The lowest level of each architecture (CEP 30): an image runs on all nodes that can run the architecture at all."""


def virtual_packages(platform: Platform, libc: Libc, *, cuda: bool = False) -> tuple[Virtual, ...]:
    """Return the virtual packages of images for `platform` on a base with this C library."""
    packages: list[Virtual] = [("__unix", "0", "0"), ("__linux", LINUX_VERSION, "0")]
    if libc.name == "glibc":
        packages.append(("__glibc", libc.version, "0"))
    packages.append(("__archspec", "1", _CPUS[platform.architecture]))
    if cuda:
        packages.append(("__cuda", CUDA_VERSION, "0"))
    return tuple(packages)


def wants_cuda(explanation: str) -> bool:
    """Tell whether a solver's explanation blames the lack of a CUDA driver."""
    return "__cuda" in explanation


def lack(explanation: str, libc: Libc, base: str) -> str:
    """Return a sentence on what the base image lacks of the C library that packages want, or nothing."""
    if "__glibc" not in explanation:
        return ""
    has = {"glibc": f"has glibc {libc.version}", "musl": "has musl instead of glibc"}.get(libc.name, "has no C library")
    where = "wave.build.conda.baseImage, --conda-base-image, or packages.condaOpts.baseImage"
    return f"the base image {base} {has}; another base image ({where}) may have what is wanted"
