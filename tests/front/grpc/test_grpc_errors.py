"""From the tree of errors to `google.rpc.Status`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from wavelet import errors
from wavelet.config import ConfigError
from wavelet.errors import WaveletError
from wavelet.front.grpc.errors import MESSAGE_LIMIT, code_of, ending

CODES: dict[Callable[[str], WaveletError], grpc.StatusCode] = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.DigestMismatch: grpc.StatusCode.INVALID_ARGUMENT,
    errors.TooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ImageNotFound: grpc.StatusCode.NOT_FOUND,
    errors.AccessRefused: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotServed: grpc.StatusCode.UNIMPLEMENTED,
    errors.UpstreamUnreachable: grpc.StatusCode.UNAVAILABLE,
    errors.UpstreamBusy: grpc.StatusCode.UNAVAILABLE,
    errors.NoSpace: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Stopping: grpc.StatusCode.UNAVAILABLE,
    errors.WaitExpired: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Internal: grpc.StatusCode.INTERNAL,
    ConfigError: grpc.StatusCode.FAILED_PRECONDITION,
}


def details_of(error: WaveletError) -> tuple[status_pb2.Status, dict[str, object]]:
    """Return the status that an error ends with, and its details by name."""
    code, text, metadata = ending(error)
    status = status_pb2.Status.FromString(metadata[0][1])
    assert (status.code, status.message) == (code.value[0], text)
    found: dict[str, object] = {}
    for packed in status.details:
        kind = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])
        message = kind()
        assert packed.Unpack(message)
        found[kind.DESCRIPTOR.name] = message
    return status, found


@pytest.mark.parametrize(("kind", "code"), CODES.items(), ids=lambda value: getattr(value, "__name__", str(value)))
def test_codes(kind: Callable[[str], WaveletError], code: grpc.StatusCode) -> None:
    assert code_of(kind("why")) is code


def every_error(kind: type[WaveletError] = WaveletError) -> Iterator[type[WaveletError]]:
    for each in kind.__subclasses__():
        yield each
        yield from every_error(each)


@pytest.mark.parametrize("kind", list(every_error()), ids=lambda kind: kind.__name__)
def test_only_our_own_faults_are_internal(kind: type[WaveletError]) -> None:
    error = kind.__new__(kind)
    WaveletError.__init__(error, "why")
    if error.fault is not errors.Fault.OURS:
        assert code_of(error) is not grpc.StatusCode.INTERNAL


def test_details_say_whose_fault_which_field_and_when_to_ask_again() -> None:
    error = errors.UpstreamBusy("not now", field="containerIncludes[0]", retry_after=1.5)
    _, found = details_of(error)
    info = found["ErrorInfo"]
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (info.domain, info.reason, dict(info.metadata)) == ("wavelet", "UPSTREAM_BUSY", {"fault": "upstream"})
    bad, retry = found["BadRequest"], found["RetryInfo"]
    assert isinstance(bad, error_details_pb2.BadRequest)
    assert [violation.field for violation in bad.field_violations] == ["containerIncludes[0]"]
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == 1500


@pytest.mark.parametrize("text", ["é" * 100_000, "x" * 100_000, "\ud800 and more"])
def test_a_long_or_broken_text_is_cut_to_what_metadata_takes(text: str) -> None:
    status, found = details_of(errors.Unsolvable(text, field="f" * 5000))
    assert len(status.message.encode()) <= MESSAGE_LIMIT + 3
    assert len(status.SerializeToString()) < MESSAGE_LIMIT + 500
    assert "RetryInfo" not in found
