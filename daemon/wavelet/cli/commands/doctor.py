"""`wavelet doctor`: what is wrong on this machine, and the command that mends it.

Facts are gathered by threads side by side, each bounded; judging them is pure (`doctor/checks.py`).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import yaml

from wavelet.cli.argument_types import port
from wavelet.cli.doctor import checks, engines, facts, interception, site
from wavelet.cli.doctor.checks import Finding
from wavelet.cli.user_daemon.daemon import STATE, DaemonLocation, location_of
from wavelet.config import ConfigError, Settings, Source
from wavelet.daemon_status import DaemonStatus
from wavelet.errors import WaveletError
from wavelet.image.reference import Reference, normalise
from wavelet.kinds.conda.channels import site_files as channel_site
from wavelet.logs import setup_logging
from wavelet.paths import SOCKET_VARIABLE, find_socket
from wavelet.upstream.endpoints import address_of, fixed_scheme, mirrors_of, settings_for

GATHER_LIMIT = 15.0
"""Seconds after which what has not answered is reported as such: a name server may hang, or a file system."""

T = TypeVar("T")

_MARKS = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="the daemon's file of settings")
    parser.add_argument("--port", type=port, metavar="PORT", help="port of this user's own daemon (from the uid)")
    parser.add_argument("--directory", metavar="DIR", help="directory of this user's own daemon (/tmp/wavelet-UID)")
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text", help="form of the report")


def run(options: argparse.Namespace) -> int:
    """Print the report; 1 if there is a problem.

    Raises:
        NotStarted: the environment names a port that is none.
    """
    findings: list[Finding] = []
    try:
        settings = Source(options.config, os.environ, {}).read()
    except ConfigError as error:
        findings.append(Finding("settings", "problem", error.message, "wavelet config check"))
        settings = Settings()
    setup_logging(settings.log_format, "warning")  # standard output is the report's
    findings += examine(location_of(os.environ, options.directory, options.port), settings, str(options.config or ""))
    sys.stdout.write(_written(findings, options.output))
    return int(any(finding.level == "problem" for finding in findings))


def examine(location: DaemonLocation, settings: Settings, config: str = "") -> list[Finding]:
    """Return what there is to say, a check after the other. Blocks, for some seconds at the most.

    Args:
        location: of this user's own daemon.
        settings: of the daemon.
        config: the file that they are from, if it was named; commands in what is said name it too.
    """
    daemon = facts.daemon(location, facts.node_address(settings), os.environ)
    status = daemon.status
    authority = status["authority"] if status else settings.name_authority
    state = Path(status["state"]) if status else _state_directory(location, settings)
    environment = dict(os.environ)
    pid = int(status["pid"]) if status else None
    is_own = status is not None and status["address"] == location.address and SOCKET_VARIABLE not in environment
    path = location.socket if is_own else find_socket(environment)
    questions: dict[str, Callable[[], Iterator[Finding]]] = {
        "socket": lambda: checks.socket(facts.socket(path)),
        "disk": lambda: checks.disk(facts.disk(state)),
        "records": lambda: checks.shared("records", "records.directory", facts.shared(_records(status, settings))),
        "sif files": lambda: checks.shared("sif files", "sif.directory", _sif_files(status, settings, location)),
        "sif codec": lambda: checks.codec(settings.sif.codec, os.uname().release),
        "rules": lambda: checks.rules(site.rules_of(status, settings), config),
        "packs": lambda: checks.packs(site.packs_of(status, settings)),
        "engines": lambda: _engines(environment, authority),
        "credentials": lambda: checks.credentials(facts.credentials(environment)),
        "jobs": lambda: checks.jobs(facts.jobs(pid, environment, location.uid)),
        "upstream": lambda: checks.servers(_servers(settings)),
    }
    answers = _side_by_side(list(questions.values()), GATHER_LIMIT)
    findings = list(checks.daemon(daemon))
    for name, found in zip(questions, answers, strict=True):
        findings += [Finding(name, "warning", str(found))] if isinstance(found, Exception) else found
    return findings


def _engines(environment: Mapping[str, str], authority: str) -> Iterator[Finding]:
    seen = engines.engines(environment, authority)
    yield from checks.engines(seen)
    yield from checks.interception(interception.interception(environment, authority, seen.docker), authority)


def _state_directory(location: DaemonLocation, settings: Settings) -> Path:
    return settings.state_directory if settings.state or location.uid == 0 else Path(location.inside(STATE))


def _records(status: DaemonStatus | None, settings: Settings) -> str:
    return status.get("records", "") if status else settings.records.directory


def _sif_files(
    status: DaemonStatus | None, settings: Settings, location: DaemonLocation
) -> facts.SharedDirectory | None:
    """Look at the directory of SIF files: users of another's daemon only run what is in it."""
    own = status is None or location.uid in (0, status["uid"])
    return facts.shared(settings.sif.directory, writes=own)


def _servers(settings: Settings) -> list[facts.Server]:
    targets = list(dict.fromkeys(_targets(settings)))
    asked = _side_by_side(
        [functools.partial(facts.server, each.name, each.url, each.ca_file) for each in targets],
        2 * facts.ANSWER_LIMIT,
    )
    servers = [
        facts.Server(each.name, each.url, error=str(seen)) if isinstance(seen, Exception) else seen
        for each, seen in zip(targets, asked, strict=True)
    ]
    answering = {each.mirrors for each, server in zip(targets, servers, strict=True) if not server.error} - {""}
    return [
        dataclasses.replace(server, mirrored=each.name in answering)
        for each, server in zip(targets, servers, strict=True)
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class _Target:
    """A server to ask; `mirrors` is the name of the one that it stands in for, if it is a mirror."""

    name: str
    url: str
    ca_file: str = ""
    mirrors: str = ""


def _targets(settings: Settings) -> Iterator[_Target]:
    """Yield each server that the settings name or the defaults need; none that is not asked for its mirrors."""
    upstream = settings.upstream
    hosts = [Reference.parse(settings.conda.base_image).repository.host]
    hosts += [normalise(alias.instead.partition("/")[0], "a/b")[0] for alias in upstream.aliases]
    hosts += [normalise(host, "a/b")[0] for host in upstream.registries]
    for host in dict.fromkeys(hosts):
        registry, mirrors = settings_for(settings, host), mirrors_of(settings, host)
        for mirror in mirrors:
            ca_file = settings_for(settings, mirror.host).ca_file
            yield _Target(f"{mirror.host} (mirror of {host})", f"{mirror.base}/v2/", ca_file, f"registry {host}")
        if not (mirrors and upstream.mirrors_only):
            own = address_of(host, fixed_scheme(registry, host) or "http")
            yield _Target(f"registry {host}", f"{own.base}/v2/", registry.ca_file)
    names = channel_site.load(settings.conda, os.environ, (), alone=True).names
    for url in names.resolve(settings.conda.channels).urls:
        others = [each for each in names.mirrors_of(url) if each.startswith(("http:", "https:"))]
        for each in others:
            yield _Target(f"channel {each}", _index_of(each), mirrors=f"channel {url}")
        if url.startswith(("http:", "https:")) and not (names.mirrors_of(url) and upstream.mirrors_only):
            yield _Target(f"channel {url}", _index_of(url))


def _index_of(channel: str) -> str:
    return f"{channel}/noarch/repodata_shards.msgpack.zst"


def _side_by_side(gather: Sequence[Callable[[], T]], limit: float) -> list[T | Exception]:
    """Return the result of each function, or the error in its place; TimeoutError where it does not return in time."""
    results: list[T | Exception] = [TimeoutError(f"no answer within {limit:.0f} s")] * len(gather)

    def call(number: int, function: Callable[[], T]) -> None:
        try:
            results[number] = function()
        except (OSError, ValueError, WaveletError) as error:
            results[number] = error

    # Threads that end with the process: a name server that hangs must not hold up the report.
    threads = [threading.Thread(target=call, args=each, daemon=True) for each in enumerate(gather)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + limit
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return list(results)


def _written(findings: Sequence[Finding], form: str) -> str:
    listed = [dataclasses.asdict(finding) for finding in findings]
    if form == "json":
        return json.dumps(listed, indent=2) + "\n"
    if form == "yaml":
        return str(yaml.safe_dump(listed, sort_keys=False, allow_unicode=True))
    lines = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.level]:8} {finding.check}: {finding.message}")
        if finding.remedy:
            lines.append(f"{'':8} -> {finding.remedy}")
    return "\n".join(lines) + "\n"
