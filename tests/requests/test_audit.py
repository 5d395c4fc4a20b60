"""The audit log: what a line says and does not say, that nobody waits for it, and that files make place."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog.testing
from prometheus_client import REGISTRY

from wavelet.config import ConfigError, Settings
from wavelet.errors import AccessRefused, UpstreamUnreachable
from wavelet.image.reference import Digest, Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import ContainerConfig, Layer
from wavelet.plan.tokens import Principal
from wavelet.requests import audit as module
from wavelet.requests.audit import Audit, path_of, without_queries

DIGEST = Digest.of(b"x")
LAYER = Layer(DIGEST, 1, DIGEST, "https://user:pw@bucket.example:8443/layer?X-Signature=my-secret")
PLAN = AugmentedImage(RegistryImage(Reference.parse("quay.io/org/tool:1")), ContainerConfig(layers=(LAYER,)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], Audit]]:
    with ExitStack() as stack:

        def make() -> Audit:
            made = Audit(path)
            stack.callback(made.close)
            return made

        yield make


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def count(outcome: str) -> float:
    return REGISTRY.get_sample_value("wavelet_audit_lines_total", {"outcome": outcome}) or 0.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_line(path: Path, opened: Callable[[], Audit]) -> None:
    audit = opened()
    audit.note(
        "granted",
        door="registry",
        uid=0,
        principal=Principal(1001),
        name="wt/0/org/tool",
        plan=PLAN,
        digest=str(DIGEST),
        upstreams=("mirror.example",),
    )
    audit.note("reload", reason="upstream.tag_ttl")
    audit.close()
    line, reload = lines(path)
    assert abs(datetime.fromisoformat(line.pop("time")).timestamp() - time.time()) < 5
    assert line == {
        "decision": "granted",
        "door": "registry",
        "uid": 0,
        "principal": "uid:1001",
        "name": "wt/0/org/tool",
        "plan": key_of(PLAN),
        "digest": str(DIGEST),
        "upstreams": ["bucket.example", "mirror.example", "quay.io"],
    }
    assert reload.keys() == {"time", "decision", "reason"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_refusals_and_failures(path: Path, opened: Callable[[], Audit]) -> None:
    audit = opened()
    for error in (AccessRefused("see https://x.example/a?token=my-secret#f for why"), UpstreamUnreachable("no answer")):
        with pytest.raises(type(error)), audit.refusals(door="v1", uid=7, name="a\udc80b" + "c" * 1000):
            raise error
    audit.close()
    refused, failed = lines(path)
    assert (refused["decision"], refused["reason"]) == ("refused", "see https://x.example/a for why")
    assert (failed["decision"], failed["uid"], len(failed["name"])) == ("failed", 7, module.TEXT_LIMIT)
    assert "my-secret" not in path.read_text()


@pytest.mark.parametrize("file", [True, False])
def test_what_is_refused_is_said_in_the_log_once(path: Path, file: bool) -> None:
    """Fault D14: one line at info, whether or not there is an audit log; nothing secret in it."""
    audit = Audit(path if file else None)
    with structlog.testing.capture_logs() as said:
        for _ in range(3):
            audit.note("refused", door="v1alpha2", uid=7, name="wt/0/org/tool", reason="at https://x.example/a?token=s")
        audit.note("granted", door="v1alpha2", uid=7, name="wt/0/org/tool")
    audit.close()
    [line] = said
    assert line == {
        "event": "refused",
        "log_level": "info",
        "door": "v1alpha2",
        "uid": 7,
        "name": "wt/0/org/tool",
        "reason": "at https://x.example/a",
    }


def test_a_reload_that_is_refused_is_not_said_by_the_audit_too(path: Path) -> None:
    """The reload has its line in the log; there was another one with an empty door and name."""
    audit = Audit(path)
    with structlog.testing.capture_logs() as said:
        audit.note("refused", reason="listen needs a restart of wavelet")
    audit.close()
    assert said == []
    assert lines(path)[0]["reason"] == "listen needs a restart of wavelet"


def test_queries_are_left_out() -> None:
    assert without_queries("from 'https://a/b?c=d' and http://e/f, what?") == "from 'https://a/b' and http://e/f, what?"


def test_what_repeats_is_written_once(path: Path, opened: Callable[[], Audit], monkeypatch: pytest.MonkeyPatch) -> None:
    audit = opened()
    for _ in range(3):
        for uid in (1, 2):
            audit.note("granted", door="registry", uid=uid, name="a", digest="d")
        audit.note("refused", door="registry", uid=1, name="a")
        audit.note("evicted", door="v1", uid=1, name="a")
    monkeypatch.setattr(module, "REPEATED", 0.0)
    audit._noted.clear()
    audit.note("granted", door="registry", uid=1, name="a", digest="d")
    audit.close()
    assert len(lines(path)) == 3 + 3 + 1


def test_nobody_waits_and_drops_are_counted(
    path: Path, opened: Callable[[], Audit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING", 10)
    held = threading.Event()
    write = module._File._write

    def slow(self: module._File, batch: list[module.Line]) -> None:
        held.wait(30)
        write(self, batch)

    monkeypatch.setattr(module._File, "_write", slow)
    audit, dropped, written = opened(), count("dropped"), count("written")
    began = time.monotonic()
    for number in range(100):
        audit.note("login", uid=number)
    assert time.monotonic() - began < 5
    held.set()
    audit.close()
    assert count("dropped") - dropped == 100 - len(lines(path)) >= 80
    assert count("written") - written == len(lines(path))


def test_a_file_that_is_moved_away(path: Path, opened: Callable[[], Audit]) -> None:
    audit = opened()
    audit.note("login", uid=1)
    until(lambda: path.stat().st_size > 0)
    path.rename(path.with_name("moved"))
    audit.note("login", uid=2)
    audit.close()
    assert [each["uid"] for each in lines(path)] == [2]
    assert [each["uid"] for each in lines(path.with_name("moved"))] == [1]


def test_large_files_make_place(path: Path, opened: Callable[[], Audit], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIZE", 100)
    audit = opened()
    for number in range(20):
        size = count("written")
        audit.note("login", uid=number, door="d" * 80)
        until(lambda size=size: count("written") > size)
    audit.close()
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "audit.log",
        *(f"audit.log.{n}" for n in range(1, 5)),
    ]
    assert lines(path)[-1]["uid"] == 19
    assert lines(path.with_name("audit.log.4"))[-1]["uid"] == 15


def test_a_disk_that_is_full(path: Path, opened: Callable[[], Audit], monkeypatch: pytest.MonkeyPatch) -> None:
    audit, dropped = opened(), count("dropped")
    write = os.write
    monkeypatch.setattr(module.os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    audit.note("login", uid=1)
    until(lambda: count("dropped") > dropped)
    monkeypatch.setattr(module.os, "write", write)
    audit.note("login", uid=2)
    audit.close()
    assert [each["uid"] for each in lines(path)] == [2]


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(**members: str) -> Settings:
        return msgspec.convert({"state": str(tmp_path), **members}, Settings)

    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    assert path_of(settings()) == tmp_path / "audit.log"
    assert path_of(settings(audit_log="off")) is None
    assert path_of(settings(audit_log=str(tmp_path / "x"))) == tmp_path / "x"
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    assert path_of(settings()) is None
    Audit(None).note("login", uid=1)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "none/audit.log", "."):
        with pytest.raises(ConfigError, match="audit_log") as caught:
            Audit(tmp_path / name)
        assert caught.value.field == "audit_log"
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_remembered_of_a_caller_is_bounded() -> None:
    """Fault D14: names and reasons are of callers, who may send megabytes with each of thousands of requests."""
    audit = Audit(None)
    tracemalloc.start()
    try:
        for number in range(20):
            audit.note(
                "refused", door="v1", name=f"{number:08}" + "x" * 1_000_000, reason=f"{number}" + "y" * 1_000_000
            )
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000


def test_a_long_reason_is_read_in_no_time() -> None:
    """Fault D14: to look for the end of a URL at each beginning of one takes the square of their number."""
    with structlog.testing.capture_logs() as said:
        Audit(None).note("refused", door="v1", reason="http://" * 200_000)
    assert len(said[0]["reason"]) <= module.TEXT_LIMIT
