"""The client for asyncio."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Self

import grpc
from google.protobuf.message import Message

from wavelet.client.budget import ANSWER_LIMIT, Budget
from wavelet.client.errors import WaveletRpcError
from wavelet.client.method import A
from wavelet.client.methods import BROKEN_OFF, Methods
from wavelet.client.sif import sif_url
from wavelet.client.target import Target, Tls
from wavelet.v1.containers_pb2 import ResolveResponse


class AsyncClient(Methods):
    """Calls a daemon from an event loop. Cancelling the task that waits for a call cancels the call.

    Every method raises WaveletRpcError. Those with a stream of answers are asynchronous generators: who ends the
    iteration early closes them, with `contextlib.aclosing`.
    """

    def __init__(
        self, target: str | None = None, *, tls: Tls | None = None, admin: bool = False, timeout: float | None = None
    ) -> None:
        """Prepare to call, in a running event loop. See Client for the arguments.

        Raises:
            ValueError: a network address without `tls`.
        """
        self._target = Target(target, tls=tls, admin=admin)
        self._timeout = timeout
        address, credentials, options = self._target.address, self._target.credentials, self._target.options
        self._channel = (
            grpc.aio.secure_channel(address, credentials, options)
            if credentials
            else grpc.aio.insecure_channel(address, options)
        )

    def within(self, timeout: float | None) -> Self:
        """Return this client with other seconds for each call; the two share their connection."""
        other = copy.copy(self)
        other._timeout = timeout
        return other

    async def wait(self, token: str) -> ResolveResponse:
        """Wait until a container is ready, and return it."""
        async with aclosing(self.watch(token)) as events:
            async for event in events:
                if event.HasField("ready"):
                    return event.ready
        raise WaveletRpcError(grpc.StatusCode.UNAVAILABLE, BROKEN_OFF)

    async def sif_url(self, image: str, *, platform: str = "") -> str:
        """Return where an image, or a name of this daemon's, is served as a SIF file: see `wavelet.client.sif`."""
        return sif_url(await self.status(), image, platform)

    async def close(self) -> None:
        """End the connection, and the calls that still run."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _one(self, path: str, request: Message, answer: type[A]) -> A:
        ask = self._channel.unary_unary(path, type(request).SerializeToString, answer.FromString)
        budget = Budget(self._timeout, ANSWER_LIMIT)
        while True:
            try:
                return await ask(request, timeout=budget.left())
            except grpc.aio.AioRpcError as ended:
                error = self._target.error(ended)
            await asyncio.sleep(budget.pause(error))

    async def _many(self, path: str, request: Message, answer: type[A]) -> AsyncGenerator[A, None]:
        ask = self._channel.unary_stream(path, type(request).SerializeToString, answer.FromString)
        budget = Budget(self._timeout, None)
        while True:
            call = ask(request, timeout=budget.left())
            begun = False
            try:
                async for message in call:
                    begun = True
                    yield message
            except grpc.aio.AioRpcError as ended:
                error = self._target.error(ended)
            else:
                return
            finally:
                call.cancel()
            if begun:
                raise error
            await asyncio.sleep(budget.pause(error))
