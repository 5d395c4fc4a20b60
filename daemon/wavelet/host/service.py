"""The daemon as a service: what its manager has given it, and what it wants to hear."""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field

from wavelet.host.listen_fds import Handed, handed_over
from wavelet.host.notify import Notifier

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class Service:
    """One service; without arguments, a daemon that no manager has started.

    Attributes:
        notifier: tells the manager.
        watchdog: seconds after which the manager ends a daemon that it has not heard of; 0: never.
        sockets: those that it has opened.
    """

    notifier: Notifier = field(default_factory=Notifier)
    watchdog: float = 0.0
    sockets: Handed = field(default_factory=Handed)

    def stopping(self, seconds: float) -> None:
        """Tell the manager that the end has begun and takes so many seconds at most; nobody says alive meanwhile."""
        usec = f"{seconds * 1e6:.0f}"
        watchdog = [f"WATCHDOG_USEC={usec}", "WATCHDOG=1"] if self.watchdog else []
        self.notifier.tell(
            "STOPPING=1", "STATUS=waiting for running transfers", f"EXTEND_TIMEOUT_USEC={usec}", *watchdog
        )

    def announcer(self, status: str) -> Callable[[bool], None]:
        """Return what tells the manager that a reload begins (True), or that it serves (again) with this `status`."""
        return lambda begins: self.notifier.reloading() if begins else self.notifier.ready(status)


def take_over(environment: MutableMapping[str, str]) -> Service:
    """Return what the manager says by `environment`, and remove it there: it is not meant for children.

    Raises:
        ConfigError: a socket that was handed over cannot be used.
    """
    said = {name: environment.pop(name, "") for name in _VARIABLES}
    mine = said["WATCHDOG_PID"] in ("", str(os.getpid()))
    watchdog = int(said["WATCHDOG_USEC"]) / 1e6 if mine and said["WATCHDOG_USEC"] else 0.0
    return Service(Notifier(said["NOTIFY_SOCKET"]), watchdog, handed_over(said))
