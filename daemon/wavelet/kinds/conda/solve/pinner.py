"""The pinning of environments: a lock that is known, or one that is solved for."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from wavelet.errors import (
    AccessRefused,
    InvalidRequest,
    NotFound,
    Unsolvable,
    UpstreamBroken,
    UpstreamError,
    WaveletError,
)
from wavelet.image.reference import Platform
from wavelet.kinds.conda.channels.client import Channels
from wavelet.kinds.conda.channels.relay import Relay
from wavelet.kinds.conda.locks.fetch import Location, with_lock_file
from wavelet.kinds.conda.locks.shared_locks import Locks
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment
from wavelet.kinds.conda.model.packages import Libc, Package, Wheel, platform_of, subdir_of
from wavelet.kinds.conda.model.specs import channel_of, directory_of, name_of
from wavelet.kinds.conda.pip.requirements import PipRequest, PipResolver
from wavelet.kinds.conda.solve.completion import Completion
from wavelet.kinds.conda.solve.messages import CUDA_VERSION, Origin, Record, lack, virtual_packages, wants_cuda
from wavelet.kinds.conda.solve.solver import SAYS, Question, Solver
from wavelet.kinds.other_architecture import remedy
from wavelet.plan.node import Node

Report = Callable[[str], None]

_NOARCH = "noarch"


@dataclass(frozen=True, slots=True)
class Job:
    """One solve.

    Attributes:
        leaf: what was asked; its lock file is read already.
        base: the image's base, pinned.
        libc: finds out the base's C library, which is done only where it is needed.
        report: takes lines of the log, which users read.
        anew: whether channels are to be asked for what they have now.
    """

    leaf: CondaEnvironment
    base: Node
    libc: Callable[[], Awaitable[Libc]]
    report: Report
    anew: bool


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Specs and channels as the solver takes them."""

    specs: tuple[str, ...]
    urls: tuple[str, ...]
    warnings: tuple[str, ...]
    origins: tuple[Origin, ...]


class EnvironmentSolver:
    """See the module."""

    def __init__(
        self, channels: Channels, relay: Relay, solver: Solver, completion: Completion, pip: PipResolver
    ) -> None:
        """Nothing is started or asked yet.

        Args:
            channels: what names of channels mean, and which may be used.
            relay: what the solver process reads indexes through.
            solver: the solver process.
            completion: finds what locks need of packages.
            pip: resolves requirements of pip.
        """
        self._channels = channels
        self._relay = relay
        self._solver = solver
        self._completion = completion
        self._pip = pip

    async def close(self) -> None:
        """End the solver process."""
        await self._solver.close()

    def expire(self) -> None:
        """Forget what channels had that nobody has asked for in a long time."""
        self._relay.expire()

    async def solve(self, job: Job) -> LockedEnvironment:
        """Return the lock of a request on its base.

        Raises:
            Unsolvable, InvalidRequest, NotFound, AccessRefused: the request has to change.
            UpstreamError: a channel does not do its part.
        """
        leaf = job.leaf
        self.check(leaf.locked, leaf.wheels)
        chosen = self._chosen(leaf)
        for warning in chosen.warnings:
            job.report(f"warning: {warning}")
        if job.anew:
            self._relay.refresh()
        try:
            records = await self._solved(leaf, chosen, job) if leaf.specs else ()
        except (Unsolvable, NotFound, AccessRefused, UpstreamError) as error:
            raise self._plain(error, chosen) from None
        solved = [_package(record) for record in records]
        self.check(solved)  # an index may say that its packages are somewhere else
        packages = await self._completion.complete([*leaf.locked, *solved], job.report)
        wheels = leaf.wheels
        if leaf.pip:
            wheels += await self._wheels(leaf, packages, records, job)
        return LockedEnvironment(tuple(sorted(packages)), tuple(sorted(set(wheels))), leaf.platform, job.base)

    def check(self, packages: Iterable[Package], wheels: Iterable[Wheel] = ()) -> None:
        """Check that packages and wheels may be used. A lock may be older than the site's present rules.

        Raises:
            InvalidRequest, AccessRefused: one is at an origin that is not allowed.
        """
        for package in packages:
            self._channels.check(package.url)
        self._pip.check(wheels)

    def _plain(self, error: WaveletError, chosen: _Chosen) -> WaveletError:
        """Return an error of the solver in words for users. It stands no longer than what is known of the channels."""
        message = self._relay.scrub(error.message)
        if isinstance(error, Unsolvable) and chosen.warnings:
            first, says, explanation = message.partition(SAYS)
            message = f"{first}; {'; '.join(chosen.warnings)}{says}{explanation}"
        plain = error.with_message(message)
        if isinstance(error, Unsolvable | NotFound):
            plain.cached_until = time.monotonic() + min(error.negative_ttl, self._relay.due_in(chosen.urls))
        return plain

    def _chosen(self, leaf: CondaEnvironment) -> _Chosen:
        """Return the specs with URLs for channels, and these channels besides those of the request."""
        named, specs, origins = list(leaf.channels), [], []
        for spec in leaf.specs:
            name = channel_of(spec)
            urls = self._urls_of(name, spec) if name else ()
            if name:
                named.append(name)
            origin = Origin(name_of(spec), urls if len(urls) > 1 else (), _directory(spec, leaf.platform))
            if origin.channels or origin.subdir:
                origins.append(origin)
            # Names in specs mean what names of channels mean here, which the solver does not know.
            bare = spec[len(spec.partition("[")[0].rpartition("::")[0]) + 2 :] if name else spec
            specs.append(f"{urls[0]}::{bare}" if len(urls) == 1 else bare)
        resolved = self._channels.resolve(tuple(dict.fromkeys(named)))
        return _Chosen(tuple(specs), resolved.urls, resolved.warnings, tuple(origins))

    def _urls_of(self, name: str, spec: str) -> tuple[str, ...]:
        """Return the channels that the one that a spec names stands for; `defaults` is several.

        Raises:
            InvalidRequest: it is one that is left out here.
        """
        resolved = self._channels.resolve((name,))
        if resolved.warnings:
            message = f"packages.entries: {spec!r} cannot be had: {'; '.join(resolved.warnings)}"
            raise InvalidRequest(message, field="packages.entries")
        return resolved.urls

    async def _solved(self, leaf: CondaEnvironment, chosen: _Chosen, job: Job) -> tuple[Record, ...]:
        libc = await job.libc()
        question = Question(
            specs=chosen.specs,
            channels=chosen.urls,
            subdir=subdir_of(leaf.platform),
            virtual=virtual_packages(leaf.platform, libc),
            newest=None if leaf.as_of is None else datetime.fromisoformat(leaf.as_of).timestamp(),
            locked=tuple(package.url for package in leaf.locked),
            origins=chosen.origins,
        )
        _report_question(question, leaf, job.report)
        began = time.monotonic()
        try:
            records = await self._asked(question, leaf, libc, job)
        except Unsolvable as error:
            sentence = lack(error.message, libc, leaf.base.description.title)
            if not sentence:
                raise
            first, says, explanation = error.message.partition(SAYS)
            raise error.with_message(f"{first}; {sentence}{says}{explanation}") from None
        size = sum(record.size or 0 for record in records)
        job.report(f"solved: {len(records)} packages, {size} bytes, in {time.monotonic() - began:.1f} s")
        return records

    async def _asked(self, question: Question, leaf: CondaEnvironment, libc: Libc, job: Job) -> tuple[Record, ...]:
        try:
            return await self._solver.solve(question)
        except Unsolvable as error:
            if not wants_cuda(error.message):
                raise
        job.report(f"warning: packages want a CUDA driver; solved for one (__cuda={CUDA_VERSION}) that nodes must have")
        return await self._solver.solve(replace(question, virtual=virtual_packages(leaf.platform, libc, cuda=True)))

    async def _wheels(
        self, leaf: CondaEnvironment, packages: list[Package], records: tuple[Record, ...], job: Job
    ) -> tuple[Wheel, ...]:
        described = {record.name for record in records}
        depends = {record.name: record.depends for record in records}
        lacking = tuple(package.url for package in leaf.locked if package.name not in described)
        if lacking:
            depends |= {record.name: record.depends for record in await self._solver.lookup(lacking)}
        versions = {package.name: package.version for package in packages}
        libc = await job.libc()
        request = PipRequest(
            leaf.pip,
            python=versions.get("python", ""),
            platform=leaf.platform,
            glibc=libc.version,
            present={name: versions[name] for name in versions if _is_python_package(depends.get(name, ()))},
            as_of=leaf.as_of,
        )
        return await self._pip.resolve(request, job.report)


def _package(record: Record) -> Package:
    try:
        return Package.of(record.url, record.sha256, record.md5, record.size)
    except InvalidRequest as error:
        raise UpstreamBroken(f"the index of a channel has a package that is none: {error.message}") from None


def _directory(spec: str, platform: Platform) -> str:
    """Return the subdir that a spec names, or nothing.

    Raises:
        InvalidRequest: images for the platform take no packages of it.
    """
    wanted, own = directory_of(spec), subdir_of(platform)
    if wanted in ("", own, _NOARCH):
        return wanted
    message = f"packages.entries: {spec!r} is for {wanted}, and an image for {platform} takes {own} and {_NOARCH}"
    there = platform_of(wanted)
    raise InvalidRequest(message if there is None else f"{message}; {remedy(there)}", field="packages.entries")


def _is_python_package(depends: tuple[str, ...]) -> bool:
    return any(spec.split(maxsplit=1)[0] in ("python", "python_abi") for spec in depends if spec)


def _report_question(question: Question, leaf: CondaEnvironment, report: Report) -> None:
    virtual = ", ".join(f"{name}={version}" for name, version, _ in question.virtual)
    kept = f", keeping {len(leaf.locked)} packages" if leaf.locked else ""
    until = f", as of {leaf.as_of}" if leaf.as_of else ""
    report(f"solving {', '.join(leaf.specs)} for {question.subdir}{kept}{until}")
    report(f"channels: {', '.join(question.channels)}; the image provides {virtual}")


log = structlog.get_logger()


class CondaPinner:
    """The locks of one node, and the way to new ones."""

    def __init__(self, locks: Locks, solves: EnvironmentSolver, location: Location) -> None:
        """Nothing is started or asked yet.

        Args:
            locks: what is remembered.
            solves: makes new locks.
            location: opens the URL of a lock file.
        """
        self._locks = locks
        self._solves = solves
        self._location = location

    async def close(self) -> None:
        """End the solver process."""
        await self._solves.close()

    def expire(self) -> None:
        """Forget what nobody has asked for in a long time."""
        self._locks.expire()
        self._solves.expire()

    def fresh(self, leaf: CondaEnvironment) -> LockedEnvironment | None:
        """Return the lock if nobody has to be asked for it; its base is the one of `leaf`."""
        lock = self._locks.cached(leaf)
        return None if lock is None else replace(lock, base=leaf.base, layers=leaf.layers)

    def latest(self, leaf: CondaEnvironment) -> LockedEnvironment | None:
        """Return the lock that this node knows last, for those who want to see it."""
        return self._locks.latest(leaf)

    async def mark_built(self, lock: LockedEnvironment) -> None:
        """Note for all nodes that an image was made of a lock."""
        await self._locks.mark_built(lock)

    async def was_built(self, lock: LockedEnvironment) -> bool:
        """Tell whether any node has made an image of a lock."""
        return await self._locks.was_built(lock)

    async def pin(
        self,
        leaf: CondaEnvironment,
        base: Node,
        libc: Callable[[], Awaitable[Libc]],
        report: Report,
        *,
        refresh: bool = False,
    ) -> LockedEnvironment:
        """Return the lock of `leaf` on a pinned base.

        Args:
            leaf: as asked; its base may be a tag.
            base: the leaf's base, pinned.
            libc: finds out the base's C library, which is done only where it is needed.
            report: takes lines of the log, which users read.
            refresh: whether a lock that stands is replaced by a new one.

        Raises:
            Unsolvable, InvalidRequest, NotFound, AccessRefused: the request has to change.
            UpstreamError: a channel does not do its part, and no earlier lock stands in.
        """
        shared = None if refresh else await self._locks.shared(leaf)
        if shared is not None:
            self._solves.check(shared.packages, shared.wheels)
            report(f"the lock of the first request stands: {_content(shared.packages, shared.wheels)}")
            return replace(shared, base=base, layers=leaf.layers)
        try:
            lock = await self._solved(Job(leaf, base, libc, report, refresh))
        except UpstreamError as error:
            earlier = None if refresh else await self._locks.earlier(leaf)
            if earlier is None:
                raise
            self._solves.check(earlier.packages, earlier.wheels)
            log.warning("an earlier lock stands in", specs=leaf.specs, because=error.message)
            report(f"warning: {error.message}; an earlier lock stands in: {_content(earlier.packages, earlier.wheels)}")
            return replace(earlier, base=base, layers=leaf.layers)
        kept = await self._locks.keep(leaf, lock, refresh=refresh)
        return replace(kept, base=base, layers=leaf.layers)

    async def _solved(self, job: Job) -> LockedEnvironment:
        if job.leaf.lock_location:
            job = replace(job, leaf=await with_lock_file(job.leaf, self._location, job.report))
        return await self._solves.solve(job)


def _content(packages: tuple[Package, ...], wheels: tuple[Wheel, ...]) -> str:
    return f"{len(packages)} packages" + (f" and {len(wheels)} wheels" if wheels else "")
