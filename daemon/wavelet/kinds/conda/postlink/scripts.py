"""The maker of what post-link scripts change: they are run in the image, and the difference is a layer.

Scripts may do what they like, so this layer is not a function of its plan. The first one that any node has made stands.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from wavelet.engine.engine import Console, Engine, Given, Sandbox, program
from wavelet.engine.limits import Limits, passed, too_long
from wavelet.errors import EngineFailed, NotServed, ScriptFailed
from wavelet.image.image import Content, Image
from wavelet.kinds.conda.compose import parts
from wavelet.kinds.conda.link.info import MEDIA_TYPE, LayerInfo
from wavelet.kinds.conda.postlink import scripts_diff
from wavelet.kinds.conda.postlink.bioconductor import Tarball, tarball_of
from wavelet.kinds.work import Work
from wavelet.plan.conda import ScriptsLayer
from wavelet.sizes import size as size_of

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


async def make(plan: ScriptsLayer, work: Work, engines: Sequence[Engine], limits: Limits | None = None) -> Image:
    """Return the layer and its document (see `info.py`): another node's if there is one, else made by an engine.

    Args:
        plan: what to make.
        work: see there.
        engines: those that may be used, in order; the first one that works is.
        limits: what scripts may take.

    Raises:
        NotServed: there is no engine on this node.
        EngineFailed: there is, but none does its part.
        ScriptFailed: a script fails, wants what it cannot have, or takes more than it may.
        DigestMismatch, NotFound, UpstreamError: what a script downloads cannot be had.
    """
    before = _document(await work.claimed(work.key))
    layer = before and await work.shared(before.descriptor)
    if before and layer:
        work.report("what the post-link scripts change is as another node has made it")
        return await _image(before, layer, work)
    own, layer = await _first_that_works(plan, work, engines, limits or Limits())
    await work.share(await work.path(layer), layer.descriptor.digest)
    first = _document(await work.claim(work.key, own.encode()))
    if first and first != own:
        theirs = await work.shared(first.descriptor)
        if theirs:
            return await _image(first, theirs, work)
        work.report(
            "what the post-link scripts changed when they were run first is nowhere to be had; it was made anew"
        )
    return await _image(own, layer, work)


async def _image(info: LayerInfo, layer: Content, work: Work) -> Image:
    document = await work.keep(info.encode(), MEDIA_TYPE)
    return Image.of(document.descriptor, [document, layer])


def _document(data: bytes | None) -> LayerInfo | None:
    try:
        return None if data is None else LayerInfo.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # a later version's; this one makes its own


async def _first_that_works(
    plan: ScriptsLayer, work: Work, engines: Sequence[Engine], limits: Limits
) -> tuple[LayerInfo, Content]:
    names = ", ".join(package.name for package in plan.packages)
    absent, failed = [], []
    for engine in engines:
        if reason := await engine.absence():
            absent.append(f"{engine.name} ({reason})")
            continue
        try:
            return await _Run(plan, work, engine, limits).layer()
        except EngineFailed as error:
            failed.append(f"{engine.name}: {error.message}")
            work.report(f"{engine.name} cannot run post-link scripts: {error.message}")
    if failed:
        raise EngineFailed(f"the post-link scripts of {names} could not be run. {'; '.join(failed)}")
    what = f"{names}: installation runs post-link scripts, for which this node has no container engine"
    tried = f"tried: {', '.join(absent)}" if absent else "conda.engine is `none`"
    remedies = " or ".join(engine.remedy for engine in engines) or "set conda.engine to another value"
    raise NotServed(f"{what}; {tried}. To have such packages: {remedies}", field="packages")


@dataclass
class _Script:
    """A package's script, and what came of it."""

    name: str
    version: str
    build_number: int
    tarball: Tarball | None = None
    refused: list[str] = field(default_factory=list)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))


class _Run:
    """One run of all scripts of a plan."""

    def __init__(self, plan: ScriptsLayer, work: Work, engine: Engine, limits: Limits) -> None:
        self._plan = plan
        self._limits = limits
        self._work = work
        self._engine = engine

    async def layer(self) -> tuple[LayerInfo, Content]:
        """Run the scripts and return what they have changed."""
        scripts = await self._scripts()
        opened = self._engine.open(self._plan.image, self._work, self._limits)
        async with self._work.scratch(_LISTING) as own, opened as sandbox:
            listing = own / "before"
            names = [script.name for script in scripts]
            before = await self._work.run(scripts_diff.look, sandbox.tree, listing, names)
            scripts = [script for script in scripts if self._is_there(script, before.scripts)]
            for script in scripts:
                script.tarball = tarball_of(script.name, before.scripts[script.name], before.table)
            await sandbox.put(await self._given(scripts))
            began = int(time.time())
            hard = self._limits.hard
            console = await sandbox.start(f"{before.newest} {hard.disk // 1024} {hard.memory // 1024}")
            await self._listen(sandbox, console, scripts)
            await sandbox.settle()
            return await self._difference(sandbox, scripts, own, began, before.newest)

    async def _scripts(self) -> list[_Script]:
        """Return the packages with scripts, dependencies before dependents."""
        wanted = set(self._plan.packages)
        found = []
        for part in await parts.packages(self._plan.image, self._work):
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

    async def _given(self, scripts: Sequence[_Script]) -> list[Given]:
        """Return the files for a sandbox; what scripts download is fetched here."""
        urls, files = [], []
        for script in scripts:
            if script.tarball is not None:
                tarball = script.tarball
                files.append(Given(f"files/{tarball.md5}", await self._work.download(tarball.urls, tarball.md5)))
                urls += [f"{url}\t{tarball.md5}\n" for url in tarball.urls]
                self._work.report(f"{script.name}: {tarball.file_name} is there for its post-link script")
        rows = "".join(f"{script.name}\t{script.version}\t{script.build_number}\n" for script in scripts)
        files += [Given("packages", rows.encode()), Given("urls", "".join(urls).encode())]
        files += [Given("one.sh", program("one.sh")), Given("bin/which", program("which.sh"), executable=True)]
        fetch = program("fetch.sh")
        return [*files, *(Given(f"bin/{name}", fetch, executable=True) for name in ("curl", "wget"))]

    async def _listen(self, sandbox: Sandbox, console: Console, scripts: Sequence[_Script]) -> None:
        """Follow the scripts until the last one has ended."""
        for script in scripts:
            self._work.report(f"{script.name}: its post-link script runs by {self._engine.name}")
            status = await self._bounded(sandbox, console, script)
            if script.refused:
                raise _refused(script)
            if status:
                raise self._failed(script, f"fails with status {status}{self._may_be_a_limit(status, script)}")
        while (await console.hear())[0] != "done":
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
                how = passed(await sandbox.usage(), self._limits)
            if not how and running.done():
                return running.result()
            console.kill()
            raise self._failed(script, how or too_long(self._limits))
        finally:
            for task in (running, watching):
                task.cancel()
            await asyncio.gather(running, watching, return_exceptions=True)

    async def _watch(self, sandbox: Sandbox) -> str:
        """Return what a script does that it may not, once it does."""
        while True:
            started = time.monotonic()
            how = passed(await sandbox.usage(), self._limits)
            if how:
                return how
            await asyncio.sleep(max(WATCH_SECONDS, 3 * (time.monotonic() - started)))

    def _may_be_a_limit(self, status: int, script: _Script) -> str:
        said = "\n".join(script.tail)
        if status in _KILLED or any(words in said for words in _LACKS):
            return f"; scripts may have {self._limits.text}"
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
            word, rest = await console.hear(take)
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
        change = await work.run(scripts_diff.compare, sandbox.tree, own / "before", result, tuple(proofs))
        for path in change.missing:
            raise self._failed(proofs[path], f"ends well, but has not installed {path}")
        for path in change.dropped:
            work.report(f"{path} is neither a file nor a link and is left out")
        await self._report_outside(sandbox)
        async with work.scratch(change.room) as room:
            blob = room / "layer"
            info = await work.run(scripts_diff.write, sandbox.tree, result, blob, began, newest)
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
