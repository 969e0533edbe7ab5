"""homeport_protos/lag: a loop that is blocked is seen in the file, one that is not asked for costs nothing."""

import asyncio
import json
import math
import time
from pathlib import Path

from homeport_protos import lag

DEADLINE_S = 20.0


def counts(file: Path) -> list[int]:
    return list(json.loads(file.read_text())["counts"]) if file.exists() else []


async def test_a_blocked_loop_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "lag.json"
    task = asyncio.create_task(lag.run({lag.VARIABLE: str(file)}))
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not counts(file):  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.02)
            before = counts(file)
            time.sleep(0.4)  # noqa: ASYNC251 - what is to be seen
            while sum(counts(file)) == sum(before):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        task.cancel()
    since = [late - early for late, early in zip(counts(file), before, strict=True)]
    assert lag.quantile_ms(since, 1.0) >= 200
    assert json.loads(file.read_text())["worst_ms"] >= 200


async def test_without_a_file_nothing_is_measured(tmp_path: Path) -> None:
    await asyncio.wait_for(lag.run({}), DEADLINE_S)


async def test_a_file_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    task = asyncio.create_task(lag.run({lag.VARIABLE: str(tmp_path / "nowhere" / "lag.json")}))
    done, _ = await asyncio.wait([task], timeout=0.5)
    task.cancel()
    assert not done


def test_quantiles_are_ends_of_classes() -> None:
    measured = lag.Lag()
    for late_ms in (0.2, 0.3, 0.4, 12.0):
        measured.add(late_ms)
    assert lag.quantile_ms(measured.counts, 0.5) == 1.0
    assert lag.quantile_ms(measured.counts, 0.99) == 20.0
    assert lag.quantile_ms([0] * len(measured.counts), 0.99) == 0.0
    measured.add(9000.0)
    assert math.isinf(lag.quantile_ms(measured.counts, 1.0))
