"""A method of both clients, written once: of the blocking one it returns answers, of the other one awaitables."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Generic, ParamSpec, Protocol, Self, TypeVar, overload

from google.protobuf.message import Message

P = ParamSpec("P")
A = TypeVar("A", bound=Message)

_PACKAGE = "/wavelet.v1."


class Blocking(Protocol):
    """What makes calls and waits for their answers."""

    def _one(self, path: str, request: Message, answer: type[A]) -> A: ...

    def _many(self, path: str, request: Message, answer: type[A]) -> Generator[A, None, None]: ...


class Awaiting(Protocol):
    """What makes calls in an event loop."""

    async def _one(self, path: str, request: Message, answer: type[A]) -> A: ...

    def _many(self, path: str, request: Message, answer: type[A]) -> AsyncGenerator[A, None]: ...


class _Call(Generic[P, A]):
    """What both kinds of calls are made of.

    Attributes:
        path: the name of the call in its protocol.
    """

    def __init__(self, build: Callable[P, Message], name: str, answer: type[A]) -> None:
        """Make the method.

        Args:
            build: makes its request; its parameters are the method's.
            name: `<service>/<method>`, as the protos have it.
            answer: the message that it answers with.
        """
        self._build = build
        self.path = _PACKAGE + name
        self._answer = answer
        self.__doc__ = build.__doc__


class One(_Call[P, A]):
    """A call with one answer."""

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, A]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, Coroutine[object, None, A]]: ...
    def __get__(self, client: Blocking | Awaiting | None, owner: type) -> object:
        if client is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> object:
            return client._one(self.path, self._build(*args, **kwargs), self._answer)

        call.__doc__ = self.__doc__
        return call


class Many(_Call[P, A]):
    """A call with a stream of answers. What iterates over it may close it, which cancels the call."""

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Generator[A, None, None]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, AsyncGenerator[A, None]]: ...
    def __get__(self, client: Blocking | Awaiting | None, owner: type) -> object:
        if client is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> object:
            return client._many(self.path, self._build(*args, **kwargs), self._answer)

        call.__doc__ = self.__doc__
        return call
