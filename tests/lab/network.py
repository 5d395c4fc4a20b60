"""A network namespace joined to the machine's own by a pair of interfaces: a second host, as far as TCP can tell."""

from __future__ import annotations

import os

from lab.processes import run


class Namespace:
    """A namespace `inner` address, reachable from here, which itself reaches `outer` here."""

    def __init__(self, number: int = 77) -> None:
        self.name = f"wl{os.getpid()}"
        self.outer = f"10.213.{number}.1"
        self.inner = f"10.213.{number}.2"
        self._link = f"wl{os.getpid()}"[:13]

    def create(self) -> None:
        """Make the namespace and its link."""
        here, there = f"{self._link}a", f"{self._link}b"
        run(["ip", "netns", "add", self.name])
        run(["ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name])
        run(["ip", "address", "add", f"{self.outer}/30", "dev", here])
        run(["ip", "link", "set", here, "up"])
        for command in (
            ["address", "add", f"{self.inner}/30", "dev", there],
            ["link", "set", there, "up"],
            ["link", "set", "lo", "up"],
        ):
            run(["ip", "-n", self.name, *command])

    def remove(self) -> None:
        """Remove it; its link goes with it."""
        run(["ip", "netns", "delete", self.name], check=False)
        run(["ip", "link", "delete", f"{self._link}a"], check=False)

    def prefix(self) -> tuple[str, ...]:
        """Return the command that starts another one inside."""
        return ("ip", "netns", "exec", self.name)
