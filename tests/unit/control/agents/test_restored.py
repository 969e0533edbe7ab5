"""A server that was restored from an older backup, as its hosts see it: they follow it, and what it does not know is told."""

import time
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from fixtures.control import State, add_replica, add_run, get_replica, until
from fixtures.plane import Plane, serving
from homeport_control.domain.replicas import Phase
from homeport_control.store import events, replicas, sessions
from homeport_protos.agent.v1 import agent_pb2


@pytest.fixture
async def plane(state: State) -> AsyncIterator[Plane]:
    async with serving(state) as plane:
        yield plane


def ready(replica_id: str) -> agent_pb2.ReplicaReport:
    return agent_pb2.ReplicaReport(replica_id=replica_id, phase=agent_pb2.PHASE_READY, host_port=40000)


async def told(plane: Plane) -> list[str]:
    async with plane.state.database.read() as connection:
        found = await events.newest(connection, events.Filter(kind="host"), 50)
    return [event.sentence for event in found if "does not know" in event.sentence]


async def phase(plane: Plane, replica_id: str, wanted: Phase) -> None:
    async def look() -> bool:
        return (await get_replica(plane.state, replica_id)).phase is wanted

    await until(plane.state.database, look, "replicas")


async def test_a_host_with_a_later_certificate_and_generation_follows_it(plane: Plane) -> None:
    agent = await plane.joined()
    async with plane.state.database.write() as write:
        old = sa.text("UPDATE hosts SET generation = 5, serials = '[\"of the backup\"]'")
        await write.connection.execute(old)
        await sessions.after_restore(write, time.time())
    await agent.connect()
    assert (await agent.hear_assignment()).generation > time.time() - 60
    await agent.close()


async def test_replicas_that_no_row_knows_are_told_once_a_session(plane: Plane) -> None:
    run_id = await add_run(plane.state)
    agent = await plane.joined()
    await add_replica(plane.state, run_id, "ended", host_id=agent.host_id)
    await add_replica(plane.state, run_id, "known", host_id=agent.host_id, index=1)
    async with plane.state.database.write() as write:
        await replicas.end(write, "ended", 2000.0)
    await agent.connect()
    await agent.report(ready("known"), ready("ended"), ready("later-2"), ready("later-1"))
    await phase(plane, "known", Phase.READY)
    (sentence,) = await told(plane)
    assert sentence.startswith(
        "host box runs 2 replicas that this server's database does not know (later-1, later-2): "
    )
    failed = agent_pb2.ReplicaReport(replica_id="known", phase=agent_pb2.PHASE_FAILED, message="gone")
    await agent.report(failed, ready("later-1"))
    await phase(plane, "known", Phase.FAILED)
    assert len(await told(plane)) == 1
    await agent.close()


async def test_nothing_is_told_of_a_host_whose_replicas_are_known(plane: Plane) -> None:
    run_id = await add_run(plane.state)
    agent = await plane.joined()
    await add_replica(plane.state, run_id, "known", host_id=agent.host_id)
    await agent.connect()
    await agent.report(ready("known"))
    await phase(plane, "known", Phase.READY)
    assert await told(plane) == []
    await agent.close()
