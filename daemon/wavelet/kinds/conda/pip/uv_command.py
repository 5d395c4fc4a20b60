"""The `uv` command: one resolution in a process of its own, with pip's configuration in its terms, and what it answers.

Logins go through its environment, never through its arguments. It knows nothing of the host but the time, installs
nothing, builds nothing (`--only-binary`), and reads neither its own configuration nor its users' cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uv

from wavelet.errors import UpstreamBroken, UpstreamUnreachable
from wavelet.kinds.conda.pip.pip_config import PipConfig

ANSWER_TIMEOUT = 30
"""Seconds that an index may be silent for."""

RETRIES = 2
"""Further attempts of one request to an index."""

OUTPUT_LIMIT = 256 * 1024
"""Bytes that are read of an explanation."""

_TEXT_LIMIT = 4000
_PASSED_ON = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "LANG")
_NOBODY_THERE = re.compile(r"connection refused|dns error|failed to lookup address|invalid peer certificate", re.I)
"""What uv says of an index that waiting does not bring back."""

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_LOGIN = re.compile(r"//[^/\s@]*@")
_USEFUL_HINT = re.compile("Wheels are available|401 Unauthorized|403 Forbidden")
_PREFIXES = re.compile(r"^\s*(?:error|warning|cause|hint):\s*|^\s+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be resolved.

    Attributes:
        requirements: PEP 508, normalised.
        python: full version, `3.11.9`.
        target: `x86_64-manylinux_2_28`.
        as_of: only files uploaded before this time (RFC 3339).
        constraints: file of constraints.
        excluded: file of names that nothing is installed for.
    """

    requirements: tuple[str, ...]
    python: str
    target: str
    as_of: str | None
    constraints: Path
    excluded: Path


class LockedFile(msgspec.Struct, frozen=True):
    """A file of a distribution; `url` may have a query and fragment, and a login."""

    url: str = ""
    hashes: Mapping[str, str] = msgspec.field(default_factory=dict)
    size: int | None = None


class LockedDistribution(msgspec.Struct, frozen=True):
    """A distribution; `archive` stands where the resolver was given a file of it."""

    name: str
    version: str = ""
    wheels: tuple[LockedFile, ...] = ()
    archive: object = None

    @property
    def is_given(self) -> bool:
        """Whether the resolver was given a file of it."""
        return self.archive is not None


class _PyLock(msgspec.Struct):
    packages: tuple[LockedDistribution, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """What uv answers: the packages of a `pylock.toml` (packaging specifications), or why there is no solution."""

    packages: tuple[LockedDistribution, ...] = ()
    explanation: str = ""


async def ask(question: Question, config: PipConfig, directory: Path, cache: Path, limit: float) -> Reply:
    """Resolve in `directory`, which is empty, with what earlier resolutions left in `cache`, within `limit` seconds.

    Raises:
        UpstreamUnreachable: an index does not answer, or not in time.
        UpstreamBroken: an index answers what cannot be used.
    """
    answer, errors = directory / "pylock.toml", directory / "errors.txt"
    requirements = directory / "requirements.in"
    await asyncio.to_thread(requirements.write_text, "".join(f"{line}\n" for line in question.requirements), "utf-8")
    environment = environment_of(config, os.environ, directory)
    arguments = _arguments(question, config, requirements, answer, cache)
    code = await _run(arguments, environment, directory, errors, limit)
    text = cleaned(await asyncio.to_thread(_read_start, errors), config, (directory, cache, Path.home()))
    if code == 0:
        return Reply(_packages(await asyncio.to_thread(answer.read_text, "utf-8")))
    if "No solution found" in text:
        return Reply(explanation=text)
    if "Failed to fetch" in text or "Request failed" in text:
        away = UpstreamUnreachable(f"a package index cannot be asked: {text}")
        away.passing = _NOBODY_THERE.search(text) is None
        raise away
    raise UpstreamBroken(f"the pip requirements cannot be resolved: {text or f'uv ends with {code} and no word'}")


def environment_of(config: PipConfig, own: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return uv's environment: pip's configuration, and of the daemon's `own` only what leads to servers (pure)."""
    environment = {name: own[name] for name in _PASSED_ON if name in own}
    environment |= {name: value for name, value in own.items() if name.lower() in _PROXIES}
    netrc = own.get("NETRC") or (f"{own['HOME']}/.netrc" if "HOME" in own else "")
    given = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "NO_COLOR": "1",
        "NETRC": netrc,
        "UV_HTTP_TIMEOUT": str(ANSWER_TIMEOUT),
        "UV_HTTP_RETRIES": str(RETRIES),
        "UV_SYSTEM_CERTS": "" if config.certificates else "true",
        "SSL_CERT_FILE": config.certificates or environment.get("SSL_CERT_FILE", ""),
        "SSL_CLIENT_CERT": config.client_certificate,
        "ALL_PROXY": config.proxy or environment.get("ALL_PROXY", ""),
        "UV_DEFAULT_INDEX": config.index,
        "UV_INDEX": " ".join(config.more_indexes),
        "UV_FIND_LINKS": ",".join(_find_link(link) for link in config.find_links),
        "UV_INSECURE_HOST": " ".join(config.trusted_hosts),
    }
    return environment | {name: value for name, value in given.items() if value}


def without_logins(text: str) -> str:
    """Return text whose URLs have no logins."""
    return _LOGIN.sub("//", text)


def cleaned(text: str, config: PipConfig, paths: tuple[Path, ...]) -> str:
    """Return an explanation as users may read it: no logins, no paths of this machine, no advice on uv's options."""
    text = without_logins(text)
    for secret in config.secrets:
        text = text.replace(secret, "…")
    for path in paths:
        text = text.replace(f"file://{path}", "…").replace(str(path), "…")
    paragraphs = [
        part for part in text.split("\n\n") if not part.lstrip().startswith("hint:") or _USEFUL_HINT.search(part)
    ]
    lines = [
        line for line in "\n".join(paragraphs).splitlines() if not line.startswith("warning: The requested Python")
    ]
    words = _PREFIXES.sub("", "\n".join(lines)).strip()
    return words if len(words) <= _TEXT_LIMIT else words[: _TEXT_LIMIT - 1] + "…"


def _find_link(link: str) -> str:
    """Return a directory or URL for a list with commas between."""
    return (link if "://" in link else Path(link).as_uri()).replace(",", "%2C")


def _arguments(question: Question, config: PipConfig, requirements: Path, answer: Path, cache: Path) -> list[str]:
    return [
        uv.find_uv_bin(), "pip", "compile", str(requirements),
        "--output-file", str(answer), "--format", "pylock.toml", "--no-header", "--quiet",
        "--only-binary", ":all:", "--python", sys.executable, "--no-python-downloads", "--no-config",
        "--python-version", question.python, "--python-platform", question.target,
        "--constraints", str(question.constraints), "--excludes", str(question.excluded),
        "--cache-dir", str(cache),
        *(["--exclude-newer", question.as_of] if question.as_of else []),
        *(["--no-index"] if config.no_index else []),
    ]  # fmt: skip


async def _run(arguments: list[str], environment: dict[str, str], directory: Path, errors: Path, limit: float) -> int:
    """Run a command in a session of its own, and return its exit code; it and its children end with the wait for it."""
    with await asyncio.to_thread(errors.open, "wb") as stream:
        process = await asyncio.create_subprocess_exec(
            *arguments, env=environment, cwd=directory, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stream,
        )  # fmt: skip
    try:
        async with asyncio.timeout(limit):
            return await process.wait()
    except TimeoutError:
        raise UpstreamUnreachable(
            f"the pip requirements are not resolved within {limit:g} s; a package index may be slow"
        ) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _read_start(path: Path) -> str:
    with path.open("rb") as stream:
        return stream.read(OUTPUT_LIMIT).decode("utf-8", "replace")


def _packages(text: str) -> tuple[LockedDistribution, ...]:
    return msgspec.convert(tomllib.loads(text), _PyLock).packages
