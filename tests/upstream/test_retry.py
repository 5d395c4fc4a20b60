"""The one loop of repetitions: what is done again, how often, and what the last failure says."""

from __future__ import annotations

import pytest

from wavelet.errors import UpstreamBroken, UpstreamBusy, UpstreamError
from wavelet.upstream.retry import (
    ATTEMPTS,
    RETRY_AFTER_LIMIT,
    USUAL_RETRY_AFTER,
    ConnectionBroke,
    RetryPolicy,
    repeated,
)


class Work:
    """Raises what it is given, one after the other, and then returns how often it was asked."""

    def __init__(self, *failures: UpstreamError) -> None:
        self._failures = list(failures)
        self.asked = 0

    async def __call__(self) -> int:
        self.asked += 1
        if self._failures:
            raise self._failures.pop(0)
        return self.asked


async def test_what_passes_is_done_again() -> None:
    assert await repeated(Work()) == 1
    assert await repeated(Work(UpstreamBusy("x"), ConnectionBroke("y"))) == 3


async def test_the_last_failure_says_when_to_come_again() -> None:
    work = Work(*(ConnectionBroke(str(number)) for number in range(ATTEMPTS)))
    with pytest.raises(ConnectionBroke, match=str(ATTEMPTS - 1)) as caught:
        await repeated(work)
    assert (work.asked, caught.value.retry_after) == (ATTEMPTS, USUAL_RETRY_AFTER)


@pytest.mark.parametrize(
    ("failure", "attempts"),
    [
        (UpstreamBroken("x"), ATTEMPTS),
        (UpstreamBusy("x", retry_after=RETRY_AFTER_LIMIT + 1), ATTEMPTS),
        (UpstreamBusy("x"), 1),
    ],
    ids=["no answer that passes", "later than is waited for", "one attempt"],
)
async def test_what_is_not_done_again(failure: UpstreamError, attempts: int) -> None:
    work = Work(failure)
    with pytest.raises(type(failure)):
        await repeated(work, attempts)
    assert work.asked == 1


async def test_what_repeats_itself_inside_is_left_to_it() -> None:
    broken, busy = Work(ConnectionBroke("x")), Work(UpstreamBusy("x"))
    assert await repeated(broken, on=(ConnectionBroke,)) == 2
    with pytest.raises(UpstreamBusy):
        await repeated(busy, on=(ConnectionBroke,))
    assert busy.asked == 1


async def test_a_wait_that_a_part_was_told_is_not_waited_for_twice() -> None:
    """What was asked to be waited for counts with "not now" alone: of a lost connection it is our own word."""
    work = Work(ConnectionBroke("x", retry_after=RETRY_AFTER_LIMIT + 1))
    assert await repeated(work) == 2


def test_delays_grow_by_the_policy() -> None:
    policy = RetryPolicy(4, first_delay=1.0, factor=2.0)
    delays = [policy.delay(attempt) for attempt in range(1, 5)]
    for delay, usual in zip(delays[:3], (1.0, 2.0, 4.0), strict=True):
        assert delay is not None and 0.8 * usual <= delay <= 1.2 * usual
    assert delays[3] is None
