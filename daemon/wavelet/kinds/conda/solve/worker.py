"""The solver process: answers the daemon's requests, several at a time, until its standard input closes.

It is a process of its own because the library may abort, takes hundreds of megabytes for large channels, and is
ended when nobody has asked for some minutes. It reads indexes through the mirrors that it is told, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from rattler import (
    ChannelPriority,
    Gateway,
    GenericVirtualPackage,
    MatchSpec,
    PackageName,
    PackageRecord,
    RepoDataRecord,
    Version,
    solve,
)
from rattler.exceptions import SolverError
from rattler.package.build_string import BuildString

from wavelet.kinds.conda.solve.candidates import lacking, there
from wavelet.kinds.conda.solve.channel_index import Index, parse_spec, record_of
from wavelet.kinds.conda.solve.filtered_channel import FilteredChannel, fits
from wavelet.kinds.conda.solve.messages import (
    LENGTH_BYTES,
    Answer,
    Failed,
    Found,
    Lookup,
    Request,
    Solve,
    Virtual,
    frame,
    read_request,
)
from wavelet.kinds.conda.solve.other_subdir import only_usual

MEMORY_LIMIT = 8 * 1000**3
"""Bytes of address space; the largest channels take half a gigabyte of memory."""

FILE_LIMIT = 2 * 1000**3
"""Bytes of an inflated index."""


class Worker:
    """Answers requests; `write` takes the frames of its answers."""

    def __init__(self, index: Index, output: int) -> None:
        self._index = index
        self._output = output
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, request: Request) -> None:
        """Begin to answer a request. None is ever given up: the library lets all fail that wait for the same index."""
        task = asyncio.create_task(self._answer(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Request) -> None:
        try:
            answer = await (self._solve(request) if isinstance(request, Solve) else self._lookup(request))
        except (asyncio.CancelledError, SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - a panic of the library is no Exception
            answer = self._index.failure(request.number, error)
        # A pipe that is full makes all of them wait: the daemon reads without pause, or is gone.
        data = frame(answer)
        while data:
            data = data[os.write(self._output, data) :]

    async def _lookup(self, request: Lookup) -> Answer:
        gateway = self._index.gateway(request.mirrors)
        self._index.renew(gateway, request.generations)
        records = await self._index.packages(gateway, request.urls)
        return Found(request.number, tuple(map(record_of, records)))

    async def _solve(self, request: Solve) -> Answer:
        specs: list[MatchSpec] = []
        for text in request.specs:
            spec = parse_spec(text)
            if isinstance(spec, str):
                return Failed(request.number, "spec", text, spec)
            specs.append(spec)
        gateway = self._index.gateway(request.mirrors)
        self._index.renew(gateway, request.generations)
        names = {record.name.normalized: record for record in map(_bare_record, request.locked)}
        for spec in specs:
            kept = names.get(spec.name.normalized)
            if kept is not None and not (spec.matches(kept) and fits(kept, request.origins)):
                text = f"the lock has {kept.name.normalized} {kept.version}, and {spec} is asked for"
                return Failed(request.number, "unsolvable", str(spec), text)
        asked = [spec for spec in specs if spec.name.normalized not in names]
        if not asked:
            return Found(request.number, ())
        locked = await self._locked(gateway, request.locked)
        try:
            solution = await _solved(gateway, asked, locked, request)
        except SolverError as error:
            failed = self._index.failure(request.number, error)
            if failed.kind != "unsolvable":
                return failed
            return await _explained(failed, gateway, asked, request)
        added = (record_of(record) for record in solution if record.name.normalized not in names)
        return Found(request.number, tuple(added))

    async def _locked(self, gateway: Gateway, urls: tuple[str, ...]) -> list[RepoDataRecord]:
        if not urls:
            return []
        known = {record.url: record for record in await self._index.packages(gateway, urls)}
        return [known.get(url) or _bare_record(url) for url in urls]


async def _explained(failed: Failed, gateway: Gateway, asked: Sequence[MatchSpec], request: Solve) -> Failed:
    """Return a failure with what channels have instead, and with all that they have for the usual platform alone."""
    where = (gateway, request.channels, request.subdir, request.newest)
    wanted = lacking(failed.text)
    needed = [parse_spec(f"{name} {condition}") for name, condition in wanted.items()]
    names = {spec.name.normalized for spec in asked}
    others = [spec for spec in needed if isinstance(spec, MatchSpec) and spec.name.normalized not in names]
    found = await only_usual([*asked, *others], *where)
    sentence = await there(wanted, *where, elsewhere={spec.name.normalized for spec in found})
    return msgspec.structs.replace(failed, there=sentence, elsewhere=tuple(map(_bare_spec, found)))


def _bare_spec(spec: MatchSpec) -> str:
    """Return a spec without its channel, as people write it: `samtools=1.17`, `bwa>=0.7`."""
    version = "" if spec.version is None else str(spec.version)
    build = "" if spec.build is None else f"={spec.build}"
    named = f"={version.removesuffix('.*')}" if version[:1].isdigit() else version.replace("*", "")
    return f"{spec.name.normalized}{named or ('=*' if build else '')}{build}"


async def _solved(
    gateway: Gateway, specs: list[MatchSpec], locked: list[RepoDataRecord], request: Solve
) -> list[RepoDataRecord]:
    solution = await _solution(request.channels, gateway, specs, locked, request)
    kept = {record.url for record in locked}
    if all(record.url in kept or fits(record, request.origins) for record in solution):
        return solution
    # Rarely needed, as few names are in several subdirs, and slower: the library has to ask for each name.
    sources = [FilteredChannel(gateway, channel, request.origins) for channel in request.channels]
    return await _solution(sources, gateway, specs, locked, request)


async def _solution(
    sources: Sequence[str | FilteredChannel],
    gateway: Gateway,
    specs: list[MatchSpec],
    locked: list[RepoDataRecord],
    request: Solve,
) -> list[RepoDataRecord]:
    return await solve(
        sources,
        specs,
        gateway=gateway,
        platforms=[request.subdir, "noarch"],  # type: ignore[list-item]
        pinned_packages=locked,
        virtual_packages=[_virtual(each) for each in request.virtual],
        timeout=timedelta(seconds=request.limit),
        channel_priority=ChannelPriority.Strict,
        exclude_newer=None if request.newest is None else datetime.fromtimestamp(request.newest, UTC),
        channel_relations="disabled",
        timestamp_policy="allow-missing",
    )


def _virtual(package: Virtual) -> GenericVirtualPackage:
    name, version, build = package
    return GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))


def _bare_record(url: str) -> RepoDataRecord:
    """Return the record of a package that its channel no longer lists, by its name alone: it needs nothing more."""
    channel, subdir, file = url.rsplit("/", 2)
    stem = file.removesuffix(".conda").removesuffix(".tar.bz2")
    name, version, build = stem.rsplit("-", 2)
    return RepoDataRecord(PackageRecord(name, version, BuildString(build), 0, subdir), file, url, channel)


async def serve(directory: Path, output: int) -> None:
    """Answer the requests on standard input until it closes."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    worker = Worker(Index(directory), output)
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            size = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
            worker.take(read_request(await reader.readexactly(size)))


def main() -> None:
    """Serve with the cache directory that the first argument names."""
    # An index may inflate to whatever it likes; the library has no limits of its own.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
    # Whatever the library prints must not get between the frames.
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    asyncio.run(_serve_and_go(Path(sys.argv[1]), output))


async def _serve_and_go(directory: Path, output: int) -> None:
    await serve(directory, output)
    # The library's threads may still be busy with an answer that nobody reads.
    os._exit(0)


if __name__ == "__main__":
    main()
