"""Named volumes against the real engine: their data outlives every container that mounts them."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from fakes.agent import replica
from homeport_agent.engine.base import LABEL_SERVER, LABEL_VOLUME
from homeport_agent.engine.docker import DockerEngine
from homeport_agent.model import AssignedReplica, Volume
from homeport_agent.work import container_spec, volume_name
from rig.images.build import SHELL
from rig.stack import engine as docker_engine

pytestmark = pytest.mark.docker

SERVER = f"contract-{uuid.uuid4().hex[:12]}"
OTHER = f"{SERVER}-other"


@pytest.fixture
async def engine() -> AsyncIterator[DockerEngine]:
    made = DockerEngine()
    yield made
    for server in (SERVER, OTHER):
        for left in await made.list(((LABEL_SERVER, server),)):
            await made.remove(left.id)
    await made.close()
    with docker_engine() as client:
        for server in (SERVER, OTHER):
            for volume in client.volumes.list(filters={"label": f"{LABEL_SERVER}={server}"}):
                volume.remove()


def with_data(replica_id: str, script: str) -> AssignedReplica:
    assigned = replica(replica_id, image=SHELL, volumes=(Volume("data", "/data"),), container_port=0)
    return replace(assigned, entrypoint=("sh", "-c"), command=(script,), env=())


async def runs(engine: DockerEngine, assigned: AssignedReplica, server: str) -> list[bytes]:
    """What it prints until it ends; the container is removed then."""
    container = await engine.create(container_spec(assigned, server))
    await engine.start(container)
    async with engine.logs(container, tail=-1, since_s=0, follow=True) as lines:
        printed = [line.text async for line in lines]
    await engine.remove(container)
    return printed


async def test_data_outlives_the_container_and_is_of_one_server_only(engine: DockerEngine) -> None:
    assert await runs(engine, with_data("a", "echo kept >/data/file; echo written"), SERVER) == [b"written"]
    assert await runs(engine, with_data("b", "cat /data/file"), SERVER) == [b"kept"]
    assert await runs(engine, with_data("c", "ls /data; echo end"), OTHER) == [b"end"]
    with docker_engine() as client:
        volume = client.volumes.get(volume_name(SERVER, "data"))
    assert volume.attrs["Labels"] == {LABEL_SERVER: SERVER, LABEL_VOLUME: "data"}
