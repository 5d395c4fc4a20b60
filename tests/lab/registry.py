"""A real registry (Debian's docker-registry, distribution 2.8) in a temporary directory."""

from __future__ import annotations

import re
import time
from pathlib import Path

import yaml

from lab import images
from lab.certificates import Issued
from lab.http import answers
from lab.ports import free_port
from lab.processes import Background

READY_SECONDS = 20.0

PASSWORDS = {"ann": "ann-password", "bob": "bob-password"}
"""The accounts that a registry with logins can have."""

_BCRYPT = {
    "ann": "$2b$04$rrBXCd.SG0.1suet41DTWOHkPGzJlatbQkZnC2/WVBL.QkcYIIhJq",
    "bob": "$2b$04$s209ivoLQ0yQDNkiGza24e/aUmflBSYQ/7v/dI639k7labiMLeEIS",
}


class Registry:
    """One registry process. It can be stopped and started again at the same port with the same content."""

    def __init__(
        self,
        directory: Path,
        accounts: tuple[str, ...] | None = None,
        listen: str = "127.0.0.1",
        tls: Issued | None = None,
    ) -> None:
        """Prepare a registry.

        Args:
            directory: where its content, settings and log are.
            accounts: it refuses everybody who does not log in as one of them.
            listen: the address at which it listens.
            tls: its certificate, with which it speaks https alone.
        """
        self.directory = directory
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self._passwords = directory / "htpasswd"
        self._owner = accounts[0] if accounts else None
        self._process: Background | None = None
        directory.mkdir(parents=True, exist_ok=True)
        http: dict[str, object] = {"addr": f"{listen}:{self.port}", "secret": "lab"}
        if tls:
            http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
        settings: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(directory / "content")}, "delete": {"enabled": True}},
            "http": http,
        }
        if accounts:
            settings["auth"] = {"htpasswd": {"realm": "lab", "path": str(self._passwords)}}
            self.admit(*accounts)
        (directory / "config.yml").write_text(yaml.safe_dump(settings))

    def admit(self, *accounts: str) -> None:
        """Let exactly these accounts log in from now on (the registry reads its file again when its time changes)."""
        self._passwords.write_text("".join(f"{name}:{_BCRYPT[name]}\n" for name in accounts))

    def revoke_all(self) -> None:
        """Take every login back."""
        time.sleep(0.02)
        self._passwords.write_text(f"nobody:{_BCRYPT['bob']}\n")

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = ["docker-registry", "serve", str(self.directory / "config.yml")]
        self._process = Background(command, self.directory / "registry.log", {"PATH": "/usr/bin:/bin"})
        # A server of TLS answers what comes without, too: that this is not so.
        self._process.wait_until(lambda: answers(f"http://{self.host}/v2/"), READY_SECONDS)

    def stop(self) -> None:
        """Stop it; what it holds stays on disk."""
        if self._process is not None:
            self._process.stop()

    def push(self, repository: str, tag: str, content: images.Image) -> str:
        """Push an image as the first account; return the name by which engines pull it from here."""
        login = (self._owner, PASSWORDS[self._owner]) if self._owner else None
        images.push(self.url, repository, tag, content, login)
        return f"{self.host}/{repository}:{tag}"

    def count(self, path_part: str, method: str = "GET") -> int:
        """Count the requests it has answered so far whose path contains `path_part`."""
        text = (self.directory / "registry.log").read_text("utf-8", "replace")
        return len(re.findall(rf'"{method} [^" ]*{re.escape(path_part)}[^"]* HTTP', text))
