"""Whether a service is called without a token, as `apply` must know for the line that it prints."""

from fixtures.control import State, add_run
from homeport_control.agents.telemetry import Telemetry
from homeport_control.api.views import Views
from homeport_protos.api.v1 import api_pb2


async def test_a_run_says_whether_it_is_called_without_a_token(state: State) -> None:
    await add_run(state, "closed")
    await add_run(state, "open", auth=False)
    answer = await Views(state.database, Telemetry()).runs(api_pb2.ListRunsRequest())
    assert {run.name: run.open for run in answer.runs} == {"closed": False, "open": True}
