"""The client that blocks."""

from __future__ import annotations

import copy
import time
from collections.abc import Generator
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


class Client(Methods):
    """Calls a daemon, and waits for its answers. Threads may share one. Every method raises WaveletRpcError."""

    def __init__(
        self, target: str | None = None, *, tls: Tls | None = None, admin: bool = False, timeout: float | None = None
    ) -> None:
        """Prepare to call; the connection is made with the first call.

        Args:
            target: `unix:<path>`, or `<host>:<port>` together with `tls`. None: the socket that `WAVELET_SOCKET` names,
                the user's own daemon's, or the node's.
            tls: what mutual TLS needs.
            admin: call the admin socket, where `target` is None.
            timeout: seconds for each call. A call that cannot be served now is made again within them, when the daemon
                says so. None: calls end when the daemon is done, or after half an hour where they have one answer.

        Raises:
            ValueError: a network address without `tls`.
        """
        self._target = Target(target, tls=tls, admin=admin)
        self._timeout = timeout
        address, credentials, options = self._target.address, self._target.credentials, self._target.options
        self._channel = (
            grpc.secure_channel(address, credentials, options)
            if credentials
            else grpc.insecure_channel(address, options)
        )

    def within(self, timeout: float | None) -> Self:
        """Return this client with other seconds for each call; the two share their connection."""
        other = copy.copy(self)
        other._timeout = timeout
        return other

    def wait(self, token: str) -> ResolveResponse:
        """Wait until a container is ready, and return it."""
        for event in self.watch(token):
            if event.HasField("ready"):
                return event.ready
        raise WaveletRpcError(grpc.StatusCode.UNAVAILABLE, BROKEN_OFF)

    def sif_url(self, image: str, *, platform: str = "") -> str:
        """Return where an image, or a name of this daemon's, is served as a SIF file: see `wavelet.client.sif`."""
        return sif_url(self.status(), image, platform)

    def close(self) -> None:
        """End the connection, and the calls that still run."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _one(self, path: str, request: Message, answer: type[A]) -> A:
        ask = self._channel.unary_unary(path, type(request).SerializeToString, answer.FromString)
        budget = Budget(self._timeout, ANSWER_LIMIT)
        while True:
            try:
                return ask(request, timeout=budget.left())
            except grpc.RpcError as ended:
                error = self._target.error(ended)
            time.sleep(budget.pause(error))

    def _many(self, path: str, request: Message, answer: type[A]) -> Generator[A, None, None]:
        ask = self._channel.unary_stream(path, type(request).SerializeToString, answer.FromString)
        budget = Budget(self._timeout, None)
        while True:
            call = ask(request, timeout=budget.left())
            begun = False
            try:
                for message in call:
                    begun = True
                    yield message
            except grpc.RpcError as ended:
                error = self._target.error(ended)
            else:
                return
            finally:
                call.cancel()
            if begun:
                raise error
            time.sleep(budget.pause(error))
