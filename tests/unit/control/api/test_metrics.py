"""api/metrics: what a run uses, from its hosts over both wires and from the gateways' reports, and what is missing in words."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import grpc
import pytest
from fixtures.control import FACTS, GPU, State, add_gateway, add_host, add_replica, add_run, observe
from fixtures.plane import Api, Plane, WireAgent, first, refusal
from homeport_control.agents.telemetry import Telemetry
from homeport_control.api.metrics import RunMetrics, cores_used
from homeport_control.domain.errors import NotFound, NotReady
from homeport_control.domain.gateway import EndpointLoad, LoadReport
from homeport_control.domain.metrics import Answers, GpuUsage, ReplicaUsage, RequestRate
from homeport_control.domain.replicas import Phase, Wanted
from homeport_control.domain.services import RunState
from homeport_control.store import hosts, replicas, runs
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.api.v1 import api_pb2

TELEMETRY = Telemetry()  # no host has told anything
REQUEST = api_pb2.MetricsRequest(run_name="hello")


class Hosts:
    """What the hosts say at each reading: two more cores' worth of time each second; h9 is away."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.gpus: tuple[GpuUsage, ...] = ()

    async def read(
        self, host_id: str, host_name: str, replica_ids: Sequence[str], deadline_s: float
    ) -> tuple[ReplicaUsage, ...]:
        assert 0 < deadline_s <= 10
        self.asked.append((host_id, tuple(replica_ids)))
        if host_id == "h9":
            raise NotReady(f"host {host_name} is not connected now")
        at_s = float(len(self.asked))
        return tuple(ReplicaUsage(r, "", 100 + 2 * at_s, at_s, 512, 4096, self.gpus) for r in replica_ids)


async def serve(state: State, count: int = 1, *, host_id: str = "h1", **fields: object) -> str:
    run_id = await add_run(state, replicas=count, **fields)
    for index in range(count):
        await add_replica(state, run_id, f"r{index}", index=index, host_id=host_id)
        await observe(state, host_id, f"r{index}", Phase.READY, host_port=9000 + index)
        async with state.database.write() as write:
            await replicas.update(write, f"r{index}", in_rotation=True)
    return run_id


def of(
    state: State,
    source: Hosts,
    rates: Mapping[tuple[str, int], RequestRate] | None = None,
    traffic: tuple[int, Answers | None] = (0, None),
) -> RunMetrics:
    """Without the waits between readings."""
    return RunMetrics(
        state.database,
        source.read,
        lambda _service: rates,
        lambda _service: traffic,
        TELEMETRY,
        first_reading_s=0.0,
        min_interval_s=0.001,
    )


async def test_how_requests_were_answered_is_told_where_a_gateway_says_it(state: State) -> None:
    await add_host(state, "h1", gateway="local")
    await serve(state)
    (unknown,) = [message async for message in of(state, Hosts()).stream(REQUEST)]
    assert (unknown.held, unknown.HasField("answers")) == (0, False)
    told = of(state, Hosts(), traffic=(2, Answers((0.5, 4.0, 1.0, 2.0, 3.0), 12.5, None)))
    (answer,) = [message async for message in told.stream(REQUEST)]
    assert answer.held == 2
    assert answer.answers == api_pb2.ServiceAnswers(
        informational_per_s=0.5,
        success_per_s=4.0,
        redirect_per_s=1.0,
        client_error_per_s=2.0,
        server_error_per_s=3.0,
        p50_ms=12.5,
    )


async def test_one_call_has_numbers_of_every_kind(state: State) -> None:
    await add_host(state, "h1", gateway="local")
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"facts": replace(FACTS, gpus=(GPU,))})
    await serve(state, 2, resources={"cpu": "1..4"})
    source = Hosts()
    source.gpus = (GpuUsage("GPU-1", 100, 81920, 0.5), GpuUsage("GPU-2"))
    rates = {("127.0.0.1", 9001): RequestRate(3.0, 2), ("127.0.0.1", 8999): RequestRate(1.0, 1)}
    (answer,) = [message async for message in of(state, source, rates).stream(REQUEST)]
    one, two = answer.replicas
    assert (one.replica_id, one.host, one.state, one.message) == ("r0", "h1", "running", "")
    assert (one.cpu_cores, one.cpu_limit, one.memory_mib, one.memory_limit_mib) == (2.0, 4.0, 512, 4096)
    assert (one.requests_per_s, one.in_flight, one.HasField("in_flight")) == (0.0, 0, True)
    assert (two.index, two.requests_per_s, two.in_flight) == (1, 3.0, 2)
    assert (answer.requests_per_s, answer.in_flight) == (4.0, 3), "what leaves the service is a part of it"
    known, unknown = one.gpus
    assert (known.name, known.memory_used_mib, known.memory_total_mib, known.utilisation) == (
        "NVIDIA A100-SXM4-80GB", 100, 81920, 0.5,
    )  # fmt: skip
    assert (unknown.uuid, unknown.HasField("utilisation")) == ("GPU-2", False)
    assert abs(answer.at.seconds - time.time()) < 60
    assert source.asked == [("h1", ("r0", "r1"))] * 2, "each host is asked once for all of its replicas"


async def test_without_a_report_of_a_gateway_requests_are_not_known(state: State) -> None:
    await add_host(state, "h1")
    await serve(state)
    (answer,) = [message async for message in of(state, Hosts()).stream(REQUEST)]
    assert not answer.HasField("requests_per_s")
    assert not answer.replicas[0].HasField("in_flight")
    assert answer.replicas[0].cpu_limit == FACTS.cpus, "no limit of its own: the host's"


async def test_a_host_that_is_away_is_said_and_the_others_are_shown(state: State) -> None:
    await add_host(state, "h1")
    await add_host(state, "h9")
    run_id = await serve(state)
    await add_replica(state, run_id, "r8", index=8, host_id="h9")
    await add_replica(state, run_id, "r9", index=9)
    (answer,) = [message async for message in of(state, Hosts()).stream(REQUEST)]
    shown, away, unplaced = answer.replicas
    assert shown.cpu_cores == 2.0
    assert (away.message, away.HasField("memory_mib")) == ("host h9 is not connected now", False)
    assert (unplaced.message, unplaced.host, unplaced.state) == ("it has no host yet", "", "queued")


async def test_a_follower_hears_until_the_run_ends(state: State) -> None:
    await add_host(state, "h1")
    run_id = await serve(state)
    stream = of(state, Hosts()).stream(api_pb2.MetricsRequest(run_name="hello", follow=True, interval_s=0.001))
    for _ in range(3):
        assert (await first(stream)).replicas[0].cpu_cores == 2.0
    async with state.database.write() as write:
        await replicas.end(write, "r0", 2000.0)
        await runs.update(write, run_id, state=RunState.TERMINATED, ended_at_s=2000.0)
    with pytest.raises(StopAsyncIteration):
        await first(stream)


async def test_what_is_not_there_is_said(state: State, user: Api) -> None:
    code, words = await refusal(first(user.stream("Metrics", REQUEST)))
    assert (code, words) == (grpc.StatusCode.NOT_FOUND, "no run hello; `homeport ps -a` shows all")
    run_id = await add_run(state)
    async with state.database.write() as write:
        await runs.update(write, run_id, state=RunState.FAILED, ended_at_s=2000.0)
    with pytest.raises(NotFound, match="hello has ended"):
        await anext(of(state, Hosts()).stream(REQUEST))


async def test_a_run_whose_replicas_wait_for_a_host_has_nothing_but_words(state: State) -> None:
    await add_replica(state, await add_run(state), "r1")
    (answer,) = [message async for message in of(state, Hosts()).stream(REQUEST)]
    assert [replica.message for replica in answer.replicas] == ["it has no host yet"]


async def test_a_draining_replica_is_still_counted(state: State) -> None:
    await add_host(state, "h1", gateway="local")
    await serve(state)
    async with state.database.write() as write:
        await replicas.update(write, "r0", wanted=Wanted.DRAIN, in_rotation=False)
    rates = {("127.0.0.1", 9000): RequestRate(0.0, 5)}
    (answer,) = [message async for message in of(state, Hosts(), rates).stream(REQUEST)]
    assert (answer.replicas[0].state, answer.replicas[0].in_flight) == ("draining", 5)


BEFORE = ReplicaUsage("r", "", cpu_s=10.0, at_s=5.0)


@pytest.mark.parametrize(
    ("before", "now", "cores"),
    [
        (BEFORE, replace(BEFORE, cpu_s=13.0, at_s=7.0), 1.5),
        (BEFORE, replace(BEFORE, at_s=7.0), 0.0),
        (None, BEFORE, None),
        (BEFORE, BEFORE, None),
        (BEFORE, replace(BEFORE, cpu_s=11.0, at_s=1.0), None),
        (BEFORE, replace(BEFORE, cpu_s=1.0, at_s=7.0), None),
        (ReplicaUsage("r", "no container"), BEFORE, None),
    ],
)
def test_cores_are_told_by_two_readings_that_can_be_compared(
    before: ReplicaUsage | None, now: ReplicaUsage, cores: float | None
) -> None:
    assert cores_used(before, now) == cores


async def answer_stats(agent: WireAgent, cpu_s: float) -> None:
    while (message := await agent.hear()).WhichOneof("message") != "stats_request":
        pass
    request = message.stats_request
    rows = [
        agent_pb2.ReplicaStats(replica_id=r, cpu_s=cpu_s, at_s=cpu_s * 2, memory_mib=5) for r in request.replica_ids
    ]
    await agent.say(agent_pb2.Stats(request_id=request.request_id, replicas=rows))


async def test_numbers_cross_both_wires(plane: Plane, user: Api) -> None:
    agent = await plane.joined("box")
    await agent.connect()
    await add_gateway(plane.state, "near", agent.host_id, domain="near.lab")
    await serve(plane.state, host_id=agent.host_id)
    plane.rates.take(LoadReport("local", time.time(), (EndpointLoad("hello", "127.0.0.1", 9000, 4, 20),), 2.0))
    stream = user.stream("Metrics", REQUEST)
    for cpu_s in (1.0, 2.0):
        await answer_stats(agent, cpu_s)
    answer = await first(stream)
    (shown,) = answer.replicas
    assert (shown.host, shown.cpu_cores, shown.memory_mib, shown.HasField("memory_limit_mib")) == ("box", 0.5, 5, False)
    assert (shown.requests_per_s, shown.in_flight, answer.in_flight) == (10.0, 4, 4)
    await agent.close()
