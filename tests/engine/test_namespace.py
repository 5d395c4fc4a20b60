"""An engine runs whatever it is given, in whatever image, and lets one directory be read back."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import images
from lab.task_image import task_layer
from wavelet.engine.architecture import own_platform
from wavelet.engine.limits import Limits
from wavelet.engine.namespace import NamespaceEngine
from wavelet.engine.protocol import GivenFile, ImageLayers, SandboxTask
from wavelet.image.reference import Digest, Platform

pytestmark = pytest.mark.process

OWN = own_platform()

PROGRAM = """
printf '%s ready\n' "$0"
read -r word
echo "$word, $NAME" > /data/new; cat /.wavelet/given > /data/given; rm /data/old; echo > /elsewhere
echo "as any program prints"
printf '%s done 7\n' "$0"
read -r _
"""


@dataclass
class Here:
    """An image of two layers, and this machine as a workspace."""

    directory: Path
    called: str = "the image of this test"
    platform: Platform = OWN

    async def reference(self) -> str:
        raise AssertionError("nobody pulls it")

    async def layers(self) -> ImageLayers:
        base, above = self.directory / "base", self.directory / "above"
        base.write_bytes(task_layer().blob)
        above.write_bytes(images.layer({"data/old": b"old", "data/kept": b"kept"}).blob)
        return ImageLayers({Digest.of(base.read_bytes()): base}, [above], {"NAME": "nobody"})

    @asynccontextmanager
    async def scratch(self, size: int) -> AsyncIterator[Path]:
        assert size > 0
        yield Path(tempfile.mkdtemp(dir=self.directory))

    @asynccontextmanager
    async def tree(
        self, key: str, size: Callable[[], Awaitable[int]], fill: Callable[[Path], Awaitable[None]]
    ) -> AsyncIterator[Path]:
        assert await size() > 0
        directory = self.directory / key
        directory.mkdir()
        await fill(directory)
        yield directory

    async def run(self, function: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.to_thread(function, *arguments)


async def test_a_program_runs_in_an_image(tmp_path: Path) -> None:
    here, lines = Here(tmp_path), []
    task = SandboxTask("test", PROGRAM, {"NAME": "world"}, "/data", Limits())
    async with NamespaceEngine().open(here, task, here) as sandbox:
        assert {entry.path for entry in sandbox.tree.entries()} == {"", "old", "kept"}
        await sandbox.put([GivenFile("given", b"given")])
        console = await sandbox.start("hello")
        assert await console.read_word(lines.append) == ("done", "7")
        assert (await sandbox.usage()).processes >= 1
        await sandbox.settle()
        files = {entry.path: b"".join(entry.chunks()) for entry in sandbox.tree.entries() if entry.is_file}
        assert files == {"kept": b"kept", "given": b"given", "new": b"hello, world\n"}
        assert await sandbox.outside() == ["/elsewhere"]
    assert lines == ["as any program prints"]
