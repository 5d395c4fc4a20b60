"""The way of every call: who may make it, its deadline, and its errors. One interceptor for all services."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from wavelet.defects import defect
from wavelet.errors import AccessRefused, CallerError, WaitExpired, WaveletError
from wavelet.front.connections import Activity
from wavelet.front.grpc.errors import code_of, ending
from wavelet.front.grpc.peer import Context, Peers
from wavelet.front.metrics import REQUESTS
from wavelet.requests.audit import Audit, decision_of

ADMIN = frozenset(
    {
        "CacheService/List",
        "CacheService/Pin",
        "CacheService/Unpin",
        "CacheService/Collect",
        "DaemonService/Reload",
    }
)
"""The methods for administration."""

WRITTEN_DOWN = frozenset({"ContainerService/Resolve", "TokenService/Evict", "ImageService/Inspect"})
"""The methods whose refusals those write down that refuse: they know what it is about."""

ANSWER_MARGIN = 0.05
"""Seconds before a call's deadline by which its answer leaves, so that it arrives; at most a tenth of the time."""

PREFIX = "/wavelet.v1."

_Unary = Callable[[Message, Context], Awaitable[Message]]
_Stream = Callable[[Message, Context], AsyncGenerator[Message, None]]
_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]]


def time_left(context: Context) -> float | None:
    """Return the seconds within which a call's answer has to leave; None where it has no deadline."""
    left = context.time_remaining()
    return None if left is None else max(0.0, left - min(ANSWER_MARGIN, left / 10))


class Calls(grpc.aio.ServerInterceptor):
    """See the module. Services of gRPC itself (health, reflection) pass unchanged.

    Args:
        admin_path: the socket that is named where a call was made over the other one.
    """

    def __init__(self, peers: Peers, activity: Activity, audit: Audit, admin_path: str) -> None:
        self._peers = peers
        self._activity = activity
        self._audit = audit
        self._admin_path = admin_path
        self._handlers: dict[str, grpc.RpcMethodHandler[Message, Message]] = {}

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the handler of a method, with all of this around it."""
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None or not method.startswith(PREFIX):
            return handler
        self._handlers[method] = wrapped = self._around(method.removeprefix(PREFIX), handler)
        return wrapped

    def _around(self, method: str, handler: Any) -> grpc.RpcMethodHandler[Message, Message]:
        codec = handler.request_deserializer, handler.response_serializer
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(method, handler.unary_stream), *codec)
        return grpc.unary_unary_rpc_method_handler(self._unary(method, handler.unary_unary), *codec)

    def _unary(self, method: str, behaviour: _Unary) -> _Unary:
        async def call(request: Message, context: Context) -> Message:
            async with self._answering(method, context):
                try:
                    async with asyncio.timeout(time_left(context)):
                        return await behaviour(request, context)
                except TimeoutError:
                    raise WaitExpired(
                        "the call's deadline came before its answer; ask again, or with more time"
                    ) from None

        return call

    def _stream(self, method: str, behaviour: _Stream) -> _Stream:
        async def call(request: Message, context: Context) -> AsyncGenerator[Message, None]:
            async with self._answering(method, context), contextlib.aclosing(behaviour(request, context)) as answers:
                async for answer in answers:
                    yield answer

        return call

    @contextlib.asynccontextmanager
    async def _answering(self, method: str, context: Context) -> AsyncIterator[None]:
        status = grpc.StatusCode.OK
        uid: int | None = None
        try:
            with self._activity.request(method):
                uid = self._admit(method, context)
                yield
        except WaveletError as error:
            status = code_of(error)
            if isinstance(error, CallerError) and method not in WRITTEN_DOWN:
                self._audit.note(decision_of(error), door="grpc", uid=uid, name=method, reason=error.message)
            await context.abort(*ending(error))
        except (asyncio.CancelledError, GeneratorExit):
            status = grpc.StatusCode.CANCELLED
            raise
        except Exception:  # noqa: BLE001 - the last resort of the door: it is logged, and the client gets its id
            status = grpc.StatusCode.INTERNAL
            await context.abort(*ending(defect("defect", method=method)))
        finally:
            REQUESTS.labels("grpc", method, status.name).inc()

    def _admit(self, method: str, context: Context) -> int | None:
        """Return the uid of who calls, who may."""
        peer = self._peers.of(context)
        if method in ADMIN and not peer.admin:
            raise AccessRefused(
                f"{method} is for administration: call it over the socket {self._admin_path}, which is open to root, "
                "the daemon's own user and the group of `grpc.admin_group`"
            )
        return peer.uid
