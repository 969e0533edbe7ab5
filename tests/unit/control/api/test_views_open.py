"""What `ps` knows beside the run itself: whether it is called without a token, what the autoscaler said of it."""

from typing import Any

from fixtures.control import State, add_host, add_replica, add_run, revision, service
from homeport_control.agents.telemetry import Telemetry
from homeport_control.api.views import Views
from homeport_control.domain.services import RunState
from homeport_control.store import replicas, runs
from homeport_protos.api.v1 import api_pb2

RANGE: dict[str, Any] = {"replicas": "1..4", "scaling": {"metric": "rps", "target": 10}}


async def test_a_run_says_whether_it_is_called_without_a_token(state: State) -> None:
    await add_run(state, "closed")
    await add_run(state, "open", auth=False)
    answer = await Views(state.database, Telemetry()).runs(api_pb2.ListRunsRequest())
    assert {run.name: run.open for run in answer.runs} == {"closed": False, "open": True}


async def test_a_scaled_run_says_its_range_and_the_last_verdict(state: State) -> None:
    run_id = await add_run(state, "web", replicas="0..4", scaling={"metric": "rps", "target": 10})
    await add_run(state, "exact", replicas=2)
    said = {run_id: "12 rps, target 10: 2 wanted"}
    views = Views(state.database, Telemetry(), lambda run_id: said.get(run_id, ""))
    found = {run.name: run for run in (await views.runs(api_pb2.ListRunsRequest())).runs}
    assert (found["web"].replicas_range, found["web"].scaling) == ("0..4", said[run_id])
    assert (found["exact"].replicas_range, found["exact"].scaling) == ("", "")


async def test_a_scaled_run_is_rolled_out_with_the_least_that_it_always_has(state: State) -> None:
    """More may be wanted at any moment, of which no host has room for one."""
    run_id = await add_run(state, "web", **RANGE)
    views = Views(state.database, Telemetry())

    async def is_rolled_out() -> bool:
        return (await views.runs(api_pb2.ListRunsRequest())).runs[0].rolled_out

    await add_host(state)
    await add_replica(state, run_id, "r0", host_id="h1")
    await add_replica(state, run_id, "r1", index=1)
    async with state.database.write() as write:
        await runs.update(write, run_id, scaled_to=2)
    assert not await is_rolled_out()
    async with state.database.write() as write:
        await replicas.update(write, "r0", in_rotation=True)
    assert await is_rolled_out()
    async with state.database.write() as write:
        await runs.add_revision(write, run_id, 2, revision(state, service("web", port=9, **RANGE)), 2000.0)
    await add_replica(state, run_id, "r2", revision=2, host_id="h1")
    assert not await is_rolled_out()
    async with state.database.write() as write:
        await replicas.update(write, "r2", in_rotation=True)
    assert not await is_rolled_out(), "the older ones are still there"


async def test_a_run_that_ended_asleep_shows_one_replica_of_it(state: State) -> None:
    run_id = await add_run(state, "web", replicas="0..4", scaling={"metric": "rps", "target": 10})
    for index in range(3):
        await add_replica(state, run_id, f"r{index}", index=index)
    async with state.database.write() as write:
        for index in range(3):
            await replicas.end(write, f"r{index}", 2000.0 + index)
        await runs.update(write, run_id, scaled_to=0, state=RunState.TERMINATED, ended_at_s=3000.0)
    (run,) = (await Views(state.database, Telemetry()).runs(api_pb2.ListRunsRequest(all=True))).runs
    assert len(run.replicas) <= 1
