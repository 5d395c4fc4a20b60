"""The time that a call may take, and whether it is made again."""

from __future__ import annotations

import time

import grpc

from wavelet.client.errors import WaveletRpcError

ANSWER_LIMIT = 1800.0
"""Seconds for a single answer where the caller gives no time: longer than the longest wait that a request can name."""

SHORTEST_PAUSE = 0.1
"""Seconds before a call is made again, whatever less the daemon says."""


class Budget:
    """The time of one call, all of its attempts together."""

    def __init__(self, timeout: float | None, usual: float | None) -> None:
        """Start the clock.

        Args:
            timeout: seconds that the caller has given; None: the caller has not said.
            usual: seconds where the caller has not said; None: no end.
        """
        self._usual = usual
        self._end = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Return the seconds for the next attempt; None: no end."""
        return self._usual if self._end is None else max(self._end - time.monotonic(), 0.0)

    def pause(self, error: WaveletRpcError) -> float:
        """Return for how many seconds to wait before the call is made again.

        It is made again where the daemon says when, and only for callers who have said how long they wait: others are
        told, and decide.

        Raises:
            WaveletRpcError: it is not made again.
        """
        if error.code is not grpc.StatusCode.UNAVAILABLE or error.retry_after is None or self._end is None:
            raise error
        pause = max(error.retry_after, SHORTEST_PAUSE)
        if time.monotonic() + pause >= self._end:
            raise error
        return pause
