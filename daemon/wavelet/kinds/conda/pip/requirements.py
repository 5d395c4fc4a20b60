"""pip requirements of a conda environment: one wheel for each package that conda has not installed.

`uv` resolves for the image's platform and Python. What it may use is what the site's pip may use; a request names
packages, and never where they come from. Nothing is built: a package without a fitting wheel is an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag
from packaging.utils import canonicalize_name

from wavelet import directory_trees
from wavelet.config import Apply, Settings
from wavelet.errors import AccessRefused, InvalidRequest, Unsolvable, UpstreamBroken, WaveletError
from wavelet.image.reference import DEFAULT_PLATFORM, Platform
from wavelet.kinds.conda.model.packages import Wheel
from wavelet.kinds.conda.pip import pip_config, uv_command
from wavelet.kinds.conda.pip.installed import Installed
from wavelet.kinds.conda.pip.pip_config import PipConfig
from wavelet.kinds.conda.pip.uv_command import LockedDistribution, Question, Reply
from wavelet.kinds.conda.pip.wheel_choice import best, machine_of, supported_tags, target_of
from wavelet.kinds.conda.pip.wheel_urls import ByUrl, Fetch, fetched, wheel_of
from wavelet.kinds.other_architecture import remedy

REQUIREMENT_LIMIT = 1000
"""Characters of one requirement."""

_FIELD = "packages"
_ARCHIVES = (
    ".whl",
    ".egg",
    ".zip",
    ".tar",
    ".tgz",
    ".tbz",
    ".tlz",
    ".txz",
    ".gz",
    ".bz2",
    ".xz",
    ".lz",
    ".lzma",
    ".zst",
)
"""Ends of names that the resolver takes for files, although they can be names of packages."""


@dataclass(frozen=True, slots=True)
class PipRequest:
    """What is asked of pip for one environment.

    Attributes:
        requirements: PEP 508, by name or by the URL of a wheel.
        python: full version of the environment's CPython, `3.11.9`; empty where it has none.
        platform: of the image.
        glibc: version of the image's C library, `2.39`.
        present: versions of the conda packages that are Python distributions (those that depend on `python`), by name.
        as_of: only files uploaded before this time, RFC 3339; an index that does not say when has none of these.
    """

    requirements: tuple[str, ...]
    python: str
    platform: Platform
    glibc: str
    present: Mapping[str, str]
    as_of: str | None = None


class PipResolver:
    """pip's resolver by the rules of the site."""

    def __init__(self, settings: Settings, cache: Path, fetch: Fetch, directories: Sequence[Path] = ()) -> None:
        """Nothing is started or asked yet.

        Args:
            settings: of its section `conda`.
            cache: directory for what the indexes said; it may be removed at any time.
            fetch: fetches the wheels that requirements name by URLs.
            directories: where wheels of locks may lie on this machine.
        """
        self.configure(settings)()
        self._cache = cache
        self._fetch = fetch
        self._directories = directories

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: where wheels may come from, and how long one look at their indexes may take."""

        def apply() -> None:
            self._allowed_hosts = settings.conda.allowed_indexes
            self._limit = settings.conda.solve_limit

        return apply

    def check(self, wheels: Iterable[Wheel]) -> None:
        """Check that the wheels of a lock come from where the site lets them come from; see `check_origins`."""
        check_origins(wheels, self._allowed_hosts, self._directories)

    async def resolve(self, request: PipRequest, report: Callable[[str], None]) -> tuple[Wheel, ...]:
        """Return the wheels that satisfy a request, sorted; none where conda has installed all of them.

        Args:
            request: what is asked.
            report: takes lines of the log.

        Raises:
            InvalidRequest: a requirement is none, or there is no Python.
            Unsolvable: there is no solution, or a package has no fitting wheel.
            AccessRefused: a wheel is at a host that is not allowed, or an index refuses.
            NotServed: a platform or C library that there are no wheels for.
            UpstreamError: an index does not answer, or nothing that can be used.
        """
        parsed = parse_requirements(request.requirements)
        if not parsed:
            return ()
        if not request.python:
            raise InvalidRequest("pip: the environment has no python; add it to the conda packages", field=_FIELD)
        tags = supported_tags(request.python, request.platform, request.glibc)
        target = target_of(request.platform, request.glibc)
        config = await asyncio.to_thread(pip_config.read, os.environ)
        config = await asyncio.to_thread(_without_missing, config, report)
        installed = Installed.of(request.present)
        report(f"pip: resolving {len(parsed)} requirements for {request.platform}, Python {request.python}")
        urls = {wheel.url: wheel for text in parsed if (wheel := wheel_of(Requirement(text))) is not None}
        check_origins(urls.values(), self._allowed_hosts)
        async with _private_directory() as directory:
            by_url = await fetched(parsed, self._fetch, tags, directory)
            _refuse_installed(by_url, installed)
            files = await asyncio.to_thread(installed.write, directory)
            question = Question(by_url.requirements, request.python, target, request.as_of, *files)
            reply = await self._ask(question, config, directory)
        if reply.explanation:
            raise _unsolved(reply.explanation, question, installed)
        wheels = sorted([*_chosen(reply, tags, question), *_given(reply, by_url)])
        check_origins(wheels, self._allowed_hosts, config.directories)
        for wheel in wheels:
            report(f"pip: {wheel.file_name}")
        return tuple(wheels)

    async def _ask(self, question: Question, config: PipConfig, directory: Path) -> Reply:
        await asyncio.to_thread(self._cache.mkdir, mode=0o700, parents=True, exist_ok=True)
        return await uv_command.ask(question, config, directory, self._cache, self._limit)


def _refuse_installed(by_url: ByUrl, installed: Installed) -> None:
    for name in by_url.wheels.keys() & installed.versions.keys():
        message = f"pip: {name} is asked for by a URL, and conda has installed {name} {installed.versions[name]}"
        raise Unsolvable(f"{message}; ask only one of them for it", field=_FIELD)


def _chosen(reply: Reply, tags: tuple[Tag, ...], question: Question) -> list[Wheel]:
    """Return the wheels of the distributions that indexes have."""
    return [_wheel(package, tags, question) for package in reply.packages if not package.is_given]


def _given(reply: Reply, by_url: ByUrl) -> list[Wheel]:
    """Return the wheels that were named by URLs; the other files that the resolver was given are conda's packages."""
    given = {canonicalize_name(package.name) for package in reply.packages if package.is_given}
    return [wheel for name, wheel in by_url.wheels.items() if name in given]


def parse_requirements(texts: Iterable[str]) -> tuple[str, ...]:
    """Return requirements in normal form, sorted and unique.

    Raises:
        InvalidRequest: one is an option, a path, a URL of something else than a wheel, or no requirement.
    """
    return tuple(sorted({_parse(text.strip()) for text in texts}))


def check_origins(wheels: Iterable[Wheel], allowed_hosts: Sequence[str], directories: Iterable[Path] = ()) -> None:
    """Check that wheels come from where the site lets them come from.

    Raises:
        AccessRefused: one is at another host, or a file outside of `directories`.
    """
    roots = [directory.resolve() for directory in directories]
    for wheel in wheels:
        parts = urllib.parse.urlsplit(wheel.url)
        if parts.scheme == "file":
            path = Path(urllib.parse.unquote(parts.path)).resolve()
            if not any(path.is_relative_to(root) for root in roots):
                message = f"{wheel.file_name} is a file of this machine that pip's configuration does not name"
                raise AccessRefused(message, field=_FIELD)
        elif allowed_hosts and not {parts.netloc.lower(), parts.hostname} & {host.lower() for host in allowed_hosts}:
            message = f"{wheel.file_name} is at {parts.netloc}, which is not among the hosts that wheels may come from"
            raise AccessRefused(f"{message} (the setting conda.allowed_indexes)", field=_FIELD)


def _parse(text: str) -> str:
    shown = text[:200]
    if text.startswith("-"):
        message = f"pip: {shown!r} is an option; only packages are asked for by name, the site chooses the indexes"
        raise InvalidRequest(message, field=_FIELD)
    try:
        if len(text) > REQUIREMENT_LIMIT or not text.isprintable():
            raise InvalidRequirement(text)
        requirement = Requirement(text)
        if requirement.name.lower().endswith(_ARCHIVES):
            raise InvalidRequirement(text)
    except InvalidRequirement:
        place = "/" in text or text.lower().endswith(_ARCHIVES)
        what = "a URL or a path" if place else "not a requirement (PEP 508), e.g. `multiqc>=1.20`"
        shown = uv_command.without_logins(shown)
        raise InvalidRequest(
            f"pip: {shown!r} is {what}; packages are asked for by name, or by the URL of a wheel", field=_FIELD
        ) from None
    wheel_of(requirement)
    return str(requirement)


def _without_missing(config: PipConfig, report: Callable[[str], None]) -> PipConfig:
    """Return the configuration without directories that are not there, as pip takes it; uv would fail. Blocks."""
    missing = {link for link in config.find_links if "://" not in link and not Path(link).is_dir()}
    if missing:
        report(f"pip: {len(missing)} of the configured directories of wheels are not there")
    return config.with_links(tuple(link for link in config.find_links if link not in missing))


@asynccontextmanager
async def _private_directory() -> AsyncIterator[Path]:
    directory = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="wavelet-pip-"))
    try:
        yield directory
    finally:
        # Not to be waited for: a cancellation must not leave it behind, and it is small.
        with contextlib.suppress(OSError):
            directory_trees.remove(directory)


def _wheel(package: LockedDistribution, tags: tuple[Tag, ...], question: Question) -> Wheel:
    files = {file.url.partition("#")[0].partition("?")[0]: file for file in package.wheels}
    chosen = best((url.rpartition("/")[2] for url in files), tags)
    if chosen is None:
        message = (
            f"pip: {package.name} {package.version} has no wheel for {question.target}, "
            f"Python {question.python}; packages are not built from source"
        )
        raise Unsolvable(message + _elsewhere(" ".join(files), question), field=_FIELD)
    url, file = next((url, file) for url, file in files.items() if url.rpartition("/")[2] == chosen)
    sha256 = file.hashes.get("sha256")
    if not sha256:
        raise UpstreamBroken(f"the package index states no sha256 of {chosen}")
    parts = urllib.parse.urlsplit(url)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return Wheel(urllib.parse.urlunsplit(plain), sha256, file.size)


def _elsewhere(text: str, question: Question) -> str:
    """Return what to do where a text names wheels for the usual platform, and that is not the one asked for."""
    usual = machine_of(DEFAULT_PLATFORM)
    there = usual not in question.target and re.search(rf"manylinux\w*_{usual}", text)
    return f"; {remedy(DEFAULT_PLATFORM)}" if there else ""


def _unsolved(explanation: str, question: Question, installed: Installed) -> WaveletError:
    if "401 Unauthorized" in explanation or "403 Forbidden" in explanation:
        return AccessRefused(
            f"a package index refuses; its login is in pip's configuration: {explanation}", field=_FIELD
        )
    notes = []
    if "no usable wheels" in explanation or "no wheels" in explanation:
        notes.append(
            f"A package has no wheel for {question.target}, Python {question.python}, and none is built from source"
            f"{_elsewhere(explanation, question)}."
        )
    if from_conda := installed.named_in(explanation):
        notes.append(
            f"Conda has installed {', '.join(from_conda)}: ask conda for another version, or pip alone for it."
        )
    if question.as_of:
        notes.append(f"Only files count that an index says were uploaded before {question.as_of}.")
    first = f"pip: no wheels satisfy {', '.join(question.requirements)}; the resolver says:"
    return Unsolvable("\n".join([first, *notes, explanation]), field=_FIELD)
