"""Worker processes: they answer, they die, they end when nothing is asked of them, and with the daemon."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wavelet.errors import Internal, NoSpace, Unsolvable, WaitExpired
from wavelet.resolve import workers
from wavelet.resolve.workers import Workers

pytestmark = pytest.mark.process

IDLE = 3
"""IOPRIO_CLASS_IDLE of ioprio_get(2)."""


def disk_class() -> int:
    number = {"x86_64": 252, "aarch64": 31}[platform.machine()]
    return int(ctypes.CDLL(None).syscall(number, 1, 0)) >> 13


@pytest.fixture
async def pool() -> AsyncIterator[Workers]:
    kept = Workers(1)
    yield kept
    await kept.close()


async def test_a_function_runs_in_another_process(pool: Workers) -> None:
    first = await pool.run(os.getpid)
    assert first != os.getpid()
    assert await pool.run(os.getpid) == first
    assert await pool.run(os.nice, 0) >= workers.NICENESS
    assert await pool.run(disk_class) == IDLE


async def test_errors_of_the_tree_come_back_as_they_are(pool: Workers) -> None:
    with pytest.raises(Unsolvable, match="no such package") as caught:
        await pool.run(raise_unsolvable)
    assert caught.value.field == "packages.entries"


async def test_a_disk_that_cannot_be_written_is_said_so(pool: Workers) -> None:
    with pytest.raises(NoSpace, match="cannot be written"):
        await pool.run(fill_the_disk)


async def test_a_process_that_dies_is_replaced_once_per_call(pool: Workers, tmp_path: Path) -> None:
    assert await pool.run(die_the_first_time, str(tmp_path / "mark")) == "alive"
    with pytest.raises(Internal, match="the worker process died over die"):
        await pool.run(die)
    assert await pool.run(os.getpid)


async def test_a_function_that_does_not_end_is_ended(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await pool.run(os.getpid)
    monkeypatch.setattr(workers, "FUNCTION_LIMIT", 0.5)
    with pytest.raises(WaitExpired, match="sleep has not ended"):
        await pool.run(time.sleep, 600)
    monkeypatch.undo()
    assert await pool.run(os.getpid) != first


async def test_what_runs_beside_a_function_that_is_ended_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Workers(2)
    await pool.run(os.getpid)
    monkeypatch.setattr(workers, "FUNCTION_LIMIT", 5.0)
    stuck = asyncio.create_task(pool.run(time.sleep, 600))
    await asyncio.sleep(3.5)
    beside = [asyncio.create_task(pool.run(sleep_and_say, 1.0)) for _ in range(3)]
    with pytest.raises(WaitExpired):
        await stuck
    assert await asyncio.gather(*beside) == ["said"] * 3
    await pool.close()


async def test_a_function_that_takes_all_memory_fails_alone(pool: Workers) -> None:
    first = await pool.run(os.getpid)
    with pytest.raises(Internal, match="bytes of memory"):
        await pool.run(bytes, workers.MEMORY_LIMIT)
    assert await pool.run(os.getpid) == first


async def test_idle_processes_end(pool: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "IDLE_LIFETIME", 0.2)
    first = await pool.run(os.getpid)
    for _ in range(100):
        if not is_alive(first):
            break
        await asyncio.sleep(0.1)
    assert not is_alive(first)
    assert await pool.run(os.getpid) != first


async def test_closing_does_not_wait_for_what_runs() -> None:
    pool = Workers(1)
    await pool.run(os.getpid)
    running = asyncio.create_task(pool.run(time.sleep, 600))
    await asyncio.sleep(0.3)
    running.cancel()
    started = time.monotonic()
    await pool.close()
    assert time.monotonic() - started < 10


def test_workers_die_with_a_daemon_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "daemon.py").write_text(
        "import asyncio, os\n"
        "from wavelet.resolve.workers import Workers\n"
        "async def main():\n"
        "    print(await Workers(1).run(os.getpid), flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, str(tmp_path / "daemon.py")], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        worker = int(daemon.stdout.readline())
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    for _ in range(100):
        if not is_alive(worker):
            return
        time.sleep(0.1)
    pytest.fail("the worker lives on")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def fill_the_disk() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def raise_unsolvable() -> None:
    raise Unsolvable("no such package", field="packages.entries")


def sleep_and_say(seconds: float) -> str:
    time.sleep(seconds)
    return "said"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_the_first_time(mark: str) -> str:
    if not Path(mark).exists():
        Path(mark).touch()
        die()
    return "alive"


async def test_a_caller_that_goes_away_leaves_no_writer_behind(pool: Workers, tmp_path: Path) -> None:
    """What the function writes to may be removed once the call is over."""
    mark = tmp_path / "mark"
    await pool.run(os.getpid)
    calling = asyncio.create_task(pool.run(write_after, str(mark), 0.5))
    queued = asyncio.create_task(pool.run(write_after, str(tmp_path / "never"), 0.0))
    await asyncio.sleep(0.2)
    for task in (queued, calling):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert mark.exists()
    assert not (tmp_path / "never").exists()
    ending = asyncio.create_task(pool.run(time.sleep, 600))
    await asyncio.sleep(0.1)
    ending.cancel()
    pool.end()
    with pytest.raises(asyncio.CancelledError):
        await ending


def write_after(path: str, seconds: float) -> None:
    time.sleep(seconds)
    Path(path).touch()


_INTERRUPTED = """
import asyncio, os, signal, time
from wavelet.resolve.workers import Workers

async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
    pool = Workers(2)
    starting = asyncio.create_task(pool.run(os.getpid))
    for _ in range(40):  # from before the processes begin until they work
        os.killpg(0, signal.SIGINT)
        await asyncio.sleep(0.02)
    first = await starting
    os.killpg(0, signal.SIGINT)
    assert await pool.run(os.getpid) != os.getpid()
    working = asyncio.create_task(pool.run(time.sleep, 0.2))
    await asyncio.sleep(0.1)
    os.killpg(0, signal.SIGINT)
    await working
    print("worked on")
    await pool.close()

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_an_interrupt_of_the_terminal_is_the_daemons_alone(tmp_path: Path) -> None:
    """Fault D6: at Ctrl-C each worker printed a traceback."""
    program = tmp_path / "program.py"
    program.write_text(_INTERRUPTED)
    done = subprocess.run(
        [sys.executable, program], check=False, capture_output=True, text=True, timeout=60, start_new_session=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "worked on\n", "")
