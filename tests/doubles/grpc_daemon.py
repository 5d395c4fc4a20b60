"""A gRPC server that answers any call with what the test has put down for it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

STREAMS = ("Watch", "Prefetch", "List")

Step = Message | Status | Callable[[grpc.ServicerContext], None]
"""An answer, the status that ends a call, or something to do."""


def refusal(
    code: grpc.StatusCode, message: str, *, reason: str = "", fault: str = "", field: str = "", retry_after: float = -1
) -> Status:
    """Return a status as the daemon makes it."""
    details: list[Message] = [ErrorInfo(domain="wavelet", reason=reason, metadata={"fault": fault})]
    if field:
        details.append(BadRequest(field_violations=[BadRequest.FieldViolation(field=field, description=message)]))
    if retry_after >= 0:
        delay = Duration()
        delay.FromNanoseconds(int(retry_after * 1e9))
        details.append(RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        packed.append(AnyMessage())
        packed[-1].Pack(detail)
    return Status(code=cast("tuple[int, str]", code.value)[0], message=message, details=packed)


class GrpcDaemon(grpc.GenericRpcHandler):
    """The server, on a unix socket. Used as a context.

    Attributes:
        target: where a client calls it.
        answers: what calls are answered with, by the method's name: a list of steps for each attempt in turn, the last
            one for all further attempts.
        calls: how often each method was called.
        requests: the bytes of the last request of each method.
        ended: set when a call is over; one that hangs is when its caller has given it up.
    """

    def __init__(self, directory: Path) -> None:
        self.target = f"unix:{directory / 'fake.sock'}"
        self.answers: dict[str, list[list[Step]]] = {}
        self.calls: Counter[str] = Counter()
        self.requests: dict[str, bytes] = {}
        self.ended = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(4), handlers=[self])
        self._server.add_insecure_port(self.target)

    def __enter__(self) -> GrpcDaemon:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait(5)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a method."""
        name = handler_call_details.method.rpartition("/")[2]

        def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            self.requests[name] = request
            attempts = self.answers[name]
            steps = attempts[min(self.calls[name], len(attempts) - 1)]
            self.calls[name] += 1
            if not context.add_callback(self.ended.set):
                self.ended.set()
            for step in steps:
                if isinstance(step, Status):
                    context.abort_with_status(rpc_status.to_status(step))
                elif isinstance(step, Message):
                    yield step.SerializeToString()
                else:
                    step(context)

        if name in STREAMS:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(lambda request, context: next(stream(request, context)))

    def hang(self, _context: grpc.ServicerContext) -> None:
        """Do nothing until the caller gives up: a step."""
        self.ended.wait(20)
