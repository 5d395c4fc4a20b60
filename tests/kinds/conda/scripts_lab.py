"""A place to run post-link scripts in tests: packages made on the spot, a base with bash, a registry to pull from."""

from __future__ import annotations

import asyncio
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memory_work import AMD64, Everything, MemoryWork

from lab import conda_packages, images
from lab.conda_packages import Package as LabPackage
from lab.conda_packages import script
from lab.engines import Podman, environment
from lab.processes import Background
from lab.registry import Registry
from lab.task_image import task_image
from wavelet.engine.limits import Limits
from wavelet.engine.protocol import Engine, GivenFile
from wavelet.errors import NotFound
from wavelet.image.image import Content, Descriptor, Image, MadeBy
from wavelet.image.reference import Digest, Platform
from wavelet.kinds.conda.kind import ScriptsLayers
from wavelet.kinds.conda.model.node import LockedEnvironment, ScriptsLayer
from wavelet.kinds.conda.model.packages import Package
from wavelet.kinds.conda.postlink.programs import sandbox_task
from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import Node as PlanNode
from wavelet.resolve.first_made import make_first


class Shared:
    """What nodes share: claims, and the blobs that these speak of."""

    def __init__(self) -> None:
        self.claims: dict[str, bytes] = {}
        self.blobs: dict[Digest, bytes] = {}


class ScriptsWork(MemoryWork):
    """A `Work` whose images a registry of the lab has, and that fetches from `downloads`, by URL."""

    def __init__(self, node: Node, key: str) -> None:
        super().__init__(node.everything, key)
        self._node = node

    async def claim(self, key: str, data: bytes, *, replace: bool = False) -> bytes:
        if replace:
            self._node.shared.claims[key] = data
        return self._node.shared.claims.setdefault(key, data)

    async def keep_last_copy(self, content: Content) -> None:
        pass

    async def claimed(self, key: str) -> bytes | None:
        return self._node.shared.claims.get(key)

    async def share(self, file: Path, digest: Digest) -> None:
        self._node.shared.blobs[digest] = file.read_bytes()

    async def shared(self, descriptor: Descriptor, key: str) -> Content | None:
        content = Content(descriptor, MadeBy(key))
        if descriptor.digest not in self._node.shared.blobs:
            return None
        self._node.everything.file(content).write_bytes(self._node.shared.blobs[descriptor.digest])
        return content

    async def download(self, urls: Sequence[str], md5: str) -> Path:
        self._node.asked.append((tuple(urls), md5))
        for url in urls:
            data = self._node.downloads.get(url)
            if data is not None and hashlib.md5(data).hexdigest() == md5:
                path = self._node.everything.directory / f"download-{md5}"
                path.write_bytes(data)
                path.chmod(0o600)
                return path
        raise NotFound(f"none of {', '.join(urls)} is there")

    async def pullable(self, plan: PlanNode) -> str:
        image = await self.realise(plan)
        document, *_ = [c for c in image.contents if c.descriptor.digest == image.descriptor.digest]
        blobs = {str(c.descriptor.digest): self._node.everything.file(c).read_bytes() for c in image.contents}
        data = blobs.pop(str(document.descriptor.digest))
        pushed = images.Image(data, image.descriptor.media_type, blobs)
        assert self._node.registry is not None
        return self._node.registry.push("wt/internal/lab", f"t{key_of(plan)[:12].lower()}", pushed)


class Node:
    """A node of a cluster: its content, what it can fetch, and what it shares."""

    def __init__(self, directory: Path, registry: Registry | None, shared: Shared | None = None) -> None:
        self.everything = Everything(directory)
        self.registry = registry
        self.shared = shared or Shared()
        self.downloads: dict[str, bytes] = {}
        self.asked: list[tuple[tuple[str, ...], str]] = []

    @property
    def lines(self) -> list[str]:
        """What was reported."""
        return self.everything.lines

    def plan(
        self, *packages: Package | LabPackage, base: images.Image | None = None, platform: Platform = AMD64
    ) -> ScriptsLayer:
        """Return the plan for an environment of these packages, all those with a post-link script being run."""
        found = [p if isinstance(p, Package) else self.archive(p) for p in packages]
        which = [package for package, made in zip(found, packages, strict=True) if _has_script(made)]
        lock = LockedEnvironment(
            tuple(sorted(found)), (), platform, self.everything.base(base or task_image(), platform), scripts=False
        )
        return ScriptsLayer(tuple(sorted(which)), lock)

    def archive(self, package: LabPackage) -> Package:
        """Write a package and return it as locks name it."""
        return self.everything.package(conda_packages.write(self.everything.directory / "channel", package))

    async def make(self, plan: ScriptsLayer, *engines: Engine, **limits: Any) -> Image:
        """Make the layer."""
        kind = LabScripts(engines, Limits(**limits))
        work = ScriptsWork(self, key_of(plan))
        return await make_first(kind, plan, work, work)


class LabScripts(ScriptsLayers):
    """The kind of what scripts change, with engines of the test's."""

    def __init__(self, engines: Sequence[Engine], limits: Limits) -> None:
        self._engines, self._limits = tuple(engines), limits


def _has_script(package: Package | LabPackage) -> bool:
    return isinstance(package, Package) or any(path.endswith("-post-link.sh") for path in package.files)


def scripted(name: str, text: str, *depends: str, **files: conda_packages.Entry) -> LabPackage:
    """Return a package with this post-link script."""
    link = {f"bin/.{name}-post-link.sh": script(f"#!/bin/bash\n{text}\n")}
    return LabPackage(name, files={**link, **files}, depends=depends)


def hang(engine: Engine, name: str, started: Path) -> None:
    """Open a sandbox of the image with this name, say so by making a file, and wait to be killed."""

    async def wait() -> None:
        image: Any = _Named(name)
        async with engine.open(image, sandbox_task(Limits()), image) as sandbox:
            await sandbox.put([GivenFile("one.sh", b"sleep 1000"), GivenFile("packages", b"one\t1\t0\n")])
            console = await sandbox.start("0 1000000 1000000")
            await console.read_word()
            started.touch()
            await asyncio.sleep(1000)

    asyncio.run(wait())


class _Named:
    platform = AMD64

    def __init__(self, name: str) -> None:
        self._name = name

    async def reference(self) -> str:
        return self._name


class PodmanPlace:
    """podman in a mount namespace that stays: its containers are mounted there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._podman = Podman(directory / "podman")
        self._holder: Background | None = None

    def start(self) -> Path:
        """Return a program that is podman."""
        own = self._directory
        (own / "containers.conf").write_text(
            '[containers]\ncgroups = "disabled"\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n'
        )
        self._podman.program(own / "each-time")
        line = (own / "each-time").read_text().splitlines()[1].removeprefix("exec ")
        words = shlex.split(line.replace(' "$@"', ""))
        at = words.index("unshare")
        storage = words[words.index("podman", at) :]
        begin = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; echo ready; exec sleep 3600"
        self._holder = holder = Background(["unshare", "-m", "sh", "-c", begin], own / "holder.log", environment())
        holder.wait_until(lambda: "ready" in holder.log(), 10)
        given = [*words[:at], f"CONTAINERS_CONF={own / 'containers.conf'}"]
        program = own / "podman-here"
        entering = shlex.join([*given, "nsenter", "-t", str(holder.pid), "-m", *storage])
        program.write_text(f'#!/bin/sh\nexec {entering} "$@"\n')
        program.chmod(0o755)
        return program

    def stop(self) -> None:
        """Let the namespace go."""
        if self._holder is not None:
            self._holder.stop()
