"""A host with a good certificate that means harm: its own session ends with a reason, the others and the server go on.

Against a real server process. What one message may hold is tried value by value in tests/unit/control/agents/test_bounds.py.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from fixtures.hostile import ANSWER_S, HostileHost, Victim, bearer
from fixtures.messages import messages
from homeport_protos.agent.v1 import agent_pb2, agent_pb2_grpc
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2
from hypothesis import HealthCheck, Phase, given, settings
from rig.stack import wait_for

MOST_GROWTH_MIB = 150.0  # of the server by whatever one host does
Message = agent_pb2.FromAgent


@pytest.fixture(scope="module")
def honest(server: Victim) -> HostileHost:
    """One that does what an agent does."""
    return HostileHost(server, "honest")


@asynccontextmanager
async def beside(server: Victim, honest: HostileHost) -> AsyncIterator[None]:
    """An honest host is connected all the time, and the server is well and no larger afterwards."""
    before_mib = server.rss_mib
    async with honest.session() as call:

        async def beat() -> None:
            while True:
                await call.write(Message(report=agent_pb2.Report(boot_id="b1", sequence=time.time_ns())))
                await asyncio.sleep(1.0)

        async def hear() -> None:
            while await call.read() is not grpc.aio.EOF:
                pass

        tasks = [asyncio.create_task(beat()), asyncio.create_task(hear())]
        yield
        assert not any(task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
        assert (await asyncio.to_thread(server.host, "honest")).connection == "connected"
        for task in tasks:  # a read that is cancelled ends its session
            task.cancel()
    await asyncio.to_thread(server.must_be_well)
    assert server.rss_mib - before_mib < MOST_GROWTH_MIB


async def reason(server: Victim, name: str) -> str:
    """Why the server says that it is away."""

    def look() -> str:
        host = server.host(name)
        return host.reason if host.connection == "unreachable" else ""

    return await asyncio.to_thread(wait_for, f"{name} is away", look, ANSWER_S)


async def send(call: Any, *sent: Message) -> None:
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
        for message in sent:
            await call.write(message)


@pytest.mark.parametrize(
    ("what", "because"),
    [
        (lambda: Message(hello=HostileHost.hello()), "its agent said hello twice"),
        (lambda: Message(report=agent_pb2.Report(boot_id="b" * (8 << 20))), "bytes at once"),
        (
            lambda: Message(telemetry=agent_pb2.Telemetry(gpus=[host_pb2.GpuReading(uuid="x" * (5 << 20))])),
            "bytes at once",
        ),
    ],
    ids=["two hellos", "a huge report", "a huge reading"],
)
async def test_what_no_agent_says_ends_its_session_with_a_reason(
    server: Victim, honest: HostileHost, what: Callable[[], Message], because: str, request: pytest.FixtureRequest
) -> None:
    host = HostileHost(server, f"evil-{request.node.callspec.id}")
    async with beside(server, honest), host.session() as call:
        await send(call, what())
        assert because in await reason(server, host.name.replace(" ", "-"))


async def test_a_message_beyond_grpcs_own_limit_ends_the_call(server: Victim, honest: HostileHost) -> None:
    host = HostileHost(server, "evil-large")
    async with beside(server, honest), host.session() as call:
        await send(call, Message(log_end=agent_pb2.LogEnd(error="x" * (80 << 20))))
        assert await reason(server, "evil-large")


async def test_a_session_that_begins_with_no_hello_is_refused(server: Victim, honest: HostileHost) -> None:
    host = HostileHost(server, "evil-first")
    first = [
        Message(report=agent_pb2.Report(boot_id="b1", sequence=1)),
        Message(hello=host.hello(boot_id="b" * 10_000)),
    ]
    async with beside(server, honest), host.channel() as channel:
        for message in first:
            call = agent_pb2_grpc.AgentLinkStub(channel).Session(timeout=ANSWER_S)
            await send(call, message)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                assert await call.read() is not grpc.aio.EOF
            assert "hello" in (refused.value.details() or "")


async def test_a_flood_of_reports_is_read_at_a_pace_and_hinders_nobody(server: Victim, honest: HostileHost) -> None:
    host = HostileHost(server, "evil-flood")
    async with beside(server, honest), host.session() as call:

        async def flood() -> None:
            for sequence in range(1, 20_000):
                facts = host_pb2.HostFacts(memory_mib=sequence, hostname="x" * 1000)
                await call.write(Message(report=agent_pb2.Report(boot_id="b1", sequence=sequence, facts=facts)))

        task = asyncio.create_task(flood())
        began_s = time.monotonic()
        slowest_s = 0.0
        while time.monotonic() - began_s < 3.0:
            asked_s = time.monotonic()
            await asyncio.to_thread(server.host, "honest")
            slowest_s = max(slowest_s, time.monotonic() - asked_s)
        assert not task.done(), "it was read as fast as it came"
        task.cancel()
        assert slowest_s < 2.0


async def test_one_host_changes_nothing_of_another(server: Victim, honest: HostileHost) -> None:
    host = HostileHost(server, "evil-liar")
    before = server.rows("SELECT id, phase, message, host_port FROM replicas WHERE id = 'r1'")
    door = server.rows("SELECT door FROM hosts WHERE id = ?", honest.host_id)
    gateways = server.rows("SELECT name, ready, message FROM gateways")
    async with beside(server, honest), host.session() as call:
        lies = agent_pb2.Report(
            boot_id="b1",
            sequence=1,
            replicas=[agent_pb2.ReplicaReport(replica_id="r1", phase=agent_pb2.PHASE_READY, host_port=22)],
            reached=[agent_pb2.Reached(host_id=honest.host_id, error="no route")],
            edge=agent_pb2.EdgeReport(hosts=[agent_pb2.EdgeHost(host_id=honest.host_id, ports=[22])]),
            gateways=[agent_pb2.GatewayReport(name="local", running=True)],
            facts=host_pb2.HostFacts(cpus=77),
        )
        peak = host_pb2.ReplicaReading(replica_id="r1", gpu_memory_peak_mib=10**9)
        await send(call, Message(report=lies), Message(telemetry=agent_pb2.Telemetry(replicas=[peak])))
        await asyncio.to_thread(wait_for, "the report was read", lambda: server.host("evil-liar").facts.cpus == 77)
        assert server.rows("SELECT id, phase, message, host_port FROM replicas WHERE id = 'r1'") == before
        assert server.rows("SELECT door FROM hosts WHERE id = ?", honest.host_id) == door
        assert server.rows("SELECT name, ready, message FROM gateways") == gateways
        assert server.rows("SELECT gpu_memory_peak_mib FROM revisions WHERE gpu_memory_peak_mib > 1000") == []


async def test_a_host_has_a_few_sessions_at_a_time(server: Victim, honest: HostileHost) -> None:
    host = HostileHost(server, "evil-many")
    async with beside(server, honest), host.channel() as channel:
        calls = [agent_pb2_grpc.AgentLinkStub(channel).Session(timeout=ANSWER_S) for _ in range(500)]
        ended = await asyncio.gather(
            *(asyncio.wait_for(call.read(), ANSWER_S) for call in calls), return_exceptions=True
        )
        refused = [it for it in ended if isinstance(it, grpc.aio.AioRpcError)]
        assert len(refused) == 500
        assert sum("open already" in (it.details() or "") for it in refused) >= 490


async def test_what_a_host_does_not_read_is_bounded(server: Victim, honest: HostileHost) -> None:
    host = HostileHost(server, "evil-deaf")
    async with beside(server, honest), host.session():  # nobody reads on
        for _ in range(300):
            request = api_pb2.DrainRequest(host="evil-deaf")
            await asyncio.to_thread(server.stub.Drain, request, metadata=bearer("admin"), timeout=ANSWER_S)


async def test_who_has_no_certificate_of_ours_gets_no_word(server: Victim) -> None:
    credentials = grpc.ssl_channel_credentials(server.ca_pem)
    address = f"127.0.0.1:{server.server.link_port}"
    async with grpc.aio.secure_channel(
        address, credentials, (("grpc.ssl_target_name_override", "homeport-server"),)
    ) as it:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await agent_pb2_grpc.AgentLinkStub(it).Renew(agent_pb2.RenewRequest(), timeout=5)
    assert refused.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    server.must_be_well()


def _any_messages(server: Victim, cases: int) -> None:
    host = HostileHost(server, "evil-any")
    words = ("r1", "h1", "b1", "local", host.host_id)

    async def say(message: Message) -> None:
        async with host.session() as call:
            await send(call, message, Message(report=agent_pb2.Report(boot_id="b1", sequence=2**62)))

    @settings(
        max_examples=cases, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(messages(Message, words=words))
    def one(message: Message) -> None:
        asyncio.run(say(message))

    one()
    server.must_be_well()
    assert "a session failed" not in server.log
    assert server.host("evil-any").facts.ByteSize() < 1 << 20


def test_any_message_of_an_agent_leaves_the_server_well(server: Victim) -> None:
    _any_messages(server, 60)


@pytest.mark.nightly
def test_many_messages_of_an_agent_leave_the_server_well(server: Victim) -> None:
    _any_messages(server, 3000)
