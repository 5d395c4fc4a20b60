"""Messages between the daemon and its solver process, and the virtual packages that are told in them.

Both sides are of one version and one machine, so that the form needs no care for others. URLs are those that channels
have themselves; where the process asks instead stands in `mirrors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from wavelet.image.reference import Platform
from wavelet.kinds.conda.model.packages import Libc

LENGTH_BYTES = 4
"""Size of a frame's length, big-endian."""

USUAL_SUBDIR = "linux-64"
"""The directory that all builders of packages fill; the others often lack what it has."""

Virtual = tuple[str, str, str]
"""A virtual package: name, version, build string."""


class Origin(msgspec.Struct, frozen=True):
    """Where a package has to be from: one of these channels, by URL, and this subdir; empty: any."""

    name: str
    channels: tuple[str, ...] = ()
    subdir: str = ""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """A package as a channel's index describes it. Checksums are in hexadecimal, the size is in bytes."""

    url: str
    name: str
    version: str
    build: str
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    depends: tuple[str, ...] = ()
    license: str | None = None
    site_packages: str | None = None


class Solve(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Find the packages that satisfy the specs.

    Attributes:
        number: the request's own.
        specs: match specs.
        channels: URLs, the first one having priority.
        mirrors: of URL prefixes, where to ask instead.
        subdir: `linux-64`; `noarch` is looked into as well.
        virtual: virtual packages.
        newest: only packages of before this time, in unix seconds.
        locked: URLs of packages that stay as they are; only specs that these do not satisfy by name are solved.
        limit: seconds for the solver alone.
        origins: where packages have to be from, besides what the solver itself understands of their specs.
        generations: of channels, a number that is larger when the index has changed: it is read again then.
    """

    number: int
    specs: tuple[str, ...]
    channels: tuple[str, ...]
    mirrors: Mapping[str, str]
    subdir: str
    virtual: tuple[Virtual, ...]
    newest: float | None
    locked: tuple[str, ...]
    limit: float
    origins: tuple[Origin, ...]
    generations: Mapping[str, int]


class Lookup(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Find what indexes say of the packages with these URLs; those that they do not have are left out."""

    number: int
    urls: tuple[str, ...]
    mirrors: Mapping[str, str]
    generations: Mapping[str, int]


Request = Solve | Lookup


class Found(msgspec.Struct, frozen=True, tag=True):
    """The answer; of a solve, without what was locked."""

    number: int
    records: tuple[Record, ...]


Kind = Literal["spec", "unsolvable", "limit", "missing", "refused", "unreachable", "broken", "defect"]
"""Why there is no answer: a spec is none; there is no solution; none in time; no such channel; it wants another login;
it does not answer; its index is none; anything else."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """There is no answer.

    Attributes:
        number: the request's own.
        kind: why.
        subject: the spec or URL at fault, where that is known.
        text: what the library says.
        there: what channels have of packages that no candidates were found for, in a sentence; empty: not known.
        elsewhere: what is asked for, or needed, that channels have in `USUAL_SUBDIR` and not in the one asked for.
    """

    number: int
    kind: Kind
    subject: str
    text: str
    there: str = ""
    elsewhere: tuple[str, ...] = ()


Answer = Found | Failed


_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def frame(message: Request | Answer) -> bytes:
    """Return a message as it goes through the pipe."""
    data = msgspec.json.encode(message)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def read_request(data: bytes) -> Request:
    """Read a frame's document."""
    return _requests.decode(data)


def read_answer(data: bytes) -> Answer:
    """Read a frame's document."""
    return _answers.decode(data)


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
