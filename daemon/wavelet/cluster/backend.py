"""The cluster backend: where the requests, claims and secrets are that nodes have in common, chosen in one place.

A node by itself has them in a database of its own; nodes of a cluster have them in a directory that all of them mount.
Whoever uses a backend gets it, or members of it, and never asks which one it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from wavelet.cluster.claims import Claims
from wavelet.cluster.key import key_path, load_key
from wavelet.cluster.records import Lifetimes, Records
from wavelet.cluster.secrets import Secrets
from wavelet.cluster.shared_directory.backend import DirectoryBackend
from wavelet.cluster.single_node.backend import NodeBackend
from wavelet.config import Apply, Settings
from wavelet.plan.canonical import Forms


class ClusterBackend(Protocol):
    """What the nodes of a cluster have in common. It owns all that its members use: a database, or threads."""

    @property
    def key(self) -> bytes:
        """The cluster's key, under which names are made and all that is kept is sealed."""

    @property
    def records(self) -> Records:
        """Container requests, each under its name."""

    @property
    def claims(self) -> Claims:
        """Results that nodes would make differently."""

    @property
    def secrets(self) -> Secrets | None:
        """Logins that users have handed over, for all nodes; None: each node has those alone that it was handed."""

    def configure(self, settings: Settings) -> Apply:
        """See `wavelet.config.configurable.Configurable`."""

    async def expire(self) -> int:
        """Forget what is past its lifetime; return of how many things. What fails holds up none of the rest.

        Raises:
            WaveletError: some of it could not be removed, and why.
        """

    async def check(self) -> None:
        """Return if the place can be read and written now, as far as can be told without doing so.

        Raises:
            WaveletError: it cannot, and why.
        """

    async def close(self) -> None:
        """Write what is waiting and let go of the place."""


def open_backend(settings: Settings, forms: Forms) -> ClusterBackend:
    """Open the backend that the settings name, and make the cluster's key if there is none. Blocking: for the start.

    Plans are kept in `forms`.

    Raises:
        ConfigError: the key or the place cannot be used, and what to do.
        NoSpace, OurError: the database cannot be used, and what to do.
    """
    key = load_key(key_path(settings))
    if settings.records.directory:
        return DirectoryBackend(
            Path(settings.records.directory),
            key,
            forms,
            Lifetimes.of(settings),
            share_logins=settings.records.share_logins,
        )
    return NodeBackend(settings.state_directory / "records.db", key, forms, Lifetimes.of(settings))
