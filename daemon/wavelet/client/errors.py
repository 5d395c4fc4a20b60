"""The errors that a call can end with, and how they are read from its status."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol, get_args

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

Fault = Literal["caller", "upstream", "wavelet"]
"""Who has to act to make an error go away."""

_DETAILS_KEY = "grpc-status-details-bin"
"""Where gRPC carries a `google.rpc.Status`, in the metadata behind an answer."""

_CALLERS_CODES = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""Codes that say by themselves that the call has to change."""


class WaveletRpcError(Exception):
    """A call has failed; the message says what happened and what to do.

    Attributes:
        code: the status code of the call.
        message: the sentence for people, which is also the text of the exception.
        fault: who has to act: `caller`, `upstream` (a registry or channel), or `wavelet`.
        reason: what programs know the error by, e.g. `IMAGE_NOT_FOUND`; empty if the daemon has not said it.
        field: the member of the request at fault, in its JSON form, e.g. `packages.entries[0]`; empty if there is none.
        retry_after: seconds after which asking again makes sense; None if that is not known.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        fault: Fault | None = None,
        reason: str = "",
        field: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fault: Fault = fault or ("caller" if code in _CALLERS_CODES else "wavelet")
        self.reason = reason
        self.field = field
        self.retry_after = retry_after


class NoDaemon(WaveletRpcError):
    """There is no daemon where one was looked for, or it cannot be reached from here."""


class Ended(Protocol):
    """The end of a call, as grpc's errors have it, of both kinds."""

    def code(self) -> grpc.StatusCode:
        """Return the status code."""

    def details(self) -> str | None:
        """Return the status message."""

    def trailing_metadata(self) -> Iterable[object] | None:
        """Return the metadata behind the answer, pairs of name and value; None if there is none."""


def read_error(ended: Ended) -> WaveletRpcError | None:
    """Return the error that the daemon has answered with; None if the status is not one of wavelet's."""
    for entry in ended.trailing_metadata() or ():
        match entry:
            case (key, bytes() as details) if key == _DETAILS_KEY:
                try:
                    return _read_status(ended.code(), status_pb2.Status.FromString(details))
                except DecodeError:
                    return None
    return None


def _read_status(code: grpc.StatusCode, status: status_pb2.Status) -> WaveletRpcError:
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    retry_after = None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
    return WaveletRpcError(
        code,
        status.message,
        fault=_fault(info.metadata.get("fault")),
        reason=info.reason,
        field=bad.field_violations[0].field if bad.field_violations else "",
        retry_after=retry_after,
    )


def _fault(said: str | None) -> Fault | None:
    return next((fault for fault in get_args(Fault) if fault == said), None)
