"""Each error: its `reason`, HTTP status, code of the registry API, gRPC status code, and its name in kept rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.rpc import error_details_pb2, status_pb2

from documented.wire import golden, import_everything
from wavelet.errors import WaveletError
from wavelet.front.grpc.errors import ending
from wavelet.requests.history import Why

import_everything()


def _tree(root: type[WaveletError]) -> Iterator[type[WaveletError]]:
    yield root
    for each in root.__subclasses__():
        if each.__module__.startswith("wavelet."):
            yield from _tree(each)


KINDS = list(_tree(WaveletError))
GOLDEN = golden("errors")


def _made(kind: type[WaveletError]) -> WaveletError:
    error = kind.__new__(kind)
    WaveletError.__init__(error, "why")
    return error


def _as_seen(error: WaveletError) -> dict[str, object]:
    """Return what others see of an error, taken from what is sent and kept."""
    code, _, ((_, details),) = ending(error)
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    return {
        "reason": info.reason,
        "fault": info.metadata["fault"],
        "grpc": code.name,
        "http": error.status,
        "registry": error.code,
        "kept": Why.of(error).kind,
    }


def test_all_errors() -> None:
    seen = [_as_seen(_made(kind)) for kind in KINDS]
    assert sorted(seen, key=lambda each: str(each["reason"])) == GOLDEN


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.reason)
def test_an_error_has_a_reason_of_its_own(kind: type[WaveletError]) -> None:
    assert "reason" in vars(kind)
    assert [each for each in KINDS if each.reason == kind.reason] == [kind]


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["reason"])
def test_a_kept_error_is_read(row: dict[str, str]) -> None:
    assert Why(row["kept"], "why").error.reason == row["reason"]
