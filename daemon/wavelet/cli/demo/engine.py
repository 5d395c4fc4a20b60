"""The machine's container engine, if there is one that works: found, and asked to pull and run."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass

from wavelet.errors import EngineFailed

PROBE_LIMIT = 5.0
"""Seconds within which a working engine has answered."""

RUN_LIMIT = 120.0
"""Seconds for a pull or a run."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine's command."""

    name: str
    pull_options: tuple[str, ...] = ()

    async def pull(self, image: str) -> None:
        """Pull an image.

        Raises:
            EngineFailed: with what the engine says.
        """
        await self._call("pull", "--quiet", *self.pull_options, image)

    async def run(self, image: str) -> str:
        """Run an image once, without a network, and return what it writes.

        Raises:
            EngineFailed: with what the engine says.
        """
        return await self._call("run", "--rm", "--network", "none", image)

    async def environment(self, image: str) -> str:
        """Return the image's environment, a variable a line.

        Raises:
            EngineFailed: with what the engine says.
        """
        return await self._call("image", "inspect", "--format", '{{join .Config.Env "\\n"}}', image)

    async def remove(self, image: str) -> None:
        """Remove an image.

        Raises:
            EngineFailed: with what the engine says.
        """
        await self._call("rmi", "--force", image)

    async def _call(self, *arguments: str) -> str:
        code, out, error = await _run(RUN_LIMIT, self.name, *arguments)
        if code != 0:
            raise EngineFailed(f"`{self.name} {' '.join(arguments)}` failed: {error.strip() or out.strip()}")
        return out.strip()


async def find_engine() -> Engine | None:
    """Return the first engine of this machine that answers."""
    for engine in (Engine("docker"), Engine("podman", ("--tls-verify=false",))):
        if shutil.which(engine.name) is not None:
            code, _, _ = await _run(PROBE_LIMIT, engine.name, "info")
            if code == 0:
                return engine
    return None


async def _run(limit: float, *command: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(limit):
            out, error = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return -1, "", f"no answer within {limit:.0f} s"
    return process.returncode or 0, out.decode(errors="replace"), error.decode(errors="replace")
