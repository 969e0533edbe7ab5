"""agents/server: sessions over real mTLS: who may speak, in which order, what is pushed when, and what silence means."""

import asyncio
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from fixtures.control import (
    DEADLINE_S,
    State,
    add_gateway,
    add_replica,
    add_run,
    claim,
    get_gateway,
    get_host,
    get_replica,
    opened,
    until,
    until_true,
)
from fixtures.plane import CLIENT_OPTIONS, Plane, WireAgent, key_pem, new_request, serving
from homeport_control.domain.fleets import Phase as Standing
from homeport_control.domain.fleets import Place, Registration, Standby
from homeport_control.domain.hosts import Connection, HostFacts
from homeport_control.domain.replicas import Phase, Wanted
from homeport_control.store import events, fleets, hosts, replicas, schema
from homeport_control.trust.ca import CertificateAuthority
from homeport_protos.agent.v1 import agent_pb2, agent_pb2_grpc
from homeport_protos.versions import PROTOCOL

READY = agent_pb2.PHASE_READY


@pytest.fixture
async def plane(state: State) -> AsyncIterator[Plane]:
    async with serving(state) as plane:
        yield plane


@asynccontextmanager
async def connected(plane: Plane, hostname: str = "box") -> AsyncIterator[WireAgent]:
    """A host whose session is open, and its first assignment heard."""
    agent = await plane.joined(hostname)
    await agent.connect()
    await agent.hear_assignment()
    try:
        yield agent
    finally:
        await agent.close()


async def is_connected(plane: Plane, host_id: str) -> bool:
    return (await get_host(plane.state, host_id)).connection is Connection.CONNECTED


async def away(plane: Plane, host_id: str) -> str:
    """Wait until a host is unreachable; the reason."""

    async def look() -> str:
        host = await get_host(plane.state, host_id)
        return host.connection_reason if host.connection is Connection.UNREACHABLE else ""

    return await until(plane.state.database, look, "hosts", because="the host stayed connected")


async def phase(plane: Plane, replica_id: str, wanted: Phase) -> None:
    async def look() -> bool:
        return (await get_replica(plane.state, replica_id)).phase is wanted

    await until(plane.state.database, look, "replicas", because=f"{replica_id} is not {wanted}")


async def placed(plane: Plane, replica_id: str, host_id: str, name: str = "hello") -> None:
    run_id = await add_run(plane.state, name)
    await add_replica(plane.state, run_id, replica_id, host_id=host_id)


def ready(replica_id: str, port: int = 40000) -> agent_pb2.ReplicaReport:
    return agent_pb2.ReplicaReport(replica_id=replica_id, phase=READY, host_port=port)


async def test_a_session_begins_with_hello_and_welcome_and_brings_the_hosts_facts(plane: Plane) -> None:
    agent = await plane.joined()
    welcome = await agent.connect()
    assert (welcome.protocol, welcome.server_id, welcome.report_interval_s) == (PROTOCOL, "server1", 2.0)
    assert welcome.telemetry_interval_s == 1.0
    host = await get_host(plane.state, agent.host_id)
    assert (host.connection, host.facts.cpus) == (Connection.CONNECTED, 8)
    first = (await agent.hear()).assignment
    assert (list(first.replicas), first.gateway.name, first.generation) == ([], "local", 1)
    assert first.gateway.xds_port == plane.settings.link_port
    await agent.close()
    assert await away(plane, agent.host_id) in {"the agent closed its session", "the connection broke"}


async def test_who_has_begun_waits_with_what_it_says_and_is_told_while_another_is_coming(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plane.link._arrivals, "_most_wait_s", 3600.0)
    agent, other = await plane.joined(), await plane.joined("other")
    await placed(plane, "r1", agent.host_id)
    async with plane.link._arrivals.coming():
        await agent.connect()
        await agent.report(ready("r1"))
        await other.connect()  # its beginning is written, so there was time for what the first one has said
        assert (await get_replica(plane.state, "r1")).phase is not Phase.READY
        async with plane.state.database.read() as connection:
            query = sa.select(schema.hosts.c.generation).where(schema.hosts.c.id == agent.host_id)
            assert await connection.scalar(query) == 0
    assert [it.replica_id for it in (await agent.hear_assignment()).replicas] == ["r1"]
    await phase(plane, "r1", Phase.READY)
    for it in (agent, other):
        await it.close()


async def test_without_a_certificate_nobody_is_heard(plane: Plane) -> None:
    agent = await plane.joined()
    async with agent.channel(certificate=False) as channel:
        stub = agent_pb2_grpc.AgentLinkStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Renew(agent_pb2.RenewRequest(csr_pem=new_request()[1]), timeout=DEADLINE_S)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_host_that_cannot_be_dialled_any_more_is_heard_by_a_report_that_says_nothing_new(
    plane: Plane, state: State
) -> None:
    """Such a report is not written otherwise, and its gateway would wait for it before it goes by the tunnel."""

    async def unheard(wanted: tuple[str, ...]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            with state.database.changes.subscribe("doors") as changes:
                while (await get_host(state, far.host_id)).door.unheard != wanted:
                    await changes.wait(1)

    far, gate = await plane.joined("far"), await plane.joined("gate")
    await add_gateway(state, "main", gate.host_id)
    door = agent_pb2.DoorReport(address="10.0.0.5", ports=[40001])
    await far.connect()
    await gate.connect()
    await far.report(door=door)
    async with asyncio.timeout(DEADLINE_S):
        with state.database.changes.subscribe("doors") as changes:
            while not (await get_host(state, far.host_id)).door.address:
                await changes.wait(1)
    for error in ("", "no answer"):
        await gate.report(reached=[agent_pb2.Reached(host_id=far.host_id, error=error)])
    await unheard((gate.host_id,))
    await far.report(door=door)
    await unheard(())
    await far.close()
    await gate.close()


async def test_a_certificate_of_another_ca_is_refused_at_the_door(plane: Plane, tmp_path: Path) -> None:
    agent = await plane.joined()
    foreign = CertificateAuthority.load_or_create(tmp_path / "foreign", "server1")
    key, request = new_request()
    credentials = grpc.ssl_channel_credentials(
        plane.state.ca.pem, key_pem(key), foreign.sign_host(request, agent.host_id).encode()
    )
    address = f"127.0.0.1:{plane.settings.link_port}"
    async with grpc.aio.secure_channel(address, credentials, CLIENT_OPTIONS) as channel:
        stub = agent_pb2_grpc.AgentLinkStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Renew(agent_pb2.RenewRequest(csr_pem=request), timeout=DEADLINE_S)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not await is_connected(plane, agent.host_id)


async def test_the_servers_own_certificate_is_no_hosts(plane: Plane) -> None:
    """It is of the right CA, and may pass on what hosts say, but is none itself."""
    pair = plane.state.ca.server_pair()
    credentials = grpc.ssl_channel_credentials(plane.state.ca.pem, pair.key_pem, pair.certificate_pem)
    address = f"127.0.0.1:{plane.settings.link_port}"
    async with grpc.aio.secure_channel(address, credentials, CLIENT_OPTIONS) as channel:
        stub = agent_pb2_grpc.AgentLinkStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Renew(agent_pb2.RenewRequest(csr_pem=new_request()[1]), timeout=DEADLINE_S)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "names no host" in (caught.value.details() or "")


async def test_a_host_that_the_server_does_not_know_must_join_again(plane: Plane) -> None:
    agent = await plane.joined()
    agent.joined.certificate_pem = plane.state.ca.sign_host(new_csr_of(agent), "gone")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await agent.connect()
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "join again" in (caught.value.details() or "")
    await agent.close()


def new_csr_of(agent: WireAgent) -> str:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(agent.key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


async def test_a_certificate_that_two_newer_ones_have_replaced_opens_nothing(plane: Plane) -> None:
    """The one before the newest does: the answer that held the newest may never have arrived."""
    agent = await plane.joined()
    pems = [agent.joined.certificate_pem]
    for _ in range(2):
        async with agent.channel() as channel:
            renew = agent_pb2_grpc.AgentLinkStub(channel).Renew
            answer = await renew(agent_pb2.RenewRequest(csr_pem=new_csr_of(agent)), timeout=DEADLINE_S)
        pems.append(answer.certificate_pem)
        agent.joined.certificate_pem = answer.certificate_pem
    for good in pems[1:]:
        agent.joined.certificate_pem = good
        await agent.connect()
        await agent.close()
    agent.joined.certificate_pem = pems[0]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await agent.connect()
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "another machine with an old copy of its identity" in (caught.value.details() or "")
    await agent.close()


async def test_a_host_renews_its_own_certificate(plane: Plane) -> None:
    agent = await plane.joined()
    key, request = new_request()
    async with agent.channel() as channel:
        stub = agent_pb2_grpc.AgentLinkStub(channel)
        answer = await stub.Renew(agent_pb2.RenewRequest(csr_pem=request), timeout=DEADLINE_S)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Renew(agent_pb2.RenewRequest(csr_pem="garbage"), timeout=DEADLINE_S)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    certificate = x509.load_pem_x509_certificate(answer.certificate_pem.encode())
    assert [attribute.value for attribute in certificate.subject] == [agent.host_id]
    assert certificate.public_key() == key.public_key()


async def test_an_agent_that_is_too_old_is_told_what_to_do(plane: Plane) -> None:
    agent = await plane.joined()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await agent.connect(protocol=0)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "speaks protocol 0" in (caught.value.details() or "")
    assert "install the agent of the server's version" in (caught.value.details() or "")
    assert not await is_connected(plane, agent.host_id)
    await agent.close()


async def test_a_session_that_does_not_begin_with_hello_is_refused(plane: Plane) -> None:
    agent = await plane.joined()
    async with agent.channel() as channel:
        call = agent_pb2_grpc.AgentLinkStub(channel).Session(timeout=DEADLINE_S)
        await call.write(agent_pb2.FromAgent(report=agent_pb2.Report(boot_id="b", sequence=1)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_host_never_changes_what_is_on_another(plane: Plane) -> None:
    async with connected(plane, "first") as first, connected(plane, "second") as second:
        await placed(plane, "mine", first.host_id, "one")
        await placed(plane, "yours", second.host_id, "two")
        await first.report(ready("yours", 1), ready("mine", 2))
        await phase(plane, "mine", Phase.READY)
        assert (await get_replica(plane.state, "yours")).phase is Phase.QUEUED
        assert (await get_replica(plane.state, "yours")).host_port == 0


async def test_a_report_that_is_older_or_of_another_boot_changes_nothing(plane: Plane) -> None:
    async with connected(plane) as agent:
        await placed(plane, "r1", agent.host_id)
        await agent.report(agent_pb2.ReplicaReport(replica_id="r1", phase=agent_pb2.PHASE_PULLING), sequence=10)
        await phase(plane, "r1", Phase.PULLING)
        await agent.report(ready("r1"), sequence=9)
        await agent.report(ready("r1"), sequence=10)
        await agent.report(ready("r1"), sequence=11, boot_id="another")
        await agent.report(agent_pb2.ReplicaReport(replica_id="r1", phase=agent_pb2.PHASE_STARTING), sequence=11)
        await phase(plane, "r1", Phase.STARTING)
        assert (await get_replica(plane.state, "r1")).first_ready_at_s is None


async def test_a_claim_is_pushed_at_once_with_a_greater_generation(plane: Plane) -> None:
    async with connected(plane) as agent:
        run_id = await add_run(plane.state)
        await add_replica(plane.state, run_id, "r1")
        async with plane.state.database.write() as write:
            assert await replicas.claim(write, claim("r1", agent.host_id))
        assignment = await agent.hear_assignment()
        assert assignment.generation == 2
        (assigned,) = assignment.replicas
        assert (assigned.replica_id, assigned.wanted) == ("r1", agent_pb2.WANTED_STATE_RUN)


async def test_a_change_that_its_host_need_not_know_is_not_pushed(plane: Plane) -> None:
    async with connected(plane) as agent:
        await placed(plane, "r1", agent.host_id)
        await agent.hear_assignment(lambda a: len(a.replicas) == 1)
        async with plane.state.database.write() as write:
            await replicas.update(write, "r1", in_rotation=True, message="it serves")
        async with plane.state.database.write() as write:
            await replicas.update(write, "r1", wanted=Wanted.STOP, stop_grace_s=7.0)
        following = await agent.hear_assignment()
        (assigned,) = following.replicas
        assert (assigned.wanted, assigned.stop_grace_s) == (agent_pb2.WANTED_STATE_STOP, 7.0)
        async with plane.state.database.write() as write:
            await replicas.end(write, "r1", time.time())
        last = await agent.hear_assignment()
        assert (len(last.replicas), last.generation) == (0, following.generation + 1)


async def test_a_generation_is_greater_than_all_before_also_after_a_restart_of_the_server(state: State) -> None:
    async with serving(state) as plane, connected(plane) as agent:
        await placed(plane, "r1", agent.host_id)
        before = (await agent.hear_assignment()).generation
    async with opened(state.directory) as later, serving(later) as plane:
        agent.plane = plane
        await agent.connect(boot_id="boot1")
        assignment = await agent.hear_assignment()
        assert assignment.generation > before
        assert [replica.replica_id for replica in assignment.replicas] == ["r1"]
        await agent.close()


async def test_an_agent_that_is_ahead_of_a_database_that_was_put_back_hears_a_generation_above_its_own(
    plane: Plane,
) -> None:
    async with connected(plane) as agent:
        await agent.report(accepted_generation=57)
        assignment = await agent.hear_assignment()
        assert assignment.generation == 58
        await agent.report(accepted_generation=58)
        await placed(plane, "r1", agent.host_id)
        following = await agent.hear_assignment()
        assert (following.generation, len(following.replicas)) == (59, 1), "once only, and on from there"


async def test_a_generation_that_no_database_holds_changes_nothing(plane: Plane) -> None:
    async with connected(plane) as agent:
        await agent.report(accepted_generation=2**63 - 1)
        await placed(plane, "r1", agent.host_id)
        assert (await agent.hear_assignment()).generation == 2


async def test_a_silent_session_makes_its_host_unreachable(state: State) -> None:
    async with serving(state, silence_s=0.3) as plane:
        agent = await plane.joined()
        await agent.connect()
        began_s = time.time()
        assert await away(plane, agent.host_id) == "silent for 0 s"
        assert (await get_host(state, agent.host_id)).connection_since_s < began_s + 5
        with pytest.raises(EOFError):
            await agent.hear_assignment(lambda _: False)
        await agent.close()


async def test_an_agent_that_leaves_while_it_is_written_to_has_only_left(
    plane: Plane, capsys: pytest.CaptureFixture[str]
) -> None:
    """It reads nothing: its window is full, and a write is under way when the connection goes."""
    async with connected(plane) as agent:
        for _ in range(5):
            assert await plane.sessions.clear_findings(agent.host_id, ["x" * 1_000_000], DEADLINE_S)
    assert await away(plane, agent.host_id) in {"the connection broke", "the agent closed its session"}
    assert "a session failed" not in capsys.readouterr().out


async def test_a_newer_session_takes_over_from_an_older_one(plane: Plane) -> None:
    async with connected(plane) as agent:
        newer = WireAgent(plane, agent.key, agent.joined)
        await newer.connect(boot_id="boot2")
        await newer.hear_assignment()
        with pytest.raises((EOFError, grpc.aio.AioRpcError)):
            await agent.hear_assignment(lambda _: False)
        await placed(plane, "r1", agent.host_id)
        assert len((await newer.hear_assignment()).replicas) == 1
        await newer.report(ready("r1"))
        await phase(plane, "r1", Phase.READY)
        assert await is_connected(plane, agent.host_id), "the end of the older one says nothing of the host"
        await newer.close()
        await away(plane, agent.host_id)


async def test_the_gateway_says_whether_it_runs_and_why_not(plane: Plane) -> None:
    async with connected(plane) as agent:

        async def told(running: bool, message: str) -> None:
            await agent.report(gateways=[agent_pb2.GatewayReport(name="local", running=running, message=message)])

            async def look() -> bool:
                gateway = await get_gateway(plane.state)
                return (gateway.ready, gateway.message) == (running, message)

            await until(plane.state.database, look, "gateways")

        await told(False, "port 7480 is taken")
        await told(True, "")


async def test_a_host_without_the_gateways_role_cannot_speak_for_it(plane: Plane) -> None:
    async with connected(plane, "gateway"), connected(plane, "other") as other:
        await placed(plane, "r1", other.host_id)
        await other.report(ready("r1"), gateways=[agent_pb2.GatewayReport(name="local", running=True)])
        await phase(plane, "r1", Phase.READY)
        assert not (await get_gateway(plane.state)).ready


async def test_a_locked_database_ends_the_session_and_the_host_is_away_when_it_is_free(directory: Path) -> None:
    async with opened(directory, busy_timeout_s=0.05) as state, serving(state) as plane:
        if not state.file.exists():
            pytest.skip("PostgreSQL has a lock of its own: store/test_postgresql")
        agent = await plane.joined()
        await agent.connect()
        await agent.hear_assignment()
        holder = sqlite3.connect(state.file, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        await agent.report(ready("r1"))
        with pytest.raises(EOFError):
            await agent.hear_assignment(lambda _: False)
        free_at_s = time.time()
        holder.execute("ROLLBACK")
        holder.close()
        assert "database is locked" in await away(plane, agent.host_id)
        since_s = (await get_host(state, agent.host_id)).connection_since_s
        assert since_s >= free_at_s, "before that it could not be heard: it has all of its time to come back"
        await agent.close()


async def test_what_is_no_tls_is_not_answered(plane: Plane) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.settings.link_port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        answer = await asyncio.wait_for(reader.read(), DEADLINE_S)
    except (ConnectionError, ssl.SSLError):
        answer = b""
    assert b"HTTP/1.1 200" not in answer
    writer.close()


async def test_of_two_machines_with_one_identity_the_first_goes_on_and_both_are_told(plane: Plane) -> None:
    first = await plane.joined("box")
    copy = WireAgent(plane, first.key, first.joined)
    await first.connect(boot_id="first")
    assert (await copy.connect(boot_id="copy")).notice == ""
    welcome = await first.connect(boot_id="first")
    assert "a copy of its disk: that one is refused" in welcome.notice
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await copy.connect(boot_id="copy")
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "this one is a copy of its disk; remove the folder" in (caught.value.details() or "")
    assert await is_connected(plane, first.host_id)
    async with plane.state.database.read() as connection:
        told = [it.sentence for it in await events.newest(connection, events.Filter(kind="host"), 20)]
    assert sum("another machine speaks with its identity" in it for it in told) == 1
    await first.close()
    await copy.close()


async def test_a_host_that_is_being_let_go_gets_no_session_and_that_it_went_is_no_news(plane: Plane) -> None:
    agent = await plane.joined("box")
    await agent.connect()
    await agent.hear_assignment()
    standby = Standby(Standing.GOING, 0.0, HostFacts())
    known = Registration("local", Place("box", 22, "ops"), host_id=agent.host_id, standby=standby)
    async with plane.state.database.write() as write:
        await fleets.register(write, known)
        await hosts.update(write, agent.host_id, {"connection": Connection.RELEASED, "connection_reason": "idle"})
    await agent.close()
    await until_true(lambda: not plane.sessions.is_connected(agent.host_id))
    with pytest.raises(grpc.aio.AioRpcError, match="this host is being released"):
        await agent.connect()
    host = await get_host(plane.state, agent.host_id)
    assert (host.connection, host.connection_reason) == (Connection.RELEASED, "idle")
    async with plane.state.database.write() as write:
        await fleets.register(write, replace(known, standby=replace(standby, phase=Standing.RELEASED)))
    await agent.connect()
    assert await is_connected(plane, agent.host_id), "it came by itself"
    await agent.close()
