"""Fetching of a lock file that a request names by its URL: when it is pinned, and read for one platform."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from wavelet.errors import InvalidRequest, TooLarge, UpstreamUnreachable
from wavelet.kinds.conda.locks.foreign import refuse_foreign_name
from wavelet.kinds.conda.model.environment_text import Environment, read_environment
from wavelet.kinds.conda.model.node import CondaEnvironment
from wavelet.kinds.conda.model.package_request import PIP
from wavelet.kinds.conda.model.specs import name_of
from wavelet.upstream.streams import Stream

SIZE_LIMIT = 8 * 1024**2
"""Bytes of a lock file."""

FETCH_LIMIT = 60.0
"""Seconds for which it may arrive."""

Location = Callable[[str], AbstractAsyncContextManager[Stream]]
"""Opens a URL of a request, without any login: what is read of it may come back in an error's sentence."""

_FIELD = "packages.entries"


async def with_lock_file(leaf: CondaEnvironment, location: Location, report: Callable[[str], None]) -> CondaEnvironment:
    """Return the request with what the file at its `lock_location` asks for.

    Raises:
        InvalidRequest, TooLarge: it is no such file, or one for other platforms.
        NotFound, AccessRefused, UpstreamError: it cannot be had.
    """
    url = leaf.lock_location
    if not url.startswith(("http://", "https://")):  # the daemon's files are not the caller's
        raise InvalidRequest(f"{url[:300]!r} is not an http or https URL of a lock file", field=_FIELD)
    refuse_foreign_name(url, _FIELD)
    report(f"reading {url}")
    try:
        async with asyncio.timeout(FETCH_LIMIT):
            data = await _fetched(url, location)
    except TimeoutError:
        raise UpstreamUnreachable(f"{url} did not arrive within {FETCH_LIMIT:.0f} s", field=_FIELD) from None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{url} is no text, and no list of packages", field=_FIELD) from None
    # A text may have a million lines to read.
    environment = await asyncio.to_thread(read_environment, text, _FIELD)
    if environment.variables:
        report("warning: variables of an environment that is named by a URL are left out")
    for note in environment.notes:
        if not (environment.variables and note.startswith("variables")):  # none of these is set
            report(f"note: {note}")
    return _joined(leaf, environment)


def _joined(leaf: CondaEnvironment, environment: Environment) -> CondaEnvironment:
    lock = environment.locked_for(leaf.platform, _FIELD)
    packages = {package.name: package for package in (*lock.packages, *leaf.locked)}
    # What a site or client adds to every environment is not added to one that has it.
    named = {*packages, *map(name_of, environment.specs)}
    added = {spec for spec in leaf.specs if name_of(spec) not in named}
    if environment.pip and PIP not in named:
        added.add(PIP)
    return replace(
        leaf,
        specs=tuple(sorted({*added, *environment.specs})),
        channels=tuple(dict.fromkeys((*environment.channels, *leaf.channels))),
        pip=tuple(sorted({*leaf.pip, *environment.pip})),
        locked=tuple(sorted(packages.values())),
        wheels=tuple(sorted({*leaf.wheels, *lock.wheels})),
        lock_location="",
    )


async def _fetched(url: str, location: Location) -> bytes:
    data = bytearray()
    async with location(url) as stream:
        async for chunk in stream.chunks:
            data += chunk
            if len(data) > SIZE_LIMIT:
                raise TooLarge(f"{url} is larger than {SIZE_LIMIT} bytes, too large for a lock file", field=_FIELD)
    return bytes(data)
