"""A host elsewhere, for a gateway's Envoy: replicas on loopback and the real door of its agent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from homeport_agent.envoy import supervisor
from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.door import Door, door_dir
from homeport_agent.model import DoorObserved, DoorWish
from homeport_control.domain.gateway import Endpoint
from rig.gateway import HOST, Gateway, Replica

FAR = "far-host"
ADDRESS = "127.0.0.2"  # the far host's, in place of one that others reach it by
DEADLINE_S = 20.0


class FarHost:
    def __init__(self, gateway: Gateway, folder: Path, host_id: str = FAR) -> None:
        self.folder = folder
        self.host_id = host_id
        self.identity: Identity = gateway.authority.write_identity(host_id, folder)
        self.ports: tuple[int, ...] = ()
        self.changed = asyncio.Event()
        self.door = Door(
            folder, lambda: self.identity, lambda: ADDRESS, lambda: self.ports, self.changed.set, asyncio.Lock()
        )

    @property
    def run_dir(self) -> Path:
        return door_dir(self.folder)

    async def opens(self, *behind: Replica) -> None:
        self.ports = tuple(sorted(it.port for it in behind))
        self.door.look_again()
        async with asyncio.timeout(DEADLINE_S):
            while self.door.observed() != DoorObserved(ADDRESS, self.ports):
                await self.changed.wait()
                self.changed.clear()

    def directly(self, replica: Replica) -> Endpoint:
        return Endpoint(replica.name, ADDRESS, replica.port, host_id=self.host_id)


@contextlib.asynccontextmanager
async def far_host(gateway: Gateway, host_id: str = FAR) -> AsyncIterator[FarHost]:
    folder = Path(gateway.folder) / host_id
    folder.mkdir()
    made = FarHost(gateway, folder, host_id)
    task = asyncio.create_task(made.door.run())
    made.door.apply(DoorWish((HOST,)))
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.to_thread(supervisor.stop, made.run_dir)
