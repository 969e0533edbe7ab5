"""What a report changes: findings with their events, and nothing by an older one."""

from dataclasses import replace

from fixtures.control import State, add_host, get_host
from homeport_control.agents.reports import take_report
from homeport_control.domain.hosts import Door, Health, Tunnel
from homeport_control.store import doors, sessions
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.common.v1 import host_pb2

GPU = host_pb2.Gpu(uuid="GPU-1", name="A100", memory_total_mib=81920)


def report(sequence: int, *findings: host_pb2.Finding, told: bool = True) -> agent_pb2.Report:
    message = agent_pb2.Report(boot_id="b1", sequence=sequence, facts=host_pb2.HostFacts(gpus=[GPU], cpus=4))
    if told:
        message.findings.CopyFrom(agent_pb2.Findings(findings=findings))
    return message


def xid(severity: str = "failing") -> host_pb2.Finding:
    return host_pb2.Finding(gpu_uuid="GPU-1", code="xid-79", severity=severity, reason="XID 79", since_s=5.0)


async def begun(state: State, *, gateway: str = "") -> None:
    await add_host(state, "h1", gateway=gateway)
    async with state.database.write() as write:
        await sessions.begin(write, {"h1": "b1"})


async def test_a_finding_is_written_and_wakes_who_moves_replicas(state: State) -> None:
    await begun(state)
    with state.database.changes.subscribe("health") as woken:
        await take_report(state.database, "h1", "host h1", report(1, xid()))
        assert await woken.wait(0)
        host = await get_host(state, "h1")
        assert (host.health, host.health_of("GPU-1"), host.health_of("")) == (
            Health.FAILING, Health.FAILING, Health.HEALTHY,
        )  # fmt: skip
        assert host.barred_gpu("GPU-1") == "is failing: XID 79"
        await take_report(state.database, "h1", "host h1", report(2, xid()))
        assert not await woken.wait(0), "the same again is no news"
        await take_report(state.database, "h1", "host h1", report(3, told=False))
        assert (await get_host(state, "h1")).findings, "a report without findings says nothing about them"
        await take_report(state.database, "h1", "host h1", report(4))
        assert await woken.wait(0)
    assert (await get_host(state, "h1")).health is Health.HEALTHY


async def test_an_older_report_changes_nothing(state: State) -> None:
    await begun(state)
    await take_report(state.database, "h1", "host h1", report(5, xid()))
    await take_report(state.database, "h1", "host h1", report(4))
    assert (await get_host(state, "h1")).health is Health.FAILING


def ways(sequence: int, **fields: object) -> agent_pb2.Report:
    return agent_pb2.Report(boot_id="b1", sequence=sequence, **fields)  # type: ignore[arg-type]


async def test_a_door_is_kept_and_its_gateways_host_is_told_to_dial_it_when_it_stands_elsewhere(state: State) -> None:
    await begun(state)
    await add_host(state, "gate", gateway="local")
    door = agent_pb2.DoorReport(address="10.0.0.5", ports=[40001])
    with state.database.changes.subscribe("doors") as kept, state.database.changes.subscribe("host:gate") as told:
        await take_report(state.database, "h1", "host h1", ways(1, door=door))
        assert await kept.wait(0)
        assert await told.wait(0)
        await take_report(state.database, "h1", "host h1", ways(2, door=door))
        assert not await kept.wait(0), "the same again is no news"
        door.ports.append(40002)
        await take_report(state.database, "h1", "host h1", ways(3, door=door))
        assert await kept.wait(0)
        assert not await told.wait(0), "it is dialled at the port that it knows"
    assert (await get_host(state, "h1")).door == Door("10.0.0.5", (40001, 40002))


async def test_what_a_gateways_host_could_dial_is_kept_with_the_door_and_of_nobody_else(state: State) -> None:
    await begun(state, gateway="main")
    await add_host(state, "far")
    async with state.database.write() as write:
        await doors.put(write, {"far": Door("10.0.0.5", (40001,))})
    reached = [agent_pb2.Reached(host_id="far"), agent_pb2.Reached(host_id="gone", error="no route")]
    await take_report(state.database, "h1", "host h1", ways(1, reached=reached))
    assert (await get_host(state, "far")).door == Door("10.0.0.5", (40001,), "", (("h1", ""),), ("h1",))
    async with state.database.read() as connection:
        assert set(await doors.by_host(connection)) == {"far"}
        assert await doors.by_host(connection, ["h1", "gone"]) == {}


async def test_tunnels_are_told_by_the_edge_and_both_ends_hear_of_what_they_must_do(state: State) -> None:
    await begun(state, gateway="main")
    await add_host(state, "far")
    async with state.database.write() as write:
        await doors.put(write, {"far": Door("10.0.0.5", (40001,))})
    with state.database.changes.subscribe("host:far") as far, state.database.changes.subscribe("host:h1") as gate:
        reached = [agent_pb2.Reached(host_id="far", error="no route")]
        await take_report(state.database, "h1", "host h1", ways(1, reached=reached))
        assert await far.wait(0), "it is to dial"
        assert await gate.wait(0), "and is expected"
        edge = agent_pb2.EdgeReport(hosts=[agent_pb2.EdgeHost(host_id="far", ports=[40001])])
        with state.database.changes.subscribe("doors") as told:
            await take_report(state.database, "h1", "host h1", ways(2, reached=reached, edge=edge))
            assert await told.wait(0)
            assert (await get_host(state, "far")).door.tunnels == (Tunnel("h1", (40001,)),)
            await take_report(state.database, "h1", "host h1", ways(3, reached=reached, edge=agent_pb2.EdgeReport()))
            assert await told.wait(0)
        assert (await get_host(state, "far")).door.tunnels == (
            Tunnel("h1", (40001,), "it has no tunnel to the gateway's edge"),
        )
        async with state.database.write() as write:
            door = (await get_host(state, "far")).door
            await doors.put(write, {"far": replace(door, ports=(40001, 40002))})
        assert await gate.wait(0), "another replica behind the tunnel needs a socket"


async def test_a_host_that_is_no_gateway_says_nothing_of_ways_to_others(state: State) -> None:
    await begun(state)
    await add_host(state, "far")
    before = Door("10.0.0.5", (40001,))
    async with state.database.write() as write:
        await doors.put(write, {"far": before})
    reached = [agent_pb2.Reached(host_id="far", error="no route")]
    edge = agent_pb2.EdgeReport(hosts=[agent_pb2.EdgeHost(host_id="far", ports=[40001])])
    await take_report(state.database, "h1", "host h1", ways(1, reached=reached, edge=edge))
    assert (await get_host(state, "far")).door == before


async def test_a_door_at_no_address_and_ports_that_are_none_never_reach_a_gateway(state: State) -> None:
    await begun(state)
    for sequence, said in enumerate(("evil.example.org", "fe80::1%eth0", "10.0.0", "/run/envoy.sock", "\0"), start=1):
        door = agent_pb2.DoorReport(address=said, ports=[0, -1, 65536, 40001], message="\x1b[2J" + "x" * 10_000)
        await take_report(state.database, "h1", "host h1", ways(sequence, door=door))
        kept = (await get_host(state, "h1")).door
        assert (kept.address, kept.ports) == ("", (40001,)), said
        assert kept.message.isprintable()
        assert len(kept.message) <= 1010


async def test_whether_a_host_that_cannot_be_dialled_was_heard_since_is_kept(state: State) -> None:
    await begun(state, gateway="main")
    await add_host(state, "far")
    async with state.database.write() as write:
        await doors.put(write, {"far": Door("10.0.0.5", (40001,))})
    for sequence, error in ((1, ""), (2, "no answer")):
        reached = [agent_pb2.Reached(host_id="far", error=error)]
        await take_report(state.database, "h1", "host h1", ways(sequence, reached=reached))
    assert (await get_host(state, "far")).door.unheard == ("h1",)
    async with state.database.write() as write:
        await sessions.begin(write, {"far": "b1"})
    door = agent_pb2.DoorReport(address="10.0.0.5", ports=[40001])
    await take_report(state.database, "far", "host far", ways(1, door=door))
    assert (await get_host(state, "far")).door.unheard == ()
