"""What watchers are told: all from the start, progress as it is now, every line once, shared work in both."""

from __future__ import annotations

from wavelet.image.reference import Digest
from wavelet.resolve.events import (
    Account,
    BytesDone,
    BytesSent,
    Download,
    LogLine,
    PackagesDone,
    PhaseBegan,
    Upload,
    View,
)

A, B = Digest.of(b"a"), Digest.of(b"b")


def test_a_view_tells_only_what_is_new_to_it() -> None:
    account, lines = Account(), ["one\n"]
    early = View(account)
    assert list(early.news()) == []
    account.begin("pinning")
    account.begin("pinning")
    account.log(lines)
    assert list(early.news()) == [PhaseBegan("pinning"), LogLine("one")]
    lines += ["two\n", "three\n"]
    account.begin("making")
    account.want({A.hex: 10, B.hex: 20})
    account.ready(A.hex)
    assert list(early.news()) == [
        PhaseBegan("making"),
        LogLine("two"),
        LogLine("three"),
        PackagesDone(1, 2),
        BytesDone(0, 20),
    ]
    assert list(early.news()) == []
    late = [*View(account).news()]
    assert late[:2] == [PhaseBegan("pinning"), PhaseBegan("making")]
    assert [each.text for each in late if isinstance(each, LogLine)] == ["one", "two", "three"]
    assert late[-2:] == [PackagesDone(1, 2), BytesDone(0, 20)]


def test_a_slow_watcher_gets_the_latest_progress_only() -> None:
    account, download = Account(), Download(1000)
    account.take_in(download)
    view = View(account)
    for download.received in range(0, 900, 100):
        pass
    assert list(view.news()) == [BytesDone(800, 1000)]


def test_shared_work_is_in_both_and_counts_once() -> None:
    shared, one, other = Account(), Account(), Account()
    left, right = Account(), Account()
    for part in (left, right):
        one.join(part)
        part.join(shared)
    other.join(shared)
    shared.take_in(Download(50, 30))
    shared.begin("solving")
    for account in (one, other):
        assert list(View(account).news()) == [PhaseBegan("solving"), BytesDone(30, 50)]


def test_bytes_are_what_is_known_of_them() -> None:
    account = Account()
    begun, unknown, failed = Download(100, 40, A), Download(None, 7), Download(500, 5, failed=True)
    for each in (begun, unknown, failed):
        account.take_in(each)
    account.want({A.hex: 100, B.hex: 60})
    assert [*View(account).news()][-1] == BytesDone(52, 172)
    account.ready(B.hex)  # its layer was there: nothing of it has to come
    assert [*View(account).news()][-1] == BytesDone(52, 112)


def test_what_is_sent_counts_apart_from_what_comes() -> None:
    account, part = Account(), Account()
    account.join(part)
    view = View(account)
    sending = Upload()
    part.send(sending)
    assert list(view.news()) == []
    sending.size, sending.sent = 100, 40
    assert list(view.news()) == [BytesSent(40, 100)]
    assert list(view.news()) == []
