"""State directories as released versions have left them: unpacked, with their times brought forward to now."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.daemon import Daemon, environment
from lab.processes import run

HERE = Path(__file__).parent
KEY = bytes(range(32))
"""The cluster's key."""

CHANNEL_ALIAS = "https://conda.example"
REGISTRY = "quay.io"
AUTHORITY = "127.0.0.1:9090"
"""What stands in names, whatever port is listened on."""

PROGRAM = tuple(os.environ.get("WAVELET", f"{sys.executable} -m wavelet.cli.main").split())
"""The `wavelet` command."""

_TOKEN = re.compile(r"[0-9a-f]{32}")


def settings(registry: str, channels: str) -> dict[str, Any]:
    """Return a daemon's settings, under which the addresses of the servers that are really asked stand in no name."""
    return {
        "authority": AUTHORITY,
        "store": {"limit": "20GB"},
        "upstream": {"registries": {REGISTRY: {"mirrors": [registry]}}, "mirrors_only": True},
        "conda": {
            "base_image": f"{REGISTRY}/lab/base:1",
            "base_packages": [],
            "channels": ["conda-forge"],
            "channel_alias": CHANNEL_ALIAS,
            "mirrors": {f"{CHANNEL_ALIAS}/conda-forge": [f"{channels}/conda-forge"]},
            "workers": 1,
        },
    }


def wavelet(daemon: Daemon, *arguments: str, text: str = "") -> Any:
    """Run a command against a daemon; return what it prints."""
    command = [*PROGRAM, *arguments, "--socket", str(daemon.state / "admin.sock"), "-o", "json"]
    return json.loads(run(command, environment=environment({}), text=text).stdout)


@dataclass(frozen=True)
class Left:
    """What a version has left, in a directory of the test's own.

    Attributes:
        root: has `alone` and `node`, state directories, and `shared`, the directory of `node`'s cluster.
        told: what the version answered, as JSON.
    """

    root: Path
    told: dict[str, Any]


def unpack(version: str, root: Path) -> Left:
    """Unpack what a version has left."""
    with tarfile.open(HERE / f"state_{version}.tar.xz") as tar:
        tar.extractall(root, filter="data")
    told = json.loads((root / "told.json").read_text("utf-8"))
    later = time.time() - told["stopped"]
    for path in root.rglob("*"):
        if path.suffix == ".db":
            _bring_forward(path, later)
        elif path.is_file() and "logins" not in path.parts:  # the time of a login is sealed with it
            if _TOKEN.fullmatch(path.name):
                created, _, rest = path.read_bytes().partition(b"\n")
                path.write_bytes(f"{float(created) + later:.6f}\n".encode() + rest)
            os.utime(path, (told["stopped"] + later, told["stopped"] + later))
    return Left(root, told)


def _bring_forward(path: Path, later: float) -> None:
    """Add seconds to all times of a database: they are all of its numbers that are not whole."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in tables:
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[2] == "REAL"]
            for column in columns:
                database.execute(f"UPDATE {table} SET {column} = {column} + ? WHERE {column} > 1e9", (later,))
        database.commit()
