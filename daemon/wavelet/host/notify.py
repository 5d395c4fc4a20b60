"""Datagrams to the service manager (sd_notify(3))."""

from __future__ import annotations

import socket
import time

import structlog

log = structlog.get_logger()


class Notifier:
    """Tells the service manager how the daemon is. Its address is a path (`@NAME`: abstract); empty: nobody listens."""

    def __init__(self, address: str = "") -> None:
        # Abstract names begin with a NUL, which no environment variable can have.
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def tell(self, *assignments: str) -> None:
        """Send `NAME=value` lines in one message; a manager that does not take it is noted in the log."""
        if not self._address:
            return
        message = "\n".join(assignments).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(message, socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            log.warning("the service manager could not be told", message=assignments[0], because=error.strerror)

    def ready(self, status: str) -> None:
        """Say that requests are answered, from now on or again; `status` is for people."""
        self.tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the settings are being read again. `ready` has to follow."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def alive(self) -> None:
        """Say that the daemon works, now."""
        self.tell("WATCHDOG=1")
