"""loops/gateway: several of them: what each serves, what moves from one to another, what all must acknowledge."""

import asyncio
import time
from dataclasses import dataclass, field

import pytest
from fixtures.control import (
    DEADLINE_S,
    State,
    add_gateway,
    add_host,
    add_replica,
    add_run,
    get_gateway,
    get_replica,
    observe,
    revision,
    service,
)
from homeport_control.domain.gateway import (
    GatewaySnapshot,
    LoadReport,
    Proof,
)
from homeport_control.domain.replicas import Phase, Wanted
from homeport_control.loops.gateway import GatewayLoop
from homeport_control.store import acknowledged, gateways, replicas, runs

PORT = 40000


@dataclass
class Several:
    """The loop with what it published to each gateway; `ack` is the newest version of one being acknowledged."""

    state: State
    published: dict[str, list[GatewaySnapshot]] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    version: int = 0

    def __post_init__(self) -> None:
        self.loop = GatewayLoop(self.state.database)
        self.loop.publish, self.loop.forget = self.publish, self.forgotten.append
        self.versions: dict[str, int] = {}

    def publish(self, snapshot: GatewaySnapshot) -> int:
        given = self.published.setdefault(snapshot.gateway, [])
        if not given or given[-1] != snapshot:
            given.append(snapshot)
            self.version += 1
            self.versions[snapshot.gateway] = self.version
        return self.versions[snapshot.gateway]

    async def turn(self) -> str:
        return (await self.loop.turn(time.time())).sentence

    async def ack(self, gateway: str) -> None:
        self.loop.on_acked(gateway, self.versions[gateway])
        await self.turn()

    def domains(self, gateway: str) -> list[str]:
        return [domain for service in self.published[gateway][-1].services for domain in service.domains]

    async def move(self, run_id: str, gateway: str) -> None:
        async with self.state.database.write() as write:
            number = (await runs.get(write.connection, run_id)).newest.number + 1
            await runs.add_revision(write, run_id, number, revision(self.state, service(gateway=gateway)), 2000.0)


@pytest.fixture
async def several(state: State) -> Several:
    """Two gateways on one host, `local` the default, and a run with a ready replica."""
    await add_host(state, "h1", gateway="local", gateway_ready=True)
    await add_gateway(state, "main", domain="example.com", ready=True)
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    await observe(state, "h1", "r1", Phase.READY, host_port=PORT)
    return Several(state)


async def rotates(several: Several) -> bool:
    return (await get_replica(several.state, "r1")).in_rotation


async def test_each_gateway_serves_its_own_services_and_only_theirs_must_acknowledge(several: Several) -> None:
    await several.turn()
    assert several.domains("local") == ["hello.localhost"]
    assert several.domains("main") == []
    await several.ack("main")
    assert not await rotates(several)
    await several.ack("local")
    assert await rotates(several)


async def test_a_service_that_moves_is_served_by_both_until_its_new_gateway_has_it(several: Several) -> None:
    await several.turn()
    await several.ack("local")
    run_id = (await get_replica(several.state, "r1")).run_id
    await several.move(run_id, "main")
    await several.turn()
    assert several.domains("local") == ["hello.localhost"]
    assert several.domains("main") == ["hello.example.com"]
    assert await rotates(several), "at the one that it leaves"
    await several.ack("main")
    assert several.domains("local") == []
    assert await rotates(several)


async def test_a_server_that_starts_again_in_the_middle_of_a_move_knows_who_served_what(several: Several) -> None:
    await several.turn()
    await several.ack("local")
    await several.move((await get_replica(several.state, "r1")).run_id, "main")
    await several.turn()

    again = Several(several.state)
    await again.turn()
    assert again.domains("local") == ["hello.localhost"], "main has not acknowledged it yet"
    assert again.domains("main") == ["hello.example.com"]
    assert await rotates(again)
    await again.ack("main")
    assert again.domains("local") == []
    assert await rotates(again)

    # And who had acknowledged all of it is not asked to wait for the one that let go.
    last = Several(several.state)
    await last.turn()
    assert last.domains("local") == []
    assert await rotates(last)


async def test_what_an_envoy_on_another_host_had_acknowledged_says_nothing(several: Several) -> None:
    await several.turn()
    await several.ack("local")
    await add_host(several.state, "h2")
    async with several.state.database.write() as write:
        assert (await acknowledged.of(write.connection, "local", "h1")).keys() == {"hello"}
        await gateways.update(write, "local", host_id="h2")
        assert await acknowledged.of(write.connection, "local", "h2") == {}
    again = Several(several.state)
    await again.turn()
    await again.ack("local")
    async with several.state.database.write() as write:
        assert (await acknowledged.of(write.connection, "local", "h2")).keys() == {"hello"}
        assert await acknowledged.of(write.connection, "local", "h1") == {}
        gateway = await gateways.get(write.connection, "local")
        assert gateway is not None
        await gateways.remove(write, gateway)
        assert await acknowledged.of(write.connection, "local", "h2") == {}


async def test_what_drains_is_waited_for_at_the_gateway_that_it_left_too(several: Several) -> None:
    await several.turn()
    await several.ack("local")
    await several.move((await get_replica(several.state, "r1")).run_id, "main")
    await several.turn()
    async with several.state.database.write() as write:
        await replicas.update(write, "r1", wanted=Wanted.DRAIN, drain_started_at_s=time.time(), in_rotation=False)
    await several.turn()

    async def idle(gateway: str) -> bool:
        for _ in range(2):
            several.loop.on_load(LoadReport(gateway, time.time(), ()))
        await several.turn()
        return (await get_replica(several.state, "r1")).drained_at_s is not None

    await several.ack("main")
    assert not await idle("main"), "local has it still"
    await several.ack("local")
    assert await idle("local")


async def test_a_new_domain_is_served_beside_the_old_one_until_it_is_acknowledged(several: Several) -> None:
    await several.turn()
    await several.ack("local")
    async with several.state.database.write() as write:
        await gateways.update(write, "local", domain="new.example", old_domain="localhost")
    await several.turn()
    assert several.domains("local") == ["hello.new.example", "hello.localhost"]
    assert several.published["local"][-1].old_domain == "localhost"
    await several.turn()
    assert several.domains("local") == ["hello.new.example", "hello.localhost"], "not acknowledged yet"
    await several.ack("local")
    assert (await get_gateway(several.state)).old_domain == ""
    await several.turn()
    assert several.domains("local") == ["hello.new.example"]


async def test_a_gateway_that_goes_or_moves_to_another_host_is_begun_anew(several: Several) -> None:
    await add_host(several.state, "h2")
    await several.turn()
    await several.ack("local")
    async with several.state.database.write() as write:
        await gateways.update(write, "local", host_id="h2")
        await gateways.remove(write, await get_gateway(several.state, "main"))
    assert "not acknowledged yet" in await several.turn()
    assert sorted(several.forgotten) == ["local", "main"]
    assert several.loop.authorize("h1", "h1/local") is None
    assert several.loop.authorize("h2", "h2/local") == "local"
    assert several.loop.authorize("h1", "h1/main") is None


async def test_an_agent_of_one_gateway_a_host_is_the_first_one(several: Several) -> None:
    await several.turn()
    assert several.loop.authorize("h1", "h1") == "local"
    assert several.loop.authorize("h1", "h1/main") == "main"


async def test_a_proof_is_shown_when_it_is_acknowledged_and_taken_back_afterwards(several: Several) -> None:
    proof = Proof("hello.localhost", "/.well-known/x", "text")
    await several.turn()
    await several.ack("local")
    entered = asyncio.Event()

    async def prove() -> None:
        async with several.loop.proving("local", proof):
            entered.set()

    proving = asyncio.create_task(prove())
    with several.state.database.changes.subscribe("gateway") as woken:
        assert await woken.wait(DEADLINE_S)
    await several.turn()
    assert several.published["local"][-1].proofs == (proof,)
    assert several.published["main"][-1].proofs == ()
    assert not entered.is_set()
    await several.ack("local")
    await asyncio.wait_for(proving, DEADLINE_S)
    assert entered.is_set()
    await several.turn()
    assert several.published["local"][-1].proofs == ()
