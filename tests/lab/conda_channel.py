"""Conda channels: directories of packages with an index, and a server of them on loopback that can be told to fail."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from doubles.faults import NONE, Fault, send
from lab import conda_packages
from lab.conda_catalogue import standard_packages
from lab.conda_index import index
from lab.conda_packages import Package


def make_channel(directory: Path, packages: Iterable[Package]) -> Path:
    """Write packages and their index into a directory and return it; `noarch` is there even when empty."""
    for package in packages:
        conda_packages.write(directory, package)
    return index(directory)


def add(directory: Path, *packages: Package) -> Path:
    """Add packages to a channel: it moves."""
    return make_channel(directory, packages)


def copy(channel: Path, to: Path) -> Path:
    """Return a channel of its own, to change; the packages are hard links."""
    shutil.copytree(channel, to, copy_function=_link)
    return to


def _link(source: str, target: str) -> None:
    if source.endswith((".conda", ".tar.bz2")):
        Path(target).hardlink_to(source)
    else:
        shutil.copy2(source, target)


def standard_channel(directory: Path) -> Path:
    """Make the standard channel in a directory, unless it is there or another process makes it, and return it."""
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        is_there = (directory / "noarch/repodata.json").exists()
        return directory if is_there else make_channel(directory, standard_packages())


@dataclass(frozen=True)
class Seen:
    """A request as it came; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


class ChannelServer:
    """Serves channels at `http://127.0.0.1:<port>/<name>/`, from a thread of its own.

    Its attributes may be changed while it runs.

    Attributes:
        channels: directories by name (`lab`, `conda-forge`; a name may have slashes).
        login: user and password that everybody has to give, None for nobody.
        bearer: the token of `Authorization: Bearer`.
        token: what has to stand in the path, `/t/<token>/<name>/…`.
        requests: all that came, in order.
        most_open: how many requests were being answered at one time, at most.
    """

    def __init__(self, channels: Mapping[str, Path], host: str = "127.0.0.1") -> None:
        self.channels = dict(channels)
        self.login: tuple[str, str] | None = None
        self.bearer: str | None = None
        self.token: str | None = None
        self.requests: list[Seen] = []
        self.most_open = 0
        self._open = 0
        self._address = host
        self._port = 0
        self._faults: list[Fault] = []
        self._runner: web.AppRunner | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    # Running

    def __enter__(self) -> Self:
        self._thread.start()
        return self.on()

    def __exit__(self, *_: object) -> None:
        self.off()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def on(self) -> Self:
        """Listen, at the port it had before."""
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def off(self) -> None:
        """Stop listening and drop all connections: they are refused until it is on again."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._watch)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        for fault in self._faults:
            fault.lift()
        self._faults.clear()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    @property
    def host(self) -> str:
        """Host and port."""
        return f"{self._address}:{self._port}"

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://{self.host}"

    def channel(self, name: str = "lab") -> str:
        """Return a channel's URL, without logins and tokens."""
        return f"{self.url}/{name}"

    # Faults and what was asked

    def fault(self, pattern: str, **settings: Any) -> Fault:
        """Let requests fail whose path matches (see doubles.faults.Fault)."""
        fault = Fault(pattern, **settings)
        self._faults.append(fault)
        return fault

    def clear_faults(self) -> None:
        """End all faults, also for requests that they hold up."""

        ended, self._faults[:] = list(self._faults), []  # now: the loop may be busy, and a next fault is to stay

        def lift() -> None:
            for fault in ended:
                fault.lift()

        self._loop.call_soon_threadsafe(lift)

    def count(self, part: str = "", method: str = "GET") -> int:
        """Count the requests so far whose path contains `part`."""
        return sum(seen.method == method and part in seen.path for seen in self.requests)

    # Answering

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Seen(request.method, request.path, headers))
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        try:
            return await self._answer(request)
        finally:
            self._open -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if self.token is not None:
            if not path.startswith(f"/t/{self.token}/"):
                return web.Response(status=401, text="a token in the path is needed")
            path = path.removeprefix(f"/t/{self.token}")
        refused = self._refusal(request.headers.get("Authorization", ""))
        if refused is not None:
            return refused
        found = self._file(path)
        fault = next((fault for fault in self._faults if fault.strikes(request.method, request.path)), NONE)
        if fault is not NONE:
            body = b"" if found is None else found.read_bytes()
            return await send(request, 404 if found is None else 200, {}, body, fault)
        if found is None:
            return web.Response(status=404, text="no such file")
        return web.FileResponse(found)

    def _refusal(self, given: str) -> web.Response | None:
        if self.login is not None:
            wanted = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
            if given != wanted:
                return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="lab"'})
        if self.bearer is not None and given != f"Bearer {self.bearer}":
            return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer realm="lab"'})
        return None

    def _file(self, path: str) -> Path | None:
        for name, directory in self.channels.items():
            rest = path.removeprefix(f"/{name}/")
            if rest != path and ".." not in rest.split("/"):
                found = directory / rest
                return found if found.is_file() else None
        return None
