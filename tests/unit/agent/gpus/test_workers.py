"""gpus/workers: one call at a time in a thread, and a call that never comes back."""

import asyncio
import subprocess
import sys
import threading

import pytest
from fixtures.control import until_true as until
from homeport_agent.gpus.workers import Worker

DEADLINE_S = 10.0


async def test_an_answer_and_an_error_come_back() -> None:
    worker = Worker("a")
    assert await worker.begin(lambda: threading.current_thread().name) == "a"
    with pytest.raises(ZeroDivisionError):
        await worker.begin(lambda: 1 / 0)
    assert await worker.begin(lambda: 3) == 3, "an error does not end it"
    worker.stop()


async def test_while_a_call_runs_no_other_is_begun_and_how_long_it_takes_is_told() -> None:
    worker, go = Worker("a"), threading.Event()
    assert (worker.is_busy, worker.busy_s) == (False, 0.0)
    call = worker.begin(lambda: go.wait(DEADLINE_S))
    assert worker.is_busy
    with pytest.raises(RuntimeError, match="a is busy"):
        worker.begin(lambda: None)
    before_s = worker.busy_s
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(call), 0.01)
    assert worker.busy_s > before_s
    go.set()
    assert await asyncio.wait_for(call, DEADLINE_S)
    assert not worker.is_busy
    worker.stop()


async def test_a_call_that_comes_back_after_its_deadline_hurts_nobody() -> None:
    worker, go = Worker("a"), threading.Event()

    def late() -> None:
        go.wait(DEADLINE_S)
        raise ValueError("late")

    call = worker.begin(late)
    call.cancel()
    go.set()
    await until(lambda: not worker.is_busy)
    assert await worker.begin(lambda: "next") == "next"
    worker.stop()


def test_a_call_that_never_comes_back_does_not_hold_the_process() -> None:
    program = """
import asyncio, threading
from homeport_agent.gpus.workers import Worker
async def main():
    Worker("stuck").begin(threading.Event().wait)
asyncio.run(main())
print("over")
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")


async def test_a_stopped_one_ends_its_thread() -> None:
    worker = Worker("ends")
    await worker.begin(lambda: None)
    (thread,) = [it for it in threading.enumerate() if it.name == "ends"]
    worker.stop()
    await asyncio.to_thread(thread.join, DEADLINE_S)
    assert not thread.is_alive()
