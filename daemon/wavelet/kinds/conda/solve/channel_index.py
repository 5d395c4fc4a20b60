"""The solver process's view of channels: one gateway that keeps indexes in memory, and what its errors mean.

Only the solver process imports this: rattler's threads and memory have no place in the daemon. It asks no channel
itself but the mirrors that it is told, and holds no login.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from rattler import Gateway, MatchSpec, Subdir
from rattler.exceptions import GatewayError, InvalidMatchSpecError, SolverError
from rattler.networking.client import Client
from rattler.networking.middleware import MirrorMiddleware
from rattler.repo_data import RepoDataRecord

from wavelet.kinds.conda.solve.messages import Failed, Kind, Record

_STATUS = re.compile(r"HTTP status \w+ error \((\d{3})")
_NO_SUBDIR = re.compile(r"could not find subdir '[^']*' in channel '([^']*)'")
_URL = re.compile(r"(?:https?|file)://[^\s'\")]+")
_KINDS: dict[str, Kind] = {"401": "refused", "403": "refused", "404": "missing"}
_END = re.compile(r"[\s.]+$")
_PREAMBLE = "Cannot solve the request because of: "


class Index:
    """The indexes of all channels that this process was asked about.

    There is one gateway, for all mirrors known so far: one for each set of them would hold a channel several times.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mirrors: dict[str, str] = {}
        self._gateway = Gateway(cache_dir=directory)
        self._generations: dict[str, int] = {}

    def gateway(self, mirrors: Mapping[str, str]) -> Gateway:
        """Return a gateway that asks these mirrors."""
        if any(self._mirrors.get(prefix) != mirror for prefix, mirror in mirrors.items()):
            self._mirrors |= mirrors
            client = Client([MirrorMiddleware({prefix: [url] for prefix, url in self._mirrors.items()})])
            self._gateway = Gateway(cache_dir=self._directory, client=client)
        return self._gateway

    def renew(self, gateway: Gateway, generations: Mapping[str, int]) -> None:
        """Drop from memory the indexes of channels of which they are an earlier generation."""
        for channel, generation in generations.items():
            if generation > self._generations.setdefault(channel, generation):
                gateway.clear_repodata_cache(channel)
                self._generations[channel] = generation

    async def packages(self, gateway: Gateway, urls: Iterable[str]) -> list[RepoDataRecord]:
        """Return the records of packages by their URLs, as far as their channels have them."""
        wanted = set(urls)
        names: dict[tuple[str, str], set[str]] = {}
        for url in wanted:
            channel, subdir, file = url.rsplit("/", 2)
            names.setdefault((channel, subdir), set()).add(file.rsplit("-", 2)[0])
        found: list[RepoDataRecord] = []
        for (channel, subdir), members in names.items():
            answer = await gateway.query([channel], [Subdir(subdir)], sorted(members), recursive=False)
            found += [record for records in answer for record in records if record.url in wanted]
        return found

    def failure(self, number: int, error: BaseException) -> Failed:
        """Return what an error of the library means, with the channels' own URLs in its text."""
        text = _END.sub("", self._official(str(error))).removeprefix(_PREAMBLE)
        match error:
            case SolverError() if "cancelled" in text:
                return Failed(number, "limit", "", text)
            case SolverError():
                return Failed(number, "unsolvable", "", text)
            case GatewayError():
                return Failed(number, _kind(text), _subject(text), text)
            case _:
                return Failed(number, "defect", "", f"{type(error).__name__}: {text}")

    def _official(self, text: str) -> str:
        for prefix, mirror in self._mirrors.items():
            text = text.replace(mirror, prefix)
        return text


_DIRECT = re.compile(r"[\[,]\s*url\s*=")


def parse_spec(text: str) -> MatchSpec | str:
    """Return a spec, read leniently as conda does, or why it is none."""
    try:
        spec = MatchSpec(text)
    except InvalidMatchSpecError as error:
        return str(error).partition("\n")[0]
    # The library would fetch and unpack it by itself. The doors let none through; this is the second lock.
    return "it names the URL of a package" if _DIRECT.search(str(spec)) else spec


def record_of(record: RepoDataRecord) -> Record:
    """Return a record of the library as the daemon takes it."""
    return Record(
        url=record.url,
        name=record.name.normalized,
        version=str(record.version),
        build=str(record.build),
        sha256=record.sha256.hex() if record.sha256 else None,
        md5=record.md5.hex() if record.md5 else None,
        size=record.size,
        depends=tuple(record.depends),
        license=record.license,
        site_packages=record.python_site_packages_path,
    )


def _kind(text: str) -> Kind:
    if _NO_SUBDIR.search(text):
        return "missing"
    status = _STATUS.search(text)
    if status is None:
        return "broken" if "parse" in text else "unreachable"
    return _KINDS.get(status[1], "unreachable")


def _subject(text: str) -> str:
    named = _NO_SUBDIR.search(text) or _URL.search(text)
    if named is None:
        return ""
    return (named[1] if named.re is _NO_SUBDIR else named[0]).rstrip("/")
