"""loops/gateway: published before in rotation, acknowledged and idle before drained, nothing that is inconsistent."""

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from fixtures.control import (
    State,
    add_gateway,
    add_host,
    add_replica,
    add_run,
    add_token,
    get_gateway,
    get_replica,
    get_run,
    observe,
    revision,
    service,
)
from homeport_control.domain.gateway import (
    Affinity,
    EndpointLoad,
    GatewaySnapshot,
    LoadReport,
    PublishedModel,
    RateRule,
    Traffic,
)
from homeport_control.domain.replicas import Phase, Wanted
from homeport_control.domain.services import RunState
from homeport_control.loops.acknowledged import REFUSED_AGAIN_S, REMEMBERED_VERSIONS, SILENT_S
from homeport_control.loops.gateway import GatewayLoop
from homeport_control.store import events, gateways, replicas, runs, tokens
from homeport_control.trust.tokens import sha256_hex

PORT = 40000


@dataclass
class Gateway:
    """The loop with what it published to `local`; the test is the Envoy that acknowledges."""

    state: State
    published: list[GatewaySnapshot] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loop = GatewayLoop(self.state.database)
        self.loop.publish = self.publish

    def publish(self, snapshot: GatewaySnapshot) -> int:
        """As xds does: an equal snapshot is no new version."""
        if not self.published or self.published[-1] != snapshot:
            self.published.append(snapshot)
        return len(self.published)

    async def turn(self) -> str:
        return (await self.loop.turn(time.time())).sentence

    def ack(self) -> None:
        self.loop.on_acked("local", len(self.published))

    def load(self, *in_flight: tuple[int, int]) -> None:
        """A load report with (port, requests in flight)."""
        found = tuple(EndpointLoad("hello", "127.0.0.1", port, count) for port, count in in_flight)
        self.loop.on_load(LoadReport("local", time.time(), found))

    @property
    def endpoints(self) -> list[tuple[str, int, bool]]:
        return [
            (e.replica_id, e.port, e.draining) for service in self.published[-1].services for e in service.endpoints
        ]

    async def update(self, replica_id: str, **fields: Any) -> None:
        async with self.state.database.write() as write:
            await replicas.update(write, replica_id, **fields)


@pytest.fixture
async def gateway(state: State) -> Gateway:
    """A gateway whose host has a ready replica r1."""
    await add_host(state, "h1", gateway="local", gateway_ready=True)
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    await observe(state, "h1", "r1", Phase.READY, host_port=PORT)
    return Gateway(state)


async def in_rotation(gateway: Gateway, replica_id: str = "r1") -> bool:
    return (await get_replica(gateway.state, replica_id)).in_rotation


async def serve(gateway: Gateway) -> None:
    await gateway.turn()
    gateway.ack()
    await gateway.turn()
    assert await in_rotation(gateway)


async def drain(gateway: Gateway) -> None:
    await serve(gateway)
    await gateway.update("r1", wanted=Wanted.DRAIN, drain_started_at_s=time.time(), in_rotation=False)
    await gateway.turn()


async def is_drained(gateway: Gateway) -> bool:
    await gateway.turn()
    return (await get_replica(gateway.state, "r1")).drained_at_s is not None


async def test_what_is_ready_is_published_but_in_rotation_only_when_acknowledged(gateway: Gateway) -> None:
    assert "version 1 is not acknowledged yet" in await gateway.turn()
    assert gateway.endpoints == [("r1", PORT, False)]
    assert not await in_rotation(gateway)
    with gateway.state.database.changes.subscribe("gateway") as woken:
        gateway.ack()
        assert await woken.wait(0)
    assert await gateway.turn() == "gateway local serves 1 services with 1 endpoints"
    assert await in_rotation(gateway)


async def test_what_fell_while_it_was_looked_is_not_marked_as_serving(gateway: Gateway) -> None:
    await gateway.turn()
    gateway.ack()
    looked, publish = asyncio.Event(), gateway.loop.publish

    def published(snapshot: GatewaySnapshot) -> int:
        looked.set()
        return publish(snapshot)

    gateway.loop.publish = published
    async with gateway.state.database.write() as write:  # nobody else writes until this has
        turn = asyncio.create_task(gateway.turn())
        async with asyncio.timeout(10):
            await looked.wait()
        await replicas.update(write, "r1", phase=Phase.UNREADY)
    await turn
    assert not await in_rotation(gateway)


async def test_the_first_time_in_rotation_is_when_the_run_began_to_serve(gateway: Gateway) -> None:
    await serve(gateway)
    run_id = (await get_replica(gateway.state, "r1")).run_id
    run = await get_run(gateway.state, run_id)
    assert run.ever_published
    began_s = run.running_since_s
    assert began_s is not None
    await gateway.update("r1", in_rotation=False)
    await gateway.turn()
    assert await in_rotation(gateway)
    assert (await get_run(gateway.state, run_id)).running_since_s == began_s


async def test_an_acknowledgement_of_an_older_version_does_not_count_for_a_newer_replica(gateway: Gateway) -> None:
    await serve(gateway)
    run_id = (await get_replica(gateway.state, "r1")).run_id
    await add_replica(gateway.state, run_id, "r2", index=1, host_id="h1")
    await observe(gateway.state, "h1", "r2", Phase.READY, host_port=PORT + 1)
    await gateway.turn()
    gateway.loop.on_acked("local", 1)
    await gateway.turn()
    assert not await in_rotation(gateway, "r2")
    gateway.ack()
    await gateway.turn()
    assert await in_rotation(gateway, "r2")


async def test_an_acknowledgement_of_what_was_never_published_is_ignored(gateway: Gateway) -> None:
    await gateway.turn()
    gateway.loop.on_acked("local", 77)
    await gateway.turn()
    assert not await in_rotation(gateway)


async def test_while_no_envoy_acknowledges_only_some_versions_are_remembered(gateway: Gateway) -> None:
    for number in range(REMEMBERED_VERSIONS + 3):
        await observe(gateway.state, "h1", "r1", Phase.READY, host_port=PORT + number)
        await gateway.turn()
    gateway.loop.on_acked("local", 3)
    await gateway.turn()
    assert not await in_rotation(gateway), "forgotten, and of an old port besides"
    gateway.ack()
    await gateway.turn()
    assert await in_rotation(gateway)


async def test_a_replica_that_came_back_on_another_port_must_be_acknowledged_anew(gateway: Gateway) -> None:
    await serve(gateway)
    await observe(gateway.state, "h1", "r1", Phase.READY, host_port=PORT + 7)
    await gateway.turn()
    assert not await in_rotation(gateway)
    gateway.ack()
    await gateway.turn()
    assert await in_rotation(gateway)


async def test_what_is_not_ready_any_more_leaves_at_once(gateway: Gateway) -> None:
    await serve(gateway)
    await observe(gateway.state, "h1", "r1", Phase.UNREADY, host_port=PORT)
    await gateway.turn()
    assert gateway.endpoints == []
    assert not await in_rotation(gateway)


async def test_a_server_that_has_just_started_leaves_in_rotation_what_was(gateway: Gateway) -> None:
    await serve(gateway)
    anew = Gateway(gateway.state)
    await anew.turn()
    assert await in_rotation(anew), "its Envoy goes on serving meanwhile"
    anew.ack()
    await anew.turn()
    assert await in_rotation(anew)


async def test_drained_needs_the_acknowledgement_and_two_idle_reports(gateway: Gateway) -> None:
    await drain(gateway)
    assert gateway.endpoints == [("r1", PORT, True)]
    for _ in range(3):
        gateway.load()
    assert not await is_drained(gateway), "these were counted before the acknowledgement"
    gateway.ack()
    assert not await is_drained(gateway)
    gateway.load()
    assert not await is_drained(gateway), "the first one may have been counted before it"
    gateway.load((PORT, 2))
    assert not await is_drained(gateway), "two requests are in flight"
    gateway.load((PORT, 0), (PORT + 1, 5))
    assert await is_drained(gateway)
    await gateway.turn()
    assert gateway.endpoints == []


async def test_a_load_report_wakes_the_loop_only_while_something_drains(gateway: Gateway) -> None:
    await serve(gateway)
    with gateway.state.database.changes.subscribe("gateway") as woken:
        gateway.load()
        assert not await woken.wait(0)
        await gateway.update("r1", wanted=Wanted.DRAIN, drain_started_at_s=time.time())
        await gateway.turn()
        gateway.load()
        assert await woken.wait(0)


async def test_where_no_envoy_runs_nothing_is_in_flight(gateway: Gateway) -> None:
    await serve(gateway)
    async with gateway.state.database.write() as write:
        await gateways.update(write, "local", ready=False)
    await gateway.update("r1", wanted=Wanted.DRAIN, drain_started_at_s=time.time())
    assert await is_drained(gateway)


async def test_an_envoy_that_reports_is_there_whatever_its_agent_says(gateway: Gateway) -> None:
    await serve(gateway)
    gateway.load((PORT, 1))
    async with gateway.state.database.write() as write:
        await gateways.update(write, "local", ready=False)
    await gateway.update("r1", wanted=Wanted.DRAIN, drain_started_at_s=time.time())
    assert not await is_drained(gateway)
    now_s = time.time()
    wake_at_s = (await gateway.loop.turn(now_s)).wake_at_s
    assert wake_at_s is not None
    assert now_s < wake_at_s <= now_s + SILENT_S
    await gateway.loop.turn(wake_at_s)
    assert (await get_replica(gateway.state, "r1")).drained_at_s is not None


async def test_nothing_that_is_inconsistent_is_published(gateway: Gateway) -> None:
    await serve(gateway)
    run_id = (await get_replica(gateway.state, "r1")).run_id
    await add_replica(gateway.state, run_id, "r2", index=1, host_id="h1")
    await observe(gateway.state, "h1", "r2", Phase.READY, host_port=PORT)
    before = list(gateway.published)
    sentence = await gateway.turn()
    assert "the last good configuration of gateway local stays" in sentence
    assert f"both claim 127.0.0.1:{PORT}" in sentence
    assert gateway.published == before
    assert not await in_rotation(gateway, "r2")


async def test_a_refusal_of_envoy_is_told_until_a_version_is_acknowledged(gateway: Gateway) -> None:
    await gateway.turn()
    gateway.loop.on_nacked("local", 1, "unknown field")
    assert await gateway.turn() == "gateway local refused version 1: unknown field"
    assert (await get_gateway(gateway.state)).refused == "unknown field"
    assert not await in_rotation(gateway)
    gateway.ack()
    await gateway.turn()
    assert (await get_gateway(gateway.state)).refused == ""


async def test_what_envoy_refused_is_tried_again_after_a_minute(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    again: list[str] = []
    gateway.loop.try_again = again.append
    await serve(gateway)
    await gateway.update("r1", phase=Phase.UNREADY)
    await gateway.turn()
    refused_s = time.time()
    gateway.loop.on_nacked("local", len(gateway.published), "no memory now")
    turn = await gateway.loop.turn(refused_s)
    assert again == []
    assert turn.wake_at_s == pytest.approx(refused_s + REFUSED_AGAIN_S, abs=5)
    monkeypatch.setattr(time, "time", lambda: refused_s + REFUSED_AGAIN_S + 5)
    await gateway.turn()
    await gateway.turn()
    assert again == ["local"]
    gateway.ack()
    monkeypatch.setattr(time, "time", lambda: refused_s + 10 * REFUSED_AGAIN_S)
    await gateway.turn()
    assert again == ["local"]


async def test_a_refusal_and_its_end_are_an_event_each(gateway: Gateway) -> None:
    await gateway.turn()
    gateway.loop.on_nacked("local", 1, "unknown field")
    for _ in range(3):
        await gateway.turn()
    gateway.ack()
    await gateway.turn()
    async with gateway.state.database.read() as connection:
        told = [event.sentence for event in await events.newest(connection, events.Filter(kind="gateway"), 10)]
    (refused, taken) = told[-2:]
    assert refused.endswith("refused its configuration, the last good one stays: unknown field")
    assert taken.endswith("takes its configuration again")


async def test_a_run_that_has_ended_is_not_published(gateway: Gateway) -> None:
    await serve(gateway)
    async with gateway.state.database.write() as write:
        run = await runs.active_by_name(write.connection, "hello")
        assert run is not None
        await runs.update(write, run.id, state=RunState.FAILED, ended_at_s=time.time())
    await gateway.turn()
    assert gateway.published[-1].services == ()


async def test_a_model_is_published_as_the_revision_that_is_wanted_says(state: State, gateway: Gateway) -> None:
    model = {"name": "org/llama", "prefix": "/api/v1"}
    run_id = await add_run(state, "llm", at_s=2000.5, model=model)
    given_up = revision(state, service("llm", model="qwen", auth=False))
    async with state.database.write() as write:
        await runs.add_revision(write, run_id, 2, given_up, 3000.0)
        await runs.give_up_revision(write, run_id, 2, "it never answered")
    await gateway.turn()
    found = {s.name: (s.model, s.auth) for s in gateway.published[-1].services}
    assert found == {"hello": (None, True), "llm": (PublishedModel("org/llama", "/api/v1", 2000, ready=False), True)}


async def test_how_requests_are_treated_is_the_files_own(state: State, gateway: Gateway) -> None:
    await add_run(
        state,
        "web",
        rate_limits=[{"rps": 5, "burst": 1}, {"prefix": "/v1", "rps": 0.5, "key": "header", "header": "X-Who"}],
        load_balancing="cookie",
        timeouts={"response": "30s", "idle": "off"},
        max_body_size="10MB",
        protocol="h2c",
        forward_token=True,
    )
    await gateway.turn()
    found = {s.name: (s.traffic, s.forward_token) for s in gateway.published[-1].services}
    rules = (RateRule("/", 5.0, 1), RateRule("/v1", 0.5, 0, "header", "X-Who"))
    assert found["web"] == (Traffic(Affinity("cookie", "homeport-replica"), rules, 30, None, True, 10 << 20), True)
    assert found["hello"] == (Traffic(), False)


async def test_a_token_that_is_revoked_or_expires_leaves_the_snapshot(gateway: Gateway) -> None:
    expires_at_s = time.time() + 3600
    await add_token(gateway.state, "hp_short", "service", services=("hello",), expires_at_s=expires_at_s)
    token_id = await add_token(gateway.state, "hp_long", "user")
    await add_token(gateway.state, "hpj_join", "join")
    turn = await gateway.loop.turn(time.time())
    assert turn.wake_at_s == expires_at_s, "nothing else would wake it then"
    assert {t.token_sha256 for t in gateway.published[-1].tokens} == {sha256_hex("hp_short"), sha256_hex("hp_long")}
    async with gateway.state.database.write() as write:
        await tokens.revoke(write, token_id, time.time())
    await gateway.turn()
    assert [t.token_sha256 for t in gateway.published[-1].tokens] == [sha256_hex("hp_short")]
    await gateway.loop.turn(expires_at_s)
    assert gateway.published[-1].tokens == ()


async def test_only_the_gateways_own_host_may_be_its_envoy(gateway: Gateway) -> None:
    assert gateway.loop.authorize("h1", "h1/local") is None, "nobody is known before the first turn"
    await gateway.turn()
    assert gateway.loop.authorize("h1", "h1/local") == "local"
    assert gateway.loop.authorize("h1", "h1") == "local", "an agent that knows one gateway a host only"
    assert gateway.loop.authorize("h1", "h1/other") is None
    assert gateway.loop.authorize("h2", "h1/local") is None, "the certificate says who it is, not the node"
    assert gateway.loop.authorize("", "") is None


async def test_without_a_host_nothing_is_published(state: State) -> None:
    loop = GatewayLoop(state.database)
    assert (await loop.turn(time.time())).sentence == "there is no gateway"
    await add_gateway(state, "local", "")
    assert (await loop.turn(time.time())).sentence == "gateway local has no host yet"
    assert loop.authorize("", "") is None


TAKEN = "Error adding/updating listener(s) http3: cannot bind '0.0.0.0:443': Address already in use\n"


async def test_a_port_that_http3_cannot_have_is_told_and_holds_up_nothing_else(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway.state.database.write() as write:
        await gateways.update(write, "local", http3=True)
    await gateway.turn()
    assert gateway.published[-1].http3
    gateway.loop.on_nacked("local", 1, TAKEN)
    turn = await gateway.loop.turn(time.time())
    assert not gateway.published[-1].http3, "at once without it"
    assert turn.wake_at_s is not None
    assert turn.wake_at_s - time.time() == pytest.approx(60, abs=2)
    gateway.ack()
    why = "HTTP/3 is off, and tried again each minute: Envoy says: cannot bind '0.0.0.0:443': Address already in use"
    for _ in range(2):
        await gateway.turn()
        assert (await get_gateway(gateway.state)).refused == why
    later_s = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later_s)
    await gateway.turn()
    assert gateway.published[-1].http3
    assert (await get_gateway(gateway.state)).refused == why, "until it is there"
    gateway.ack()
    await gateway.turn()
    assert (await get_gateway(gateway.state)).refused == ""
    async with gateway.state.database.read() as connection:
        told = [event.sentence for event in await events.newest(connection, events.Filter(kind="gateway"), 10)]
    assert [line.partition(": ")[0].rpartition(" on ")[2] for line in told[-2:]] == [
        "h1",
        "h1 takes its configuration again",
    ]


async def test_how_busy_replicas_are_is_told_only_when_every_gateway_of_the_run_says_it(state: State) -> None:
    gateway = Gateway(state)
    await add_host(state, gateway="local", gateway_ready=True)
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    await observe(state, "h1", "r1", Phase.READY, host_port=PORT)
    await gateway.turn()
    assert gateway.loop.in_flight("hello") is None
    gateway.ack()
    gateway.load((PORT, 4))
    assert gateway.loop.in_flight("hello") == {"r1": 4}
    assert gateway.loop.in_flight("another") is None


async def test_what_is_dear_is_made_before_it_is_published_and_not_on_the_event_loop(
    state: State, gateway: Gateway
) -> None:
    loop_thread, prepared = threading.get_ident(), []
    gateway.loop.prepare = lambda snapshot: prepared.append((threading.get_ident(), snapshot))
    await gateway.turn()
    ((where, snapshot),) = prepared
    assert where != loop_thread
    assert gateway.published[-1] is snapshot
    await gateway.turn()
    assert len(prepared) == 1, "nothing has changed"
