"""A machine of a simulated world: a container engine, GPUs, an agent that may die and come back, perhaps a gateway's Envoy.

The agent is the real one where it decides and speaks: machine, runner, link, the journal's own text. Its engine is the one
of the contract suite; what it samples, dials and keeps on disk is simulated here.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import homeport_agent.link
import homeport_agent.probe
from fakes.code import FakeCode
from fakes.engine import FakeContainer, FakeEngine, Program
from homeport_agent import events as ev
from homeport_agent import journal
from homeport_agent.admission import Look
from homeport_agent.engine.base import (
    LABEL_REPLICA,
    LABEL_SERVER,
    ContainerSpec,
    EngineDown,
    EngineError,
    RegistryUnreachable,
)
from homeport_agent.gpus.model import Finding, Gpu, Severity
from homeport_agent.identity import Identity
from homeport_agent.link import Link, Removed, Software
from homeport_agent.machine import Machine as AgentMachine
from homeport_agent.model import (
    Assignment,
    Container,
    DoorObserved,
    EdgeObserved,
    GatewayObserved,
    HostFacts,
    JournalEntry,
    Phase,
    Reached,
    ReplicaObserved,
)
from homeport_agent.runner import Runner
from homeport_protos.agent.v1 import agent_pb2

from sim.clock import NOBODY, Process, Skew, process
from sim.envoy import Envoy, Held
from sim.network import Network, Peer, Stream, spawn

SESSION = "/homeport_protos.agent.v1.AgentLink/Session"
FIRST_PORT = 30000
A100_MIB = 81920
NEIGHBOUR = "neighbour"  # a container of another server


class SimEngine(FakeEngine):
    """Containers with addresses and ports of their own, programs that take their time to listen, and may be broken."""

    def __init__(self, images: set[str], rng: random.Random, tell: Callable[[str], None]) -> None:
        super().__init__(images, {(): Program()})
        self._rng = rng
        self._tell_story = tell
        self.listens_at_s: dict[str, float] = {}  # by address
        self.mute: set[str] = set()  # addresses that do not answer any more
        self.hangs: asyncio.Event | None = None
        self.registry_is_down = False
        self.stopping: Callable[[str, Container], None] = lambda replica_id, container: None

    async def _enter(self, point: str) -> None:
        if self.hangs is not None and point != "events":
            await self.hangs.wait()
        await asyncio.sleep(self._rng.uniform(0.0005, 0.01))
        await super()._enter(point)

    async def pull(self, image: str, auth: Any, on_progress: Any, stall_s: float) -> None:
        await asyncio.sleep(self._rng.uniform(0.05, 2.0))
        if self.registry_is_down:
            raise RegistryUnreachable(f"the registry of {image} cannot be reached: connection refused")
        self.registry.setdefault(image, 1000)
        await super().pull(image, auth, on_progress, stall_s)

    async def start(self, container: str) -> Container:
        shown = await super().start(container)
        found = self._existing(container)
        if not found.shown.is_running:
            return shown
        taken = {it.shown.host_port for it in self.containers.values() if it is not found}
        port = next(it for it in range(FIRST_PORT, FIRST_PORT + 1000) if it not in taken)
        address = f"172.17.0.{port - FIRST_PORT + 2}"
        found.shown = replace(found.shown, ip=address, host_port=port)
        now_s = asyncio.get_running_loop().time()
        self.mute.discard(address)
        self.listens_at_s[address] = now_s + self._rng.choice((0.02, 0.2, 1.0, 3.0))
        if found.spec.image.startswith("crash"):
            self.listens_at_s[address] = now_s + 60.0
            asyncio.get_running_loop().call_later(0.3, self._dies, found.spec.name, shown.id)
        return found.shown

    def _dies(self, name: str, container_id: str) -> None:
        found = self.containers.get(name)
        if found is not None and found.shown.id == container_id:
            self.end(name, 1)

    async def stop(self, container: str, grace_s: float) -> Container | None:
        found = self._find(container)
        if found is not None and found.shown.is_running:
            self.stopping(found.shown.replica_id, found.shown)
        return await super().stop(container, grace_s)

    def listens(self, address: str) -> bool:
        running = any(it.shown.ip == address and it.shown.is_running for it in self.containers.values())
        return running and address not in self.mute and asyncio.get_running_loop().time() >= self.listens_at_s[address]

    def power_off(self) -> None:
        """All that runs ends, and nobody is told."""
        for found in self.containers.values():
            if found.shown.is_running:
                self.end(found.spec.name, 137)
        self._watchers.clear()


class Agent:
    """One process of the agent. See link.Host."""

    def __init__(self, machine: "Machine", boot_id: str) -> None:
        self.of = machine
        self.owner = Process(f"agent {machine.name}", skew=machine.skew)
        self.machine = AgentMachine(f"{machine.name}-power-{machine.power_ons}")
        self._known = asyncio.Event()
        self._spawned = self._group_spawn
        self._group: asyncio.TaskGroup
        self.runner: Runner
        self.link = Link(
            _Store(machine.identity),
            self,
            _Desk(),
            _Desk(),
            boot_id,
            Software("1.0"),
            _Desk(),  # type: ignore[arg-type]
        )

    def _group_spawn(self, work: Any) -> Any:
        return self._group.create_task(work)

    async def run(self) -> None:
        machine = self.of
        async with asyncio.TaskGroup() as self._group:
            self.runner = Runner(
                self.machine, machine.engine, machine.server_id, self._group_spawn, self._changed, machine.keep,
                FakeCode(), look=machine.look, clock=asyncio.get_running_loop().time,
            )  # fmt: skip
            self.runner.feed(ev.JournalRead(machine.read_journal()))
            for work in (self.runner.run_watch(), self.runner.run_clock(), self.runner.run_second_line(), self._hold()):
                self._group.create_task(work)

    async def _hold(self) -> None:
        try:
            await self.link.run()
        except Removed:
            self.of.tell("was removed from the fleet: cleans itself")
            accepted = self.machine.accepted
            generation = accepted.generation + 1 if accepted else 1
            self.runner.feed(ev.AssignmentReceived(Assignment(self.of.server_id, generation)))
            self.of.is_removed = True

    def _changed(self) -> None:
        if self.machine.can_tell:
            self._known.set()
        self.link.changed()

    # --- what the link asks ---

    def facts(self) -> HostFacts:
        return self.of.facts()

    def replicas(self) -> tuple[ReplicaObserved, ...]:
        return self.machine.observe(self.runner.now_s())

    def gateways(self) -> tuple[GatewayObserved, ...]:
        return tuple(GatewayObserved(it.name, True) for it in self.of.envoys.values())

    def door(self) -> DoorObserved | None:
        accepted = self.machine.accepted
        if accepted is None or accepted.door is None:
            return None
        return DoorObserved(self.of.address, tuple(sorted({it.host_port for it in self.replicas() if it.host_port})))

    def reached(self) -> tuple[Reached, ...]:
        accepted = self.machine.accepted
        return tuple(Reached(it.host_id, self.of.dial(it.host_id)) for it in (accepted.reach if accepted else ()))

    def edge(self) -> EdgeObserved | None:
        return None

    def accepted_generation(self) -> int:
        return self.machine.accepted.generation if self.machine.accepted else 0

    async def settled(self) -> None:
        await self._known.wait()

    def assigned(self, assignment: Assignment) -> None:
        self.runner.feed(ev.AssignmentReceived(assignment))
        if self.machine.accepted is assignment:
            self.of.accepted(assignment)

    def findings(self) -> tuple[Finding, ...]:
        return tuple(self.of.findings)

    def clear_findings(self, gpu_uuids: tuple[str, ...]) -> None:
        self.of.findings = [it for it in self.of.findings if gpu_uuids and it.gpu_uuid not in gpu_uuids]
        self.link.changed()

    def news(self, *, anew: bool = False) -> None:
        return None

    def server_clock(self, offset_s: float) -> None:
        pass


@dataclass(eq=False)
class Machine:
    name: str
    host_id: str
    address: str
    network: Network
    rng: random.Random
    server_id: str
    peer: Peer
    story: Callable[[str, str], None]
    gpus: int = 0
    skew: Skew = field(default_factory=Skew)
    findings: list[Finding] = field(default_factory=list)
    lost_gpus: set[str] = field(default_factory=set)
    envoys: dict[str, Envoy] = field(default_factory=dict)
    disk: bytes | None = None  # the journal
    is_up: bool = True
    is_removed: bool = False
    boots: int = 0  # of its agent
    power_ons: int = 0
    dial_host: Callable[[str], str] = lambda host_id: ""
    serves: Callable[[Held], bool] = lambda held: True

    def __post_init__(self) -> None:
        self.engine = SimEngine({"hello:1", "hello:2", "crash:1"}, self.rng, self.tell)
        self.agent: Agent | None = None
        labels = ((LABEL_SERVER, "another"), (LABEL_REPLICA, "theirs"))
        spec = ContainerSpec(NEIGHBOUR, labels, "hello:1")
        self.engine.containers[NEIGHBOUR] = FakeContainer(spec, Container("id-neighbour", "theirs", True))

    def tell(self, text: str) -> None:
        self.story(self.name, text)

    @property
    def identity(self) -> Identity:
        return Identity("10.0.0.1", 7400, 7401, self.server_id, self.host_id, self.name, 0.0, 1e12, "", "", "")

    # --- its life ---

    def start_agent(self) -> None:
        self.boots += 1
        self.agent = Agent(self, f"{self.name}-boot-{self.boots}")
        spawn(self.agent.owner, self.agent.run())

    def kill_agent(self, *, is_told: bool = True) -> None:
        if self.agent is not None:
            self.agent.owner.kill()
            self.network.lost_client(self.agent.owner, is_told=is_told)
            self.engine._watchers.clear()
            self.agent = None

    def power_off(self) -> None:
        self.is_up = False
        self.kill_agent(is_told=False)
        self.engine.power_off()
        for envoy in self.envoys.values():
            envoy.owner.kill()
            self.network.lost_client(envoy.owner, is_told=False)
        self.envoys.clear()

    def power_on(self) -> None:
        self.is_up = True
        self.power_ons += 1
        entry = self.read_journal()
        if entry is not None:
            self._wish_envoys(entry.assignment)
        self.start_agent()

    # --- what it is ---

    def uuids(self) -> list[str]:
        return [f"GPU-{self.name}-{n}" for n in range(self.gpus)]

    def _gpus(self) -> tuple[Gpu, ...]:
        there = [it for it in self.uuids() if it not in self.lost_gpus]
        return tuple(Gpu(it, "NVIDIA A100-SXM4-80GB", A100_MIB, 4, compute_capability="8.0") for it in there)

    def facts(self) -> HostFacts:
        return HostFacts(
            hostname=self.name, cpus=8, memory_mib=16384, memory_available_mib=12000, disk_total_mib=99999,
            disk_free_mib=88888, docker_version="20.10", gpus=self._gpus(), images=("hello:1",),
        )  # fmt: skip

    def look(self) -> Look:
        return Look(self._gpus(), tuple(self.findings), at_s=asyncio.get_running_loop().time())

    def lose_gpu(self, uuid: str) -> None:
        now_s = asyncio.get_running_loop().time()
        self.lost_gpus.add(uuid)
        self.findings.append(Finding("xid-79", Severity.FAILING, "it fell off the bus", "reset it", now_s, uuid))
        self.changed()

    def changed(self) -> None:
        if self.agent is not None:
            self.agent.link.changed()

    def dial(self, host_id: str) -> str:
        return self.dial_host(host_id)

    # --- its disk ---

    def keep(self, entry: JournalEntry) -> None:
        """Written a moment later, as the journal does; who dies before has kept what was there."""
        owner = process.get()
        asyncio.get_running_loop().call_later(self.rng.uniform(0.001, 0.05), self._write, owner, entry)

    def _write(self, owner: Process, entry: JournalEntry) -> None:
        if not owner.is_dead:
            self.disk = journal.encode(entry)

    def read_journal(self) -> JournalEntry | None:
        return journal.decode(self.disk) if self.disk is not None else None

    # --- what it was assigned ---

    def accepted(self, assignment: Assignment) -> None:
        self._wish_envoys(assignment)
        self.changed()

    def _wish_envoys(self, assignment: Assignment) -> None:
        names = {role.name for role in assignment.gateways}
        for name in sorted(self.envoys.keys() - names):
            envoy = self.envoys.pop(name)
            envoy.owner.kill()
            self.network.lost_client(envoy.owner, is_told=True)
        for name in sorted(names - self.envoys.keys()):
            self.start_envoy(name)

    def start_envoy(self, name: str) -> None:
        envoy = self.envoys[name] = Envoy(
            name,
            self.host_id,
            self.name,
            self.network,
            self.rng,
            lambda text: self.story(f"envoy {name}", text),
            self.serves,
        )
        envoy.peer_pem = self.peer.certificate_pem
        spawn(envoy.owner, envoy.run())
        self.changed()

    def crash_envoy(self, name: str) -> None:
        """Its supervisor starts it again, empty."""
        envoy = self.envoys.pop(name)
        envoy.owner.kill()
        self.network.lost_client(envoy.owner, is_told=True)
        self.start_envoy(name)


class _Store:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def read(self) -> Identity:
        return self._identity


class _Desk:
    """Nobody asks for logs, numbers, usage or upgrades here."""

    def opened(self, outbox: Any) -> None: ...
    def requested(self, request: Any) -> None: ...
    def credited(self, request_id: int, lines: int) -> None: ...
    def cancelled(self, request_id: int) -> None: ...
    def closed(self) -> None: ...


machines: dict[str, Machine] = {}  # of the world that runs, by host id


class _Stub:
    """In place of the stub of the agent's link: the same call, over the simulated network."""

    def __init__(self, channel: "_Channel") -> None:
        self._channel = channel

    def Session(self, outgoing: AsyncIterator[Any]) -> Stream:
        machine = machines[self._channel.identity.host_id]
        stream = Stream(
            machine.network,
            machine.name,
            machine.peer,
            SESSION,
            process.get(),
            deserialize=agent_pb2.ToAgent.FromString,
        )
        self._channel.streams.append(stream)
        stream.open(outgoing)
        return stream


@dataclass
class _Channel:
    identity: Identity
    streams: list[Stream] = field(default_factory=list)


@asynccontextmanager
async def _channel(identity: Identity) -> AsyncIterator[_Channel]:
    channel = _Channel(identity)
    try:
        yield channel
    finally:
        for stream in channel.streams:
            stream.close()


async def _ask(target: Any, probe: Any = None) -> str:
    """What a probe finds."""
    owner = process.get()
    machine = next(it for it in machines.values() if it.agent is not None and it.agent.owner is owner)
    await asyncio.sleep(machine.rng.uniform(0.0005, 0.003))
    if machine.engine.listens(target.host):
        return ""
    return f"nothing listens on port {target.named_port} yet (connection refused)"


def install() -> None:
    """The ports of the agent that reach outside: its channel to the server, and its probes."""
    homeport_agent.link.mtls_channel = _channel  # type: ignore[assignment]
    homeport_agent.link.AgentLinkStub = _Stub  # type: ignore[assignment,misc]
    homeport_agent.probe.ask_tcp = _ask
    homeport_agent.probe.ask_http = _ask


__all__ = ["NOBODY", "EngineDown", "EngineError", "Machine", "Phase", "install", "machines"]
