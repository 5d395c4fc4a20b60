"""File descriptors of the process (RLIMIT_NOFILE of getrlimit(2)): as many as may be, and the doors' parts of them."""

from __future__ import annotations

import contextlib
import errno
import resource

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What accept(2) says where the process or the machine has no more of what a connection takes."""

HTTP_PART = 4
"""One of so many descriptors is for a connection over HTTP: what is served opens a file, and asks an upstream."""

GRPC_PART = 32
"""One of so many is for a connection over gRPC, which takes three: two in the forwarder, and grpc's own."""


def raise_limit() -> None:
    """Raise the soft limit to the hard one, which is what the administrator allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_for(part: int) -> int:
    """Return how many connections a door may have whose part is one of `part` descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(4, soft // part)
