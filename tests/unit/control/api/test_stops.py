"""api/stops: all names or none; an abort overrules a stop, and a stop no abort."""

import grpc
from fixtures.control import State, add_run, get_run
from fixtures.plane import Api, refusal
from homeport_control.domain.services import RunState, RunWanted
from homeport_control.store import runs
from homeport_protos.api.v1 import api_pb2


async def test_an_unknown_name_stops_nothing_at_all(state: State, user: Api) -> None:
    run_id = await add_run(state)
    code, words = await refusal(user("StopRuns", api_pb2.StopRunsRequest(names=["hello", "nobody"])))
    assert (code, words) == (grpc.StatusCode.NOT_FOUND, "no run nobody; `homeport ps -a` shows all")
    assert (await get_run(state, run_id)).wanted is RunWanted.RUN


async def test_a_stop_is_a_wish_that_wakes_the_loops(state: State, user: Api) -> None:
    run_id = await add_run(state)
    ended = await add_run(state, "ended")
    async with state.database.write() as write:
        await runs.update(write, ended, state=RunState.TERMINATED, ended_at_s=2000.0)
    with state.database.changes.subscribe("runs") as woken:
        answer = await user("StopRuns", api_pb2.StopRunsRequest(names=["hello", "ended", "hello"]))
        assert await woken.wait(0)
    assert (list(answer.stopping), list(answer.already_stopped)) == (["hello"], ["ended"])
    assert (await get_run(state, run_id)).wanted is RunWanted.STOP


async def test_an_abort_overrules_a_stop_and_stays(state: State, user: Api) -> None:
    run_id = await add_run(state)
    for abort, wanted in ((False, RunWanted.STOP), (True, RunWanted.ABORT), (False, RunWanted.ABORT)):
        answer = await user("StopRuns", api_pb2.StopRunsRequest(names=["hello"], abort=abort))
        assert list(answer.stopping) == ["hello"]
        assert (await get_run(state, run_id)).wanted is wanted


async def test_no_name_is_not_all_names(state: State, user: Api) -> None:
    run_id = await add_run(state)
    code, _ = await refusal(user("StopRuns", api_pb2.StopRunsRequest()))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert (await get_run(state, run_id)).wanted is RunWanted.RUN
