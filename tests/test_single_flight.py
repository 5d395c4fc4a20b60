"""Single flight: once per key however many ask, nobody's to stop but the last one's, and errors of one's own."""

from __future__ import annotations

import asyncio
import gc
import traceback
import weakref
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavelet.concurrency import SingleFlight
from wavelet.errors import RangeInvalid, Stopping, UpstreamUnreachable, fresh_copy


class Work:
    """Work that ends when the test says so, and counts how often it was begun."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = self.cancelled = 0
        self.go_on = asyncio.Event()
        self._error = error

    async def __call__(self) -> str:
        self.begun += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._error is not None:
            raise self._error
        return f"result {self.begun}"


@pytest.fixture
async def flight() -> AsyncIterator[SingleFlight[str, str]]:
    made: SingleFlight[str, str] = SingleFlight("work")
    yield made
    await made.close()


async def started(*coroutines: object) -> list[asyncio.Task[str]]:
    tasks = [asyncio.ensure_future(each) for each in coroutines]  # type: ignore[call-overload]
    await asyncio.sleep(0.01)
    return tasks


async def test_equal_work_is_done_once(flight: SingleFlight[str, str]) -> None:
    work, other = Work(), Work()
    asking = await started(*(flight.run("key", work) for _ in range(20)), flight.run("other", other))
    assert (work.begun, other.begun, len(flight)) == (1, 1, 2)
    work.go_on.set()
    other.go_on.set()
    assert await asyncio.gather(*asking) == ["result 1"] * 21
    assert len(flight) == 0


async def test_what_has_ended_is_begun_anew(flight: SingleFlight[str, str]) -> None:
    work = Work()
    work.go_on.set()
    assert [await flight.run("key", work) for _ in range(3)] == ["result 1", "result 2", "result 3"]


async def test_one_that_goes_ends_nothing_the_last_one_does(flight: SingleFlight[str, str]) -> None:
    work = Work()
    one, other = await started(flight.run("key", work), flight.run("key", work))
    one.cancel()
    await asyncio.sleep(0.01)
    assert one.cancelled()
    assert not work.cancelled
    other.cancel()
    await asyncio.sleep(0.01)
    assert work.cancelled == 1
    assert len(flight) == 0


async def test_one_that_comes_while_the_old_run_tidies_up_begins_anew(flight: SingleFlight[str, str]) -> None:
    tidied = asyncio.Event()

    async def slow_to_end() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await tidied.wait()
        return "never"

    (asking,) = await started(flight.run("key", slow_to_end))
    asking.cancel()
    await asyncio.sleep(0.01)
    work = Work()
    (anew,) = await started(flight.run("key", work))
    tidied.set()
    await asyncio.sleep(0.01)
    assert len(flight) == 1
    work.go_on.set()
    assert await anew == "result 1"


async def test_what_is_kept_goes_on_alone_and_is_joined_again() -> None:
    flight: SingleFlight[str, str] = SingleFlight("work", keep=True)
    work = Work()
    (asking,) = await started(flight.run("key", work))
    asking.cancel()
    await asyncio.sleep(0.01)
    assert not work.cancelled
    (again,) = await started(flight.run("key", work))
    work.go_on.set()
    assert await again == "result 1"
    assert work.begun == 1
    await flight.close()


async def test_each_one_gets_an_error_of_his_own(flight: SingleFlight[str, str]) -> None:
    first = UpstreamUnreachable("nobody answers", field="image", retry_after=3.0)
    work = Work(first)
    asking = await started(*(flight.run("key", work) for _ in range(5)))
    work.go_on.set()
    raised = await asyncio.gather(*asking, return_exceptions=True)
    assert len({id(error) for error in [first, *raised]}) == 6
    for error in raised:
        assert isinstance(error, UpstreamUnreachable)
        assert (error.message, error.field, error.retry_after) == ("nobody answers", "image", 3.0)
        # Where it happened, and nothing of the others who have waited for it.
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert names.count("__call__") == names.count("outcome") == 1


async def test_a_failure_that_nobody_hears_is_no_warning() -> None:
    flight: SingleFlight[str, str] = SingleFlight("work", keep=True)
    work = Work(OSError(5, "broken"))
    (asking,) = await started(flight.run("key", work))
    asking.cancel()
    work.go_on.set()
    await asyncio.sleep(0.01)
    assert len(flight) == 0
    await flight.close()


async def test_what_has_ended_is_freed_at_once() -> None:
    """By counting, not by the collector of cycles: results and errors may be large, and hold what was at work."""

    class Result:
        pass

    made: SingleFlight[str, Result] = SingleFlight("work")

    async def work() -> Result:
        return Result()

    gc.disable()
    try:
        result = weakref.ref(await made.run("key", work))
        await asyncio.sleep(0)
        assert result() is None
    finally:
        gc.enable()


async def test_at_the_end_waiters_hear_that_it_stops(flight: SingleFlight[str, str]) -> None:
    work = Work()
    asking = await started(*(flight.run("key", work) for _ in range(2)))
    await flight.close()
    assert work.cancelled == 1
    assert [type(error) for error in await asyncio.gather(*asking, return_exceptions=True)] == [Stopping, Stopping]


def test_copies_of_errors_say_the_same() -> None:
    for error in (RangeInvalid(5), OSError(2, "no such file", "/name"), KeyError("key"), UpstreamUnreachable("away")):
        anew = fresh_copy(error)
        assert anew is not error
        assert (str(anew), anew.args, anew.__dict__) == (str(error), error.args, error.__dict__)


def test_copies_of_errors_say_what_they_come_from() -> None:
    def failed(cause: Exception | None) -> UpstreamUnreachable:
        try:
            try:
                raise OSError(24, "no descriptor")
            except OSError:
                raise UpstreamUnreachable("away") from cause
        except UpstreamUnreachable as error:
            return error

    for error in (failed(None), failed(OSError(24, "no descriptor"))):
        anew = fresh_copy(error)
        assert anew.__cause__ is error.__cause__
        assert anew.__context__ is error.__context__
        assert anew.__suppress_context__ is error.__suppress_context__ is True


def test_an_error_that_cannot_be_copied_is_raised_itself() -> None:
    class Peculiar(Exception):
        def __init__(self, one: str, other: str) -> None:
            super().__init__(one + other)

    error = Peculiar("one", "other")
    assert fresh_copy(error) is error


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ask", "leave", "end"]), st.integers(0, 3)), max_size=40), st.booleans())
def test_runs_never_overlap_and_answer_everybody(steps: list[tuple[str, int]], keep: bool) -> None:
    async def scenario() -> None:
        flight: SingleFlight[int, int] = SingleFlight("work", keep=keep)
        running: dict[int, asyncio.Future[int]] = {}
        asking: dict[int, list[asyncio.Task[int]]] = {key: [] for key in range(4)}

        async def work(key: int) -> int:
            assert key not in running, "two runs of one key"
            running[key] = asyncio.get_running_loop().create_future()
            try:
                return await running[key]
            finally:
                del running[key]

        for step, key in steps:
            if step == "ask":
                asking[key].append(asyncio.ensure_future(flight.run(key, lambda key=key: work(key))))  # type: ignore[misc]
            elif step == "leave" and asking[key]:
                asking[key].pop().cancel()
            elif step == "end" and key in running:
                running[key].set_result(key)
                assert await asyncio.gather(*asking[key]) == [key] * len(asking[key])
                asking[key].clear()
            for _ in range(5):
                await asyncio.sleep(0)
            wanted = {each for each, tasks in asking.items() if tasks}
            assert wanted <= set(running)
            assert keep or wanted == set(running)
            assert len(flight) == len(running)
        await flight.close()
        for tasks in asking.values():
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(each, Stopping) for each in results)
        assert not running

    asyncio.run(scenario())
