"""The session against a control plane on real sockets with mTLS."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fakes.control import FakeControl, fake_control
from homeport_agent.gpus.model import Finding, GpuReading, Severity
from homeport_agent.identity import IdentityStore
from homeport_agent.join import join
from homeport_agent.link import Link, Removed, Software
from homeport_agent.model import (
    Assignment,
    DoorObserved,
    EdgeHost,
    EdgeObserved,
    GatewayObserved,
    HostFacts,
    Phase,
    Reached,
    ReplicaObserved,
)
from homeport_agent.outbox import Outbox
from homeport_agent.telemetry.changes import News
from homeport_agent.telemetry.model import HostReading, ReplicaReading
from homeport_protos.agent.v1 import agent_pb2


class Host:
    """A host whose state the test writes."""

    def __init__(self) -> None:
        self.known = HostFacts("gpu-1", cpus=4)
        self.held: tuple[ReplicaObserved, ...] = ()
        self.envoys: tuple[GatewayObserved, ...] = ()
        self.way_in: DoorObserved | None = None
        self.dialled: tuple[Reached, ...] = ()
        self.hub: EdgeObserved | None = None
        self.is_settled = asyncio.Event()
        self.is_settled.set()
        self.assignments: asyncio.Queue[Assignment] = asyncio.Queue()
        self.generation = 0
        self.found: tuple[Finding, ...] = ()
        self.cleared: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self.fresh: list[News] = []
        self.asked_anew: list[bool] = []
        self.offsets_s: list[float] = []

    def facts(self) -> HostFacts:
        return self.known

    def replicas(self) -> tuple[ReplicaObserved, ...]:
        return self.held

    def gateways(self) -> tuple[GatewayObserved, ...]:
        return self.envoys

    def door(self) -> DoorObserved | None:
        return self.way_in

    def edge(self) -> EdgeObserved | None:
        return self.hub

    def reached(self) -> tuple[Reached, ...]:
        return self.dialled

    def accepted_generation(self) -> int:
        return self.generation

    async def settled(self) -> None:
        await self.is_settled.wait()

    def assigned(self, assignment: Assignment) -> None:
        self.generation = assignment.generation
        self.assignments.put_nowait(assignment)

    def findings(self) -> tuple[Finding, ...]:
        return self.found

    def clear_findings(self, gpu_uuids: tuple[str, ...]) -> None:
        self.cleared.put_nowait(gpu_uuids)

    def news(self, *, anew: bool = False) -> News | None:
        self.asked_anew.append(anew)
        return self.fresh.pop(0) if self.fresh else None

    def server_clock(self, offset_s: float) -> None:
        self.offsets_s.append(offset_s)


class Desk:
    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.outbox = Outbox()
        self.wake = asyncio.Event()

    def opened(self, outbox: Outbox) -> None:
        self.outbox = outbox

    def requested(self, request: agent_pb2.LogRequest) -> None:
        self._note("requested", request.request_id)

    def credited(self, request_id: int, lines: int) -> None:
        self._note("credited", request_id)

    def cancelled(self, request_id: int) -> None:
        self._note("cancelled", request_id)

    def closed(self) -> None:
        self._note("closed", 0)

    def _note(self, what: str, request_id: int) -> None:
        self.told.append((what, request_id))
        self.wake.set()


class Upgrades:
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def opened(self, outbox: Outbox) -> None:
        pass

    def requested(self, request: agent_pb2.Upgrade) -> None:
        self.asked.append(request.build)


class Stats:
    """Answers each request with the ids that it names."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.requests: asyncio.Queue[agent_pb2.StatsRequest] = asyncio.Queue()

    def opened(self, outbox: Outbox) -> None:
        self.outbox = outbox

    def requested(self, request: agent_pb2.StatsRequest) -> None:
        self.requests.put_nowait(request)


@dataclasses.dataclass
class Rig:
    control: FakeControl
    host: Host
    desk: Desk
    stats: Stats
    link: Link
    store: IdentityStore


@asynccontextmanager
async def linked(folder: Path) -> AsyncIterator[Rig]:
    store = IdentityStore(folder / "state")
    async with fake_control(folder / "control") as control:
        await join(store, f"127.0.0.1:{control.api_port}", control.token, "gpu-1", control.web_port)
        host, desk, stats = Host(), Desk(), Stats()
        link = Link(store, host, desk, stats, "boot-1", Software("0.1.0", "b1"), Upgrades())
        work = asyncio.ensure_future(link.run())
        try:
            yield Rig(control, host, desk, stats, link, store)
        finally:
            work.cancel()
            await asyncio.wait([work])


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with linked(tmp_path) as made:
        yield made


async def test_a_session_begins_with_a_hello_and_a_report(rig: Rig) -> None:
    rig.host.held = (ReplicaObserved("r1", Phase.READY, host_port=32768, exit_code=0),)
    session = await rig.control.session()
    hello = await session.next("hello")
    assert (hello.boot_id, hello.agent_version, hello.facts.cpus) == ("boot-1", "0.1.0", 4)
    report = await session.next("report")
    assert (report.boot_id, report.sequence) == ("boot-1", 1)
    assert report.replicas[0].phase == agent_pb2.PHASE_READY
    assert report.replicas[0].HasField("exit_code")
    assert not report.HasField("facts")
    assert not report.HasField("gateway")


async def test_a_host_that_was_removed_ends_its_link_and_says_so(tmp_path: Path) -> None:
    async with fake_control(tmp_path / "control") as control:
        control.is_removed = True
        store = IdentityStore(tmp_path / "state")
        await join(store, f"127.0.0.1:{control.api_port}", control.token, "gpu-1", control.web_port)
        link = Link(store, Host(), Desk(), Stats(), "boot-1", Software("0.1.0", "b1"), Upgrades())
        async with asyncio.timeout(10):
            with pytest.raises(Removed, match="was removed from the fleet of the server at"):
                await link.run()


async def test_what_is_found_is_told_first_and_then_only_when_it_is_another(rig: Rig) -> None:
    session = await rig.control.session()
    assert (await session.next("report")).HasField("findings"), "a new server may know of findings that are over"
    assert not (await session.next("report")).HasField("findings")
    rig.host.found = (Finding("xid-79", Severity.FAILING, "it fell off the bus", gpu_uuid="GPU-1", since_s=5.0),)
    rig.link.changed()
    while not (report := await session.next("report")).HasField("findings"):
        pass
    (finding,) = report.findings.findings
    assert (finding.code, finding.severity, finding.gpu_uuid, finding.since_s) == ("xid-79", "failing", "GPU-1", 5.0)


async def test_readings_are_sent_when_there_are_new_ones(rig: Rig) -> None:
    session = await rig.control.session()
    await session.next("report")
    rig.host.fresh = [
        News(True, HostReading(cpu=0.5), (GpuReading("GPU-1", memory_used_mib=0, throttled=("hw-slowdown",)),), ()),
        News(False, None, (), (ReplicaReading("r1", 5, 9),)),
    ]
    rig.link.has_readings()
    first = await session.next("telemetry")
    assert (first.full, first.host.cpu, first.gpus[0].uuid, list(first.gpus[0].throttled)) == (
        True,
        0.5,
        "GPU-1",
        ["hw-slowdown"],
    )
    assert first.gpus[0].HasField("memory_used_mib")
    assert not first.gpus[0].HasField("power_w")
    rig.link.has_readings()
    second = await session.next("telemetry")
    assert (second.full, second.HasField("host"), second.replicas[0].gpu_memory_peak_mib) == (False, False, 9)
    assert rig.host.asked_anew == [True, False], "only to a new session everything is told"


async def test_a_large_fleets_server_is_not_sent_each_sample(tmp_path: Path) -> None:
    async with linked(tmp_path) as rig:
        rig.control.telemetry_interval_s = 3600
        session = await rig.control.session()
        await session.next("report")
        rig.host.fresh = [News(True, HostReading(cpu=cpu), (), ()) for cpu in (0.25, 0.5)]
        rig.link.has_readings()
        assert (await session.next("telemetry")).host.cpu == 0.25, "the first one of a session goes at once"
        rig.link.has_readings()
        for _ in range(2):  # reports go before readings: after the second one these would have been taken
            rig.link.changed()
            await session.next("report")
        assert len(rig.host.fresh) == 1


async def test_an_admins_word_reaches_the_health_of_the_host(rig: Rig) -> None:
    session = await rig.control.session()
    session.push(clear_findings=agent_pb2.ClearFindings(gpu_uuids=["GPU-1"]))
    assert await asyncio.wait_for(rig.host.cleared.get(), 5) == ("GPU-1",)


async def test_the_servers_clock_is_compared_at_each_welcome(rig: Rig) -> None:
    session = await rig.control.session()
    await session.next("report")
    assert rig.host.offsets_s == [pytest.approx(-3600.0, abs=60.0)], "the fake server's clock is an hour ahead"


async def test_reports_come_at_their_interval_and_in_order(rig: Rig) -> None:
    session = await rig.control.session()
    sequences = [(await session.next("report")).sequence for _ in range(3)]
    assert sequences == [1, 2, 3]


async def test_a_change_is_reported_at_once(tmp_path: Path) -> None:
    async with linked(tmp_path) as rig:
        rig.control.report_interval_s = 3600
        session = await rig.control.session()
        await session.next("report")
        rig.host.held = (ReplicaObserved("r1", Phase.PULLING, pulled_bytes=5),)
        rig.link.changed()
        assert (await session.next("report")).replicas[0].pulled_bytes == 5


async def test_facts_travel_only_when_they_changed(rig: Rig) -> None:
    session = await rig.control.session()
    assert not (await session.next("report")).HasField("facts")
    rig.host.known = HostFacts("gpu-1", cpus=8)
    async with asyncio.timeout(10):
        while not (report := await session.next("report")).HasField("facts"):
            pass
    assert report.facts.cpus == 8
    assert not (await session.next("report")).HasField("facts")


async def test_the_first_report_waits_until_the_containers_are_known(tmp_path: Path) -> None:
    async with linked(tmp_path) as rig:
        rig.host.is_settled.clear()
        session = await rig.control.session()
        await session.next("hello")
        session.push(assignment=agent_pb2.Assignment(generation=1))
        await rig.host.assignments.get()  # the session works, yet says nothing of the containers
        assert session.from_agent.empty()
        rig.host.held = (ReplicaObserved("r1", Phase.READY),)
        rig.host.is_settled.set()
        assert len((await session.next("report")).replicas) == 1


async def test_an_assignment_reaches_the_host_and_its_generation_the_server(rig: Rig) -> None:
    session = await rig.control.session()
    session.push(
        assignment=agent_pb2.Assignment(
            generation=7,
            replicas=[agent_pb2.AssignedReplica(replica_id="r1", image="hello:1", env={"A": "b"}, retry=True)],
            gateways=[
                agent_pb2.GatewayRole(name="local", xds_port=7401, listen_address="127.0.0.1", http_port=7480),
                agent_pb2.GatewayRole(name="main", xds_port=7401, listen_address="::1", http_port=80, https_port=443),
            ],
        )
    )
    async with asyncio.timeout(10):
        got = await rig.host.assignments.get()
        while (await session.next("report")).accepted_generation != 7:
            pass
    assert (got.server_id, got.generation) == ("server-1", 7)
    assert (got.replicas[0].image, got.replicas[0].env) == ("hello:1", (("A", "b"),))
    assert [role.places for role in got.gateways] == [(("127.0.0.1", 7480),), (("::1", 80), ("::1", 443))]


async def test_a_server_that_knows_one_gateway_a_host_is_understood(rig: Rig) -> None:
    session = await rig.control.session()
    role = agent_pb2.GatewayRole(name="local", xds_port=7401, listen_address="127.0.0.1", http_port=7480)
    session.push(assignment=agent_pb2.Assignment(generation=7, gateway=role))
    async with asyncio.timeout(10):
        assert [role.name for role in (await rig.host.assignments.get()).gateways] == ["local"]


async def test_gateways_are_reported_where_there_are_some(rig: Rig) -> None:
    rig.host.envoys = (GatewayObserved("local", False, "port 7480 is taken"), GatewayObserved("main", True))
    session = await rig.control.session()
    report = await session.next("report")
    assert [(it.name, it.message) for it in report.gateways] == [("local", "port 7480 is taken"), ("main", "")]
    assert report.gateway.name == "local", "for a server that knows no more than one"


async def test_the_way_in_and_the_doors_that_answer_are_reported(rig: Rig) -> None:
    rig.host.way_in = DoorObserved("10.0.0.5", (40001, 40002), "10.0.0.5:40003 is not open")
    rig.host.hub = EdgeObserved("", (EdgeHost("h4", (40001,)),))
    rig.host.dialled = (Reached("h2", ""), Reached("h3", "10.0.0.7:1: connection refused"))
    report = await (await rig.control.session()).next("report")
    assert (report.door.address, list(report.door.ports)) == ("10.0.0.5", [40001, 40002])
    assert report.door.message == "10.0.0.5:40003 is not open"
    assert [(it.host_id, list(it.ports)) for it in report.edge.hosts] == [("h4", [40001])]
    assert [(it.host_id, it.error) for it in report.reached] == [("h2", ""), ("h3", "10.0.0.7:1: connection refused")]


async def test_a_new_session_follows_when_the_server_ends_one(rig: Rig) -> None:
    first = await rig.control.session()
    await first.next("report")
    first.end()
    second = await rig.control.session()
    hello = await second.next("hello")
    assert (hello.boot_id, hello.facts.cpus) == ("boot-1", 4)
    assert (await second.next("report")).sequence > 1
    assert ("closed", 0) in rig.desk.told


async def test_a_server_that_dies_and_comes_back_is_found_again(rig: Rig) -> None:
    await (await rig.control.session()).next("report")
    await rig.control.stop()
    await rig.control.start()
    await (await rig.control.session()).next("report")


async def test_log_messages_reach_the_desk_and_its_lines_the_server(rig: Rig) -> None:
    session = await rig.control.session()
    session.push(log_request=agent_pb2.LogRequest(request_id=5, replica_id="r1"))
    session.push(log_credit=agent_pb2.LogCredit(request_id=5, lines=1))
    session.push(log_cancel=agent_pb2.LogCancel(request_id=5))
    async with asyncio.timeout(10):
        while len(rig.desk.told) < 3:
            rig.desk.wake.clear()
            await rig.desk.wake.wait()
    assert rig.desk.told == [("requested", 5), ("credited", 5), ("cancelled", 5)]
    await rig.desk.outbox.put(agent_pb2.FromAgent(log_end=agent_pb2.LogEnd(request_id=5, error="no such container")))
    assert (await session.next("log_end")).error == "no such container"


async def test_a_request_for_numbers_reaches_the_desk_and_its_answer_the_server(rig: Rig) -> None:
    session = await rig.control.session()
    session.push(stats_request=agent_pb2.StatsRequest(request_id=9, replica_ids=["r1"]))
    async with asyncio.timeout(10):
        assert list((await rig.stats.requests.get()).replica_ids) == ["r1"]
    await rig.stats.outbox.put(agent_pb2.FromAgent(stats=agent_pb2.Stats(request_id=9)))
    assert (await session.next("stats")).request_id == 9


async def test_a_server_that_this_host_did_not_join_gets_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with linked(tmp_path) as rig:
        rig.control.server_id = "another"
        session = await rig.control.session()
        await session.next("hello")
        session.push(assignment=agent_pb2.Assignment(generation=1))
        second = await rig.control.session()  # it hung up and tries again
        await second.next("hello")
        assert rig.host.assignments.empty()
        assert session.from_agent.empty()


class Wire:
    """A way to the server that can be cut without a word: bytes are taken and go nowhere."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.is_cut = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not self.is_cut:
                writer.write(data)
        writer.close()


async def test_a_link_that_falls_silent_is_noticed_within_seconds(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path / "state")
    async with fake_control(tmp_path / "control") as control:
        control.report_interval_s = 2.0  # a server's own
        identity, _ = await join(store, f"127.0.0.1:{control.api_port}", control.token, "gpu-1", control.web_port)
        wire = Wire(control.link_port)
        server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
        store.save(dataclasses.replace(identity, link_port=server.sockets[0].getsockname()[1]))
        desk = Desk()
        work = asyncio.ensure_future(
            Link(store, Host(), desk, Stats(), "boot-1", Software("0.1.0", "b1"), Upgrades()).run()
        )
        await (await control.session()).next("report")
        wire.is_cut = True
        async with asyncio.timeout(8):
            while ("closed", 0) not in desk.told:
                desk.wake.clear()
                await desk.wake.wait()
        wire.is_cut = False
        await (await control.session()).next("report")
        work.cancel()
        await asyncio.wait([work])
        server.close()
