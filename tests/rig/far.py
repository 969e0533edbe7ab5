"""A host elsewhere, for a gateway's Envoy: replicas on loopback and the real door of its agent, which may dial tunnels."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from homeport_agent.envoy import supervisor
from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.door import Door, door_dir
from homeport_agent.model import DoorObserved, DoorWish
from homeport_control.domain.gateway import TUNNEL, Endpoint
from rig.gateway import HOST, Gateway, Replica

FAR = "far-host"
ADDRESS = "127.0.0.2"  # the far host's, in place of one that others reach it by
DEADLINE_S = 20.0


class FarHost:
    task: "asyncio.Task[None]"  # of its agent

    def __init__(self, gateway: Gateway, folder: Path, host_id: str = FAR) -> None:
        self.folder = folder
        self.host_id = host_id
        self.identity: Identity = gateway.authority.write_identity(host_id, folder)
        self.ports: tuple[int, ...] = ()
        self.changed = asyncio.Event()
        self.door = self.another_agent()

    def another_agent(self) -> Door:
        """The door as one more agent of this host would keep it."""
        return Door(
            self.folder,
            lambda: self.identity,
            lambda: ADDRESS,
            lambda: self.ports,
            self.changed.set,
            asyncio.Lock(),
            lambda: "127.0.0.1",
        )

    @property
    def run_dir(self) -> Path:
        return door_dir(self.folder)

    async def opens(self, *behind: Replica) -> None:
        await self.opens_ports(*(it.port for it in behind))

    async def opens_ports(self, *ports: int) -> None:
        self.ports = tuple(sorted(ports))
        self.door.look_again()
        await self.until(DoorObserved(ADDRESS, self.ports))

    async def until(self, wanted: DoorObserved | None) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while self.door.observed() != wanted:
                await self.changed.wait()
                self.changed.clear()

    def directly(self, replica: Replica) -> Endpoint:
        return Endpoint(replica.name, ADDRESS, replica.port, host_id=self.host_id)

    def tunnelled(self, replica: Replica) -> Endpoint:
        return Endpoint(replica.name, f"{TUNNEL}{self.host_id}", replica.port)


@contextlib.asynccontextmanager
async def far_host(
    gateway: Gateway,
    host_id: str = FAR,
    wish: DoorWish = DoorWish((HOST,)),  # noqa: B008 - frozen
) -> AsyncIterator[FarHost]:
    folder = Path(gateway.folder) / host_id
    folder.mkdir()
    made = FarHost(gateway, folder, host_id)
    made.task = asyncio.create_task(made.door.run())
    made.door.apply(wish)
    try:
        yield made
    finally:
        made.task.cancel()
        await asyncio.to_thread(supervisor.stop, made.run_dir)


@contextlib.contextmanager
def cut_off(replica: Replica) -> Iterator[None]:
    """Every packet from and to its port on the far host's address is dropped: its peers see nothing at all."""
    rules = [["INPUT", "-d", ADDRESS, "-p", "tcp", "--dport"], ["INPUT", "-s", ADDRESS, "-p", "tcp", "--sport"]]
    rules = [[*rule, str(replica.port), "-j", "DROP"] for rule in rules]
    for rule in rules:
        subprocess.run(["iptables", "-w", "-I", *rule], check=True)
    try:
        yield
    finally:
        for rule in rules:
            subprocess.run(["iptables", "-w", "-D", *rule], check=True)
