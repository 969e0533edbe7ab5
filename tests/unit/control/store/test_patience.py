"""store/patience: what is waited for is done when the cancellation goes on."""

import asyncio

import pytest
from fixtures.control import DEADLINE_S
from homeport_control.store.patience import finished


async def test_a_cancellation_waits_for_the_work_and_goes_on_then() -> None:
    begun, may_end, done = asyncio.Event(), asyncio.Event(), False

    async def work() -> str:
        nonlocal done
        begun.set()
        await may_end.wait()
        done = True
        return "result"

    task = asyncio.create_task(finished(work()))
    await asyncio.wait_for(begun.wait(), DEADLINE_S)
    for _ in range(3):  # however often
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, DEADLINE_S)
    assert done


async def test_without_a_cancellation_result_and_error_are_the_works_own() -> None:
    async def work(fail: bool) -> str:
        if fail:
            raise ValueError("its own")
        return "result"

    assert await finished(work(False)) == "result"
    with pytest.raises(ValueError, match="its own"):
        await finished(work(True))
