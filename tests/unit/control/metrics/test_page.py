"""metrics/page: one look at the database and at what other rooms know, in Prometheus' own format."""

from types import SimpleNamespace

from fixtures.control import State, add_gateway, add_host, add_replica, add_run
from homeport_control.domain.metrics import EnvoyFigures
from homeport_control.load.totals import Total
from homeport_control.loops.loop import Loop, Turn
from homeport_control.metrics.page import Page, Sources
from homeport_control.metrics.process import ApiCalls
from homeport_protos.common.v1 import host_pb2
from prometheus_client.parser import text_string_to_metric_families


async def turn(_now_s: float) -> Turn:
    return Turn("nothing to do")


async def samples(state: State, **changed: object) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    known: dict[str, object] = {
        "reading_of": lambda _: None,
        "load_of": lambda _: (0, None),
        "totals": dict,
        "envoys": dict,
        "loops": [Loop("runs", state.database.changes, (), turn)],
        "calls": ApiCalls().registry,
        "lag_s": lambda share: share / 10,
        "version": "1.2.3",
        **changed,
    }
    text = await Page(state.database, Sources(**known)).text()  # type: ignore[arg-type]
    return {
        (it.name, tuple(sorted(it.labels.items()))): it.value
        for family in text_string_to_metric_families(text.decode())
        for it in family.samples
    }


async def test_services_with_replicas_load_and_memory(state: State) -> None:
    await add_host(state, "h1")
    run_id = await add_run(state, replicas=2)
    await add_replica(state, run_id, "r1", host_id="h1", in_rotation=True)
    reading = SimpleNamespace(
        host=None, gpus={}, replicas={"r1": host_pb2.ReplicaReading(replica_id="r1", gpu_memory_mib=7)}
    )
    found = await samples(
        state, reading_of=lambda _: reading, load_of=lambda name: (3, 5) if name == "hello" else (0, 0)
    )
    run = ("run", "hello")
    assert found["homeport_service_replicas_wanted", (run,)] == 2
    assert found["homeport_service_replicas_in_rotation", (run,)] == 1
    assert found["homeport_service_requests_held", (run,)] == 3
    assert found["homeport_service_requests_in_flight", (run,)] == 5
    assert found["homeport_service_state", (run, ("state", "submitted"))] == 1
    memory = (("index", "0"), ("replica", "r1"), run)
    assert found["homeport_replica_gpu_memory_bytes", memory] == 7 << 20


async def test_answers_of_services_that_are_there_and_gateways(state: State) -> None:
    await add_gateway(state, "main")
    await add_run(state)
    total = Total([0, 9, 0, 0, 1], {10.0: 4, float("inf"): 6}, 100.0)
    envoys = {"main": EnvoyFigures(connections=4, uptime_s=60)}
    totals = {("main", "hello"): total, ("main", "ended"): total}
    found = await samples(state, totals=lambda: totals, envoys=lambda: envoys)
    both = (("gateway", "main"), ("run", "hello"))
    assert found["homeport_service_answers_total", (("code_class", "2xx"), *both)] == 9
    assert found["homeport_service_answer_seconds_bucket", (*both[:1], ("le", "0.01"), *both[1:])] == 4
    assert found["homeport_service_answer_seconds_count", both] == 10
    assert found["homeport_service_answer_seconds_sum", both] == 0.1
    assert not [key for key in found if ("run", "ended") in key[1]]
    assert found["homeport_gateway_up", (("gateway", "main"),)] == 1
    assert found["homeport_gateway_connections", (("gateway", "main"),)] == 4


async def test_a_gateway_that_says_nothing_is_down_and_load_that_nobody_knows_is_left_out(state: State) -> None:
    await add_gateway(state, "main")
    await add_run(state)
    found = await samples(state)
    assert found["homeport_gateway_up", (("gateway", "main"),)] == 0
    assert ("homeport_service_requests_in_flight", (("run", "hello"),)) not in found
    assert found["homeport_server_info", (("version", "1.2.3"),)] == 1
    assert found["homeport_server_leads", ()] == 1
    assert found["homeport_event_loop_lag_seconds", (("share", "0.5"),)] == 0.05
    assert found["homeport_loop_turns_total", (("loop", "runs"),)] == 0
