"""The audit log: who was given or refused what, and who changed what; a line of JSON for each decision.

A decision that repeats one of the last minute (the same caller, name, answer) is not written again: an engine asks for
a manifest several times in a pull. Nothing waits for the file: a thread writes it, and where that does not keep up,
lines are dropped and counted. A file of `SIZE` makes place for a new one, and so does one that somebody moves away. No
secret comes here, and queries of URLs are left out.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

import msgspec
import structlog
from cachetools import TTLCache
from prometheus_client import Counter

from wavelet.config import ConfigError, Settings
from wavelet.errors import CallerError, WaveletError
from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import Node, layers, repositories
from wavelet.plan.tokens import Principal

FILE = "audit.log"
OFF = "off"

SIZE = 32 * 1024 * 1024
"""Bytes of the file, above which it becomes the older one; there are `OLDER` of these."""

OLDER = 4

WAITING = 10_000
"""Lines that wait to be written; more are dropped."""

REPEATED = 60.0
"""Seconds within which a decision that repeats one is not written."""

TEXT_LIMIT = 500
"""Characters of a name or a reason."""

_REMEMBERED = 4096
_BATCH = 500
_CLOSE_WAIT = 5.0

LINES = Counter("wavelet_audit_lines_total", "Lines of the audit log: `written`, or `dropped`.", ["outcome"])

_QUERY = re.compile(r"(https?://[^\s?#'\"`]*)[?#][^\s'\"`]*")

Decision = Literal[
    "granted", "pending", "refused", "failed", "mirrored", "pushed", "deleted", "evicted", "login", "logout", "reload"
]
"""`pending`: a request is kept, and its upstream has not answered yet; `failed`: it is not the caller's fault."""

_REPEATING = frozenset[Decision]({"granted", "pending", "refused", "failed"})

_SAID = frozenset[Decision]({"refused", "failed"})

log = structlog.get_logger()


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision as it is written.

    Attributes:
        time: RFC 3339, in UTC.
        door: by which it was asked: `v1`, `v1alpha2` (Wave's API), `registry`, `sif`, `grpc`; empty: the daemon itself.
        uid: the caller's; None: nobody in particular.
        principal: for whom it was decided: an engine pulls for the owner of a name; `anonymous`: for everybody.
        name: the name that was asked for or given, without the authority.
        plan: the key of the plan.
        digest: what was answered.
        upstreams: hosts that the content comes from or goes to, or that a login is for.
        reason: why it was refused; for `reload`, what has changed.
        rules: names of the site's rules that were applied.
    """

    time: str
    decision: Decision
    door: str = ""
    uid: int | None = None
    principal: str = ""
    name: str = ""
    plan: str = ""
    digest: str = ""
    upstreams: tuple[str, ...] = ()
    reason: str = ""
    rules: tuple[str, ...] = ()


class Audit:
    """Takes decisions. For the event loop's thread; `note` never waits and never raises."""

    def __init__(self, path: Path | None) -> None:
        """Open the file; without a path nothing is written. Blocking: for the start.

        Raises:
            ConfigError: the file cannot be opened.
        """
        self._noted: TTLCache[tuple[object, ...], None] = TTLCache(_REMEMBERED, REPEATED)
        self._file = None if path is None else _File(path)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the audit log of a daemon with these settings."""
        return cls(path_of(settings))

    def note(
        self,
        decision: Decision,
        *,
        door: str = "",
        uid: int | None = None,
        principal: Principal | None = None,
        name: str = "",
        plan: Node | None = None,
        digest: str = "",
        upstreams: tuple[str, ...] = (),
        reason: str = "",
        rules: tuple[str, ...] = (),
    ) -> None:
        """Write a decision down. See `Line`; the plan's upstreams are added to `upstreams`.

        What is refused at a door, or fails, is said in the daemon's own log as well, whether or not there is an audit
        log; of what is the daemon's own doing, a reload, the log has its line already.
        """
        says = decision in _SAID and bool(door)
        if self._file is None and not says:
            return
        # Cut off first: what is remembered is bounded so, and what a caller sends may have megabytes.
        name, reason = _shown(name), without_queries(_shown(reason))
        if decision in _REPEATING and self._is_repeated((decision, door, uid, principal, name, digest, reason)):
            return
        if says:
            log.info(decision, door=door, uid=uid, name=name, reason=reason)
        if self._file is None:
            return
        hosts = {*upstreams, *(() if plan is None else hosts_of(plan))}
        self._file.add(
            Line(
                time=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                decision=decision,
                door=door,
                uid=uid,
                principal="" if principal is None else str(principal),
                name=name,
                plan="" if plan is None else key_of(plan),
                digest=digest,
                upstreams=tuple(sorted(hosts)),
                reason=reason,
                rules=rules,
            )
        )

    def _is_repeated(self, key: tuple[object, ...]) -> bool:
        if key in self._noted:
            return True
        self._noted[key] = None
        return False

    @contextlib.contextmanager
    def refusals(self, *, door: str, uid: int | None, name: str, plan: Node | None = None) -> Iterator[None]:
        """Write down what is refused, or fails, within the context."""
        try:
            yield
        except WaveletError as error:
            self.note(decision_of(error), door=door, uid=uid, name=name, plan=plan, reason=error.message)
            raise

    def close(self) -> None:
        """Write what waits, within seconds. Blocking."""
        if self._file is not None:
            self._file.close()


def path_of(settings: Settings) -> Path | None:
    """Return where the audit log is; None: there is none."""
    if settings.audit_log == OFF:
        return None
    if settings.audit_log:
        return Path(settings.audit_log).expanduser().absolute()
    return settings.state_directory / FILE if os.geteuid() == 0 else None


def decision_of(error: WaveletError) -> Decision:
    """Return what an error decides."""
    return "refused" if isinstance(error, CallerError) else "failed"


def hosts_of(plan: Node) -> Iterator[str]:
    """Yield the hosts that a plan names: of its images, and of layers that have a URL."""
    yield from (repository.host for repository in repositories(plan))
    for layer in layers(plan):
        with contextlib.suppress(ValueError):
            if host := urlsplit(layer.location).hostname:
                yield host


def without_queries(text: str) -> str:
    """Return text whose URLs have no query: it can hold a signature."""
    return _QUERY.sub(r"\1", text)


def _shown(text: str) -> str:
    return text[:TEXT_LIMIT].encode(errors="replace").decode()


class _File:
    """The file, and the thread that writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: queue.Queue[Line | None] = queue.Queue(WAITING)
        self._failing = False
        try:
            self._descriptor = _open(path)
        except OSError as error:
            message = f"audit_log: {path} cannot be written: {error.strerror}; name another file, or say `{OFF}`"
            raise ConfigError(message, field="audit_log") from None
        for outcome in ("written", "dropped"):
            LINES.labels(outcome)
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def add(self, line: Line) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            LINES.labels("dropped").inc()

    def close(self) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_CLOSE_WAIT)
        self._thread.join(_CLOSE_WAIT)

    # Below, all runs in the thread.

    def _run(self) -> None:
        running = True
        while running:
            batch = [self._lines.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _BATCH:
                    batch.append(self._lines.get_nowait())
            running = None not in batch
            if lines := [line for line in batch if line is not None]:
                self._write(lines)
        os.close(self._descriptor)

    def _write(self, lines: list[Line]) -> None:
        data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        try:
            self._renew()
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            LINES.labels("dropped").inc(len(lines))
            if not self._failing:
                log.warning("the audit log cannot be written", file=str(self._path), because=error.strerror)
            self._failing = True
        else:
            LINES.labels("written").inc(len(lines))
            self._failing = False

    def _renew(self) -> None:
        """Open the file again if it was moved away; move it away if it is large."""
        held = os.fstat(self._descriptor)
        try:
            there = self._path.lstat()
        except FileNotFoundError:
            is_same = False
        else:
            is_same = (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
        if is_same and held.st_size < SIZE:
            return
        if is_same:
            for number in range(OLDER - 1, 0, -1):
                with contextlib.suppress(FileNotFoundError):
                    self._older(number).replace(self._older(number + 1))
            self._path.replace(self._older(1))
        opened = _open(self._path)
        os.close(self._descriptor)
        self._descriptor = opened

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _open(path: Path) -> int:
    """Open a plain file to append to, made for its owner alone."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(0, "it is no plain file", str(path))
