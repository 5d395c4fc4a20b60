"""One run of an environment's post-link scripts in a sandbox: watched, and ended where they take more than they may."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wavelet.directory_trees import TooDeep
from wavelet.engine.console import Console
from wavelet.engine.limits import Limits
from wavelet.engine.protocol import Engine, GivenFile, Sandbox
from wavelet.errors import EngineFailed, ScriptFailed
from wavelet.image.image import Content
from wavelet.kinds.conda.compose import made_parts
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.kinds.conda.model.node import ScriptsLayer
from wavelet.kinds.conda.postlink import difference
from wavelet.kinds.conda.postlink.bioconductor import Tarball, tarball_of
from wavelet.kinds.conda.postlink.limits import as_text, excess, too_long
from wavelet.kinds.conda.postlink.locked_image import LockedImage
from wavelet.kinds.conda.postlink.programs import Download, Row, given_files, sandbox_task, start_line
from wavelet.kinds.kind import Work
from wavelet.quantities import size as size_of

WATCH_SECONDS = 0.25
"""How often it is looked at what scripts take; less often where looking takes longer."""
TAIL = 20
"""Lines of a failed script's output that its error has."""
REPORTED = 200
"""Lines of a script's output that are reported."""

_KILLED = (128 + signal.SIGKILL, 128 + signal.SIGXFSZ)
_LACKS = ("Resource temporarily unavailable", "Cannot allocate memory", "cannot allocate", "File too large", "Killed")
"""What programs say that were kept from taking more."""

_LISTING = 128 * 1024**2
"""Bytes that the listings of a prefix stay under."""


@dataclass
class _Script:
    """A package's script, and what came of it."""

    name: str
    version: str
    build_number: int
    tarball: Tarball | None = None
    refused: list[str] = field(default_factory=list)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))


class ScriptsRun:
    """One run of all scripts of a plan."""

    def __init__(self, plan: ScriptsLayer, work: Work, engine: Engine, limits: Limits) -> None:
        self._plan = plan
        self._limits = limits
        self._work = work
        self._engine = engine

    async def layer(self) -> tuple[LayerInfo, Content]:
        """Run the scripts and return what they have changed."""
        scripts = await self._scripts()
        image = LockedImage(self._plan.image, self._work)
        opened = self._engine.open(image, sandbox_task(self._limits), self._work)
        async with self._work.scratch(_LISTING) as own, opened as sandbox:
            listing = own / "before"
            names = [script.name for script in scripts]
            before = await self._work.run(difference.look, sandbox.tree, listing, names)
            scripts = [script for script in scripts if self._is_there(script, before.scripts)]
            for script in scripts:
                script.tarball = tarball_of(script.name, before.scripts[script.name], before.table)
            await sandbox.put(await self._given(scripts))
            began = int(time.time())
            console = await sandbox.start(start_line(before.newest, self._limits))
            await self._listen(sandbox, console, scripts)
            await sandbox.settle()
            return await self._difference(sandbox, scripts, own, began, before.newest)

    async def _scripts(self) -> list[_Script]:
        """Return the packages with scripts, dependencies before dependents."""
        wanted = set(self._plan.packages)
        found = []
        for part in await made_parts.packages(self._plan.image, self._work):
            if part.of in wanted:
                index: Mapping[str, Any] = part.info.index
                name = str(index["name"])
                found.append(_Script(name, str(index.get("version", "")), int(index.get("build_number", 0))))
                if any(path.endswith("-pre-link.sh") for path in part.info.scripts):
                    self._work.report(f"{name}: its pre-link script is not run; that kind is deprecated")
        return found

    def _is_there(self, script: _Script, texts: Mapping[str, str]) -> bool:
        if script.name not in texts:
            self._work.report(f"{script.name}: it has no post-link script")
        return script.name in texts

    async def _given(self, scripts: Sequence[_Script]) -> list[GivenFile]:
        """Return the files for a sandbox; what scripts download is fetched here."""
        downloads = []
        for script in scripts:
            if script.tarball is not None:
                tarball = script.tarball
                file = await self._work.download(tarball.urls, tarball.md5)
                downloads.append(Download(tarball.urls, tarball.md5, file))
                self._work.report(f"{script.name}: {tarball.file_name} is there for its post-link script")
        return given_files((Row(each.name, each.version, each.build_number) for each in scripts), downloads)

    async def _listen(self, sandbox: Sandbox, console: Console, scripts: Sequence[_Script]) -> None:
        """Follow the scripts until the last one has ended."""
        for script in scripts:
            self._work.report(f"{script.name}: its post-link script runs by {self._engine.name}")
            status = await self._bounded(sandbox, console, script)
            if script.refused:
                raise _refused(script)
            if status:
                raise self._failed(script, f"fails with status {status}{self._may_be_a_limit(status, script)}")
        while (await console.read_word())[0] != "done":
            pass

    async def _bounded(self, sandbox: Sandbox, console: Console, script: _Script) -> int:
        """Return a script's status; it is ended once it takes more than it may."""
        running = asyncio.create_task(self._status(console, script))
        watching = asyncio.create_task(self._watch(sandbox))
        try:
            await asyncio.wait({running, watching}, timeout=self._limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                how = watching.result()
            elif running.done() and not running.result():
                return 0
            else:
                # One that has failed may have done so because it was kept from taking more.
                how = await self._excess(sandbox)
            if not how and running.done():
                return running.result()
            console.kill()
            raise self._failed(script, how or too_long(self._limits))
        finally:
            for task in (running, watching):
                task.cancel()
            await asyncio.gather(running, watching, return_exceptions=True)

    async def _excess(self, sandbox: Sandbox) -> str:
        try:
            return excess(await sandbox.usage(), self._limits)
        except TooDeep as error:
            raise ScriptFailed(f"post-link scripts: {error}; leave that package out") from None

    async def _watch(self, sandbox: Sandbox) -> str:
        """Return what a script does that it may not, once it does."""
        while True:
            started = time.monotonic()
            how = await self._excess(sandbox)
            if how:
                return how
            await asyncio.sleep(max(WATCH_SECONDS, 3 * (time.monotonic() - started)))

    def _may_be_a_limit(self, status: int, script: _Script) -> str:
        said = "\n".join(script.tail)
        if status in _KILLED or any(words in said for words in _LACKS):
            return f"; scripts may have {as_text(self._limits)}"
        return ""

    async def _status(self, console: Console, script: _Script) -> int:
        lines = 0

        def take(line: str) -> None:
            nonlocal lines
            lines += 1
            script.tail.append(line[:500])
            if lines <= REPORTED:
                self._work.report(f"{script.name}: {line[:500]}")
            elif lines == REPORTED + 1:
                self._work.report(f"{script.name}: (it prints more, which is left out)")

        while True:
            word, rest = await console.read_word(take)
            if word == "refused":
                script.refused.append(rest)
            elif word == "end":
                return int(rest)

    def _failed(self, script: _Script, how: str) -> ScriptFailed:
        said = "\n".join(script.tail) or "(nothing)"
        todo = "Leave the package out, or ask for another version or build of it"
        return ScriptFailed(f"{script.name}: its post-link script {how}. {todo}. The last of what it prints:\n{said}")

    async def _difference(
        self, sandbox: Sandbox, scripts: Sequence[_Script], own: Path, began: int, newest: int
    ) -> tuple[LayerInfo, Content]:
        work, result = self._work, own / "difference"
        proofs = {script.tarball.proof: script for script in scripts if script.tarball is not None}
        change = await work.run(difference.compare, sandbox.tree, own / "before", result, tuple(proofs))
        for path in change.missing:
            raise self._failed(proofs[path], f"ends well, but has not installed {path}")
        for path in change.dropped:
            work.report(f"{path} is neither a file nor a link and is left out")
        await self._report_outside(sandbox)
        async with work.scratch(change.room) as room:
            blob = room / "layer"
            info = await work.run(difference.write, sandbox.tree, result, blob, began, newest)
            work.report(f"post-link scripts: {change.paths} paths changed, {change.gone} removed, {size_of(info.size)}")
            return info, await work.adopt(blob, info.descriptor)

    async def _report_outside(self, sandbox: Sandbox) -> None:
        try:
            outside = await sandbox.outside()
        except EngineFailed as error:  # the layer does not depend on it; podman stumbles over some differences
            self._work.report(f"what was changed outside of the prefix, and left out, cannot be told: {error.message}")
            return
        if outside:
            shown = ", ".join(outside[:10])
            self._work.report(f"outside of the prefix, and left out: {shown} ({len(outside)} paths in all)")


def _refused(script: _Script) -> ScriptFailed:
    urls = ", ".join(script.refused[:5])
    message = f"{script.name}: its post-link script wants to fetch {urls}, and scripts run without a network. Only what"
    return ScriptFailed(
        f"{message} Bioconductor's data packages say with an MD5 is fetched for them. Leave the package out, or ask for"
        " an image that somebody has built of it"
    )
