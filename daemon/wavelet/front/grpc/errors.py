"""The form of errors in gRPC: a status code, and details as `google.rpc.Status` has them (AIP-193)."""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from wavelet.config import ConfigError
from wavelet.errors import WaitExpired, WaveletError

MESSAGE_LIMIT = 1800
"""Bytes of an error's text. It travels twice, once with three bytes for each that is not ASCII, in metadata of which
grpc takes 8 KiB in all."""

FIELD_LIMIT = 200

DOMAIN = "wavelet"

_DETAILS_KEY = "grpc-status-details-bin"
"""Where gRPC carries a `google.rpc.Status`."""

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    416: grpc.StatusCode.OUT_OF_RANGE,
    421: grpc.StatusCode.PERMISSION_DENIED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def code_of(error: WaveletError) -> grpc.StatusCode:
    """Return the status code that an error is answered with."""
    if isinstance(error, WaitExpired):
        return grpc.StatusCode.DEADLINE_EXCEEDED
    if isinstance(error, ConfigError):
        return grpc.StatusCode.FAILED_PRECONDITION
    return _CODES.get(error.status, grpc.StatusCode.INTERNAL)


def text_of(error: WaveletError) -> str:
    """Return an error's sentence, cut to what fits."""
    data = error.message.encode("utf-8", "replace")
    return data.decode() if len(data) <= MESSAGE_LIMIT else data[:MESSAGE_LIMIT].decode("utf-8", "ignore") + "…"


def ending(error: WaveletError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes]]]:
    """Return how a call ends that ends in `error`: its code, its message, and the metadata with the details."""
    code, text = code_of(error), text_of(error)
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=text, details=map(_packed, _details(error)))
    return code, text, ((_DETAILS_KEY, status.SerializeToString()),)


def _details(error: WaveletError) -> list[Message]:
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata={"fault": error.fault.value})
    ]
    if error.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field[:FIELD_LIMIT])
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(error.retry_after * 1000))
        details.append(retry)
    return details


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
