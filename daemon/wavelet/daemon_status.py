"""The state of a daemon as `GET /statusz` answers it: for the door that answers, and for the command that asks.

Little is imported, and of the standard library only: `wavelet ensure` asks for it in every task.
"""

from __future__ import annotations

from typing import TypedDict, TypeGuard


class StoreStatus(TypedDict):
    """The content store, in bytes."""

    size: int
    limit: int


class RulesStatus(TypedDict):
    """The rules of the site that are in force, and `problems`: why what is in their directory is not.

    `closed`: none could ever be read, so that every request is refused.
    """

    count: int
    directory: str
    problems: list[str]
    closed: bool


class PacksStatus(TypedDict):
    """The packs that can be used, and `problems`: why others cannot, or not as they are now."""

    count: int
    problems: list[str]


class DaemonStatus(TypedDict):
    """What a daemon says of itself.

    `started` is in unix seconds, `jobs` are those that run now, `state` is its directory, `records` that which nodes
    share ("" where it keeps them itself).
    """

    version: str
    pid: int
    uid: int
    started: float
    address: str
    authority: str
    state: str
    records: str
    jobs: int
    store: StoreStatus
    rules: RulesStatus
    packs: PacksStatus


_NEEDED = {"version", "pid", "uid", "address", "authority"}
"""What daemons of all versions say."""


def is_daemon_status(said: object) -> TypeGuard[DaemonStatus]:
    """Tell whether decoded JSON is what a daemon says of itself; another program may have the port."""
    return isinstance(said, dict) and said.keys() >= _NEEDED
