"""Real users of the machine, made for the tests, and requests that they send by processes of their own."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import pwd
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from lab.http import Answer
from lab.processes import run

_NUMBERS = itertools.count()
"""To tell the users of one process apart."""

_PATH = "/usr/local/bin:/usr/bin:/bin"

_REQUEST = """
import base64, http.client, json, sys
asked = json.load(sys.stdin)
connection = http.client.HTTPConnection(asked["host"], timeout=30)
body = base64.b64decode(asked["body"]) or None
connection.request(asked["method"], asked["path"], body=body, headers=asked["headers"])
answer = connection.getresponse()
headers = {name.lower(): value for name, value in answer.getheaders()}
print(json.dumps({"status": answer.status, "headers": headers, "body": base64.b64encode(answer.read()).decode()}))
"""


@contextlib.contextmanager
def passable_directory() -> Iterator[Path]:
    """Give a directory that every user may pass into; pytest's own are closed, and what lies above them is not ours."""
    with tempfile.TemporaryDirectory(prefix="wl-passable-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


class User:
    """A user of the machine with a home directory."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        self.uid = pwd.getpwnam(name).pw_uid
        self.gid = pwd.getpwnam(name).pw_gid

    @classmethod
    def create(cls, suffix: str) -> User:
        """Make a user whose home everyone may pass through and only it may read."""
        name = f"wl{os.getpid()}{suffix}{next(_NUMBERS)}"
        home = Path(tempfile.mkdtemp(prefix=f"{name}-")) / "home"
        # A number that no user had before: files of a former one may lie where credentials are looked for.
        uid = str(random.randrange(20_000, 60_000))
        run(["useradd", "--uid", uid, "--create-home", "--home-dir", home, "--shell", "/bin/sh", name])
        home.chmod(0o700)
        user = cls(name, home)
        os.chown(home.parent, user.uid, user.gid)
        home.parent.chmod(0o755)
        return user

    def remove(self) -> None:
        """Remove the user and its home."""
        run(["userdel", "--force", self.name], check=False)
        shutil.rmtree(self.home.parent, ignore_errors=True)

    def log_in(self, host: str, account: str, password: str, *, also: bool = False) -> None:
        """Write the user's docker configuration as `docker login` does; `also`: beside what is there."""
        auth = base64.b64encode(f"{account}:{password}".encode()).decode()
        path = self.home / ".docker" / "config.json"
        path.parent.mkdir(exist_ok=True)
        before = json.loads(path.read_text())["auths"] if also else {}
        path.write_text(json.dumps({"auths": before | {host: {"auth": auth}}}))
        for made in (path.parent, path):
            os.chown(made, self.uid, self.gid)
            made.chmod(0o700 if made.is_dir() else 0o600)

    def prefix(self) -> tuple[str, ...]:
        """Return the command that starts another one as this user.

        It keeps the right to read files: the Python that runs the tests may lie in somebody else's home.
        """
        return (*self._becoming(), "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")

    def _becoming(self) -> tuple[str, ...]:
        # subprocess's own `user` forks, and a fork may hang in a process in which grpc has threads.
        return ("setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups")

    def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """Send a request from a process of this user."""
        host, _, path = url.removeprefix("http://").partition("/")
        asked = {"method": method, "host": host, "path": f"/{path}", "headers": dict(headers or {})}
        asked["body"] = base64.b64encode(body).decode()
        said = json.loads(self._run([_python(), "-c", _REQUEST], json.dumps(asked)))
        return Answer(said["status"], said["headers"], base64.b64decode(said["body"]))

    def get(self, url: str, **headers: str) -> Answer:
        """GET a URL as this user."""
        return self.request("GET", url, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def run(self, *argv: str) -> str:
        """Run a command as this user and return what it prints."""
        return self._run(list(argv), "")

    def _run(self, argv: list[str], text: str) -> str:
        variables = {"PATH": _PATH, "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home)}
        return run([*self._becoming(), "env", "--chdir=/", *argv], environment=variables, text=text).stdout


def _python() -> str:
    """Return a Python that every user may run; the one that runs the tests can lie in somebody's home."""
    system = Path("/usr/bin/python3")
    return str(system) if system.exists() else sys.executable
