"""One simulated agent: a host with eight GPUs that exists only as a session with a real server, over real gRPC with mTLS.

Covers joining, hello, reports at the interval that it is told, readings each second, acknowledging assignments, the life
of replicas (pulling, starting, probing, ready; stopping, stopped), the door and what a gateway's host could dial. It says
what homeport_agent says, with as little work as goes: a thousand of them share a process. Does not cover logs and usage.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import grpc
from bench.fleet.envoys import serve_gateway
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from homeport_agent.channel import OPTIONS, tls_channel
from homeport_agent.reconnecting import FIRST_PAUSE_S, longer_s, wait_s
from homeport_protos.agent.v1 import agent_pb2 as pb
from homeport_protos.agent.v1.agent_pb2_grpc import EnrollmentStub
from homeport_protos.common.v1 import host_pb2
from homeport_protos.versions import PROTOCOL

SESSION = "/homeport_protos.agent.v1.AgentLink/Session"
GPUS, GPU_MIB = 8, 81920
TELEMETRY_S, FACTS_SAMPLE_S = 1.0, 1.0  # the first at least: in a large fleet as its server says
FIRST_PORT = 20_000
LIFE = (pb.PHASE_PULLING, pb.PHASE_STARTING, pb.PHASE_PROBING, pb.PHASE_READY)
STEP_S = (0.05, 0.4)  # between two phases, at random


@dataclass(slots=True)
class Identity:
    host_id: str
    server_id: str
    key: bytes
    certificate: bytes
    ca: bytes
    target: str  # of the agents' port


@dataclass(slots=True)
class Life:
    """A replica on this host."""

    phases: Iterator[int]
    port: int
    gpus: tuple[str, ...]
    phase: int = pb.PHASE_WAITING
    next_s: float | None = None  # when its next phase begins
    is_stopping: bool = False


@dataclass(slots=True)
class Counters:
    """Of all agents of a process together."""

    connected: int = 0
    sessions: int = 0
    reports: int = 0
    telemetry: int = 0
    assignments: int = 0
    broken: dict[str, int] = field(default_factory=dict)  # why sessions ended


async def enrol(api: str, ca_pem: str, token: str, name: str) -> Identity:
    """Join as a host does, with a key of its own. Tried again while the server says that it has no room."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    request = pb.JoinRequest(token=token, hostname=name, csr_pem=csr.public_bytes(pem).decode(), protocol=PROTOCOL)
    async with tls_channel(api, ca_pem) as channel:
        while True:
            try:
                answer = await EnrollmentStub(channel).Join(request, timeout=60)  # type: ignore[misc]
                break
            except grpc.aio.AioRpcError as error:
                if error.code() not in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}:
                    raise
                await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Identity(
        host_id=answer.host_id,
        server_id=answer.server_id,
        key=private,
        certificate=answer.certificate_pem.encode(),
        ca=answer.ca_pem.encode(),
        target=f"{api.rpartition(':')[0]}:{answer.link_port}",
    )


class SimulatedAgent:
    """`run()` holds a session until it is cancelled, and comes back after a break as an agent does."""

    def __init__(self, number: int, identity: Identity, counters: Counters, facts_every_s: float) -> None:
        self.number = number
        self._identity = identity
        self._counters = counters
        self._facts_every_s = facts_every_s  # how often a GPU's memory moves by so much that it is told at once
        self._chance = random.Random(number)  # noqa: S311
        self._boot_id = f"boot-{number}-{time.time():.0f}"
        self._sequence = 0
        self._uuids = [f"GPU-{number:05d}-{index}" for index in range(GPUS)]
        self._used_mib = [self._chance.randint(4, 600) for _ in range(GPUS)]
        self._readings = [self._telemetry(turn) for turn in range(3)]
        self._assignment = pb.Assignment()
        self._lives: dict[str, Life] = {}
        self._ports = iter(range(FIRST_PORT, 60_000))
        self._gateways: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        self._is_report_due = False
        self._interval_s, self._telemetry_s = 2.0, TELEMETRY_S

    @property
    def lives(self) -> list[Life]:
        return list(self._lives.values())

    async def run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            began_s = time.monotonic()
            try:
                await self._session()
                reason = "it ended"
            except grpc.aio.AioRpcError as error:
                reason = f"{error.code().name}: {(error.details() or '')[:80]}"
            except (TimeoutError, StopAsyncIteration):
                reason = "no welcome"
            self._counters.broken[reason] = self._counters.broken.get(reason, 0) + 1
            if time.monotonic() - began_s > pause_s:
                pause_s = FIRST_PAUSE_S
            await asyncio.sleep(wait_s(pause_s, self._chance.random()))
            pause_s = longer_s(pause_s)

    async def _session(self) -> None:
        it = self._identity
        credentials = grpc.ssl_channel_credentials(it.ca, it.key, it.certificate)
        async with grpc.aio.secure_channel(it.target, credentials, options=OPTIONS) as channel:
            call = channel.stream_stream(SESSION, response_deserializer=pb.ToAgent.FromString)()
            hello = pb.Hello(protocol=PROTOCOL, agent_version="simulated", boot_id=self._boot_id, facts=self._facts())
            await call.write(pb.FromAgent(hello=hello).SerializeToString())
            async with asyncio.timeout(10):
                first = await call.read()
            if first is grpc.aio.EOF or not first.HasField("welcome"):
                raise StopAsyncIteration
            self._interval_s = first.welcome.report_interval_s or 2.0
            self._telemetry_s = max(first.welcome.telemetry_interval_s, TELEMETRY_S)
            self._counters.connected += 1
            self._counters.sessions += 1
            pump = asyncio.create_task(self._pump(call.write))
            try:
                while (message := await call.read()) is not grpc.aio.EOF:
                    if message.HasField("assignment"):
                        self._assigned(message.assignment)
                if await call.code() is not grpc.StatusCode.OK:
                    raise grpc.aio.AioRpcError(await call.code(), details=await call.details())
            finally:
                self._counters.connected -= 1
                pump.cancel()
                await asyncio.gather(pump, return_exceptions=True)

    async def _pump(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Everything that goes out: what has changed at once, the rest when its time has come."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        report_s = now_s  # the first report at once, as settled agents do
        telemetry_s = now_s + self._chance.uniform(0, self._telemetry_s)
        sample_s = now_s + self._chance.uniform(0, FACTS_SAMPLE_S)
        moved_s = now_s + self._chance.uniform(0, self._facts_every_s)
        told = self._facts_key()
        self._is_report_due = True
        turn = 0
        while True:
            now_s = loop.time()
            steps = [it.next_s for it in self._lives.values() if it.next_s is not None]
            due_s = min(report_s, telemetry_s, sample_s, *steps)
            if not self._is_report_due and due_s > now_s:
                self._news.clear()
                handle = loop.call_at(due_s, self._news.set)
                await self._news.wait()
                handle.cancel()
                now_s = loop.time()
            self._live(now_s)
            facts = None
            if now_s >= sample_s:
                sample_s = now_s + FACTS_SAMPLE_S
                if now_s >= moved_s:
                    moved_s = now_s + self._facts_every_s
                    self._used_mib[self._chance.randrange(GPUS)] += self._chance.choice((-64, 64))
                if (key := self._facts_key()) != told:
                    told, facts, self._is_report_due = key, self._facts(), True
            if self._is_report_due or now_s >= report_s:
                self._is_report_due = False
                report_s = now_s + self._interval_s
                self._counters.reports += 1
                await write(pb.FromAgent(report=self._report(facts)).SerializeToString())
            if now_s >= telemetry_s:
                telemetry_s = now_s + self._telemetry_s
                self._counters.telemetry += 1
                turn += 1
                await write(self._readings[turn % len(self._readings)])

    # ---- what it is told

    def _assigned(self, assignment: pb.Assignment) -> None:
        self._counters.assignments += 1
        self._assignment = assignment
        wanted = {it.replica_id: it for it in assignment.replicas}
        for replica_id in self._lives.keys() - wanted.keys():
            del self._lives[replica_id]
        for replica_id, replica in wanted.items():
            stop = replica.wanted == pb.WANTED_STATE_STOP
            life = self._lives.get(replica_id)
            if life is None:
                life = Life(iter(LIFE), next(self._ports), tuple(replica.gpu_uuids))
                life.next_s = asyncio.get_running_loop().time() + self._chance.uniform(*STEP_S)
                self._lives[replica_id] = life
            if stop and not life.is_stopping:
                life.is_stopping = True
                life.phases, life.next_s = iter((pb.PHASE_STOPPING, pb.PHASE_STOPPED)), 0.0
        names = {it.name for it in assignment.gateways}
        for name in names - self._gateways.keys():
            work = serve_gateway(self._identity, name)
            self._gateways[name] = asyncio.create_task(work)
        for name in self._gateways.keys() - names:
            self._gateways.pop(name).cancel()
        self._is_report_due = True
        self._news.set()

    def _live(self, now_s: float) -> None:
        for life in self._lives.values():
            if life.next_s is None or life.next_s > now_s:
                continue
            phase = next(life.phases, None)
            if phase is None:
                life.next_s = None
                continue
            life.phase = phase
            life.next_s = now_s + self._chance.uniform(*STEP_S)
            self._is_report_due = True

    # ---- what it says

    def _report(self, facts: host_pb2.HostFacts | None) -> pb.Report:
        self._sequence += 1
        assignment = self._assignment
        report = pb.Report(
            boot_id=self._boot_id,
            sequence=self._sequence,
            accepted_generation=assignment.generation,
            facts=facts,
            replicas=[
                pb.ReplicaReport(
                    replica_id=replica_id,
                    phase=life.phase,  # type: ignore[arg-type]
                    message="simulated",
                    host_port=life.port,
                    container_id=replica_id,
                )
                for replica_id, life in self._lives.items()
            ],
        )
        if self._sequence == 1:
            report.findings.CopyFrom(pb.Findings())
        for role in assignment.gateways:
            report.gateways.add(name=role.name, running=True, envoy_version="simulated")
        if assignment.HasField("door"):
            high, low = divmod(self.number, 250)
            ports = [
                life.port for life in self._lives.values() if life.phase not in (pb.PHASE_WAITING, pb.PHASE_STOPPED)
            ]
            report.door.CopyFrom(pb.DoorReport(address=f"10.0.{high}.{low + 1}", ports=sorted(ports)))
        report.reached.extend(pb.Reached(host_id=it.host_id) for it in assignment.reach)
        return report

    def _facts_key(self) -> object:
        ready = sum(it.phase == pb.PHASE_READY for it in self._lives.values())
        return (tuple(self._used_mib), ready)

    def _facts(self) -> host_pb2.HostFacts:
        held: dict[str, list[host_pb2.GpuProcess]] = {uuid: [] for uuid in self._uuids}
        for pid, (replica_id, life) in enumerate(self._lives.items(), 1000):
            if life.phase == pb.PHASE_READY:
                for uuid in life.gpus:
                    held[uuid].append(
                        host_pb2.GpuProcess(pid=pid, name="python3", memory_mib=4096, replica_id=replica_id)
                    )
        gpus = [
            host_pb2.Gpu(
                uuid=uuid,
                name="NVIDIA A100-SXM4-80GB",
                memory_total_mib=GPU_MIB,
                memory_used_mib=self._used_mib[index] + sum(it.memory_mib for it in held[uuid]),
                driver_version="570.1",
                cuda_version="12.8",
                compute_capability="8.0",
                architecture="Ampere",
                pci_bus_id=f"00000000:{index:02x}:00.0",
                compute_mode="default",
                persistence_mode=True,
                near=[host_pb2.GpuNear(uuid=other, path="NV12") for other in self._uuids if other != uuid],
                processes=held[uuid],
            )
            for index, uuid in enumerate(self._uuids)
        ]
        return host_pb2.HostFacts(
            hostname=f"sim-{self.number:05d}",
            os="Debian GNU/Linux 12 (bookworm)",
            kernel="6.1.0",
            architecture="x86_64",
            cpus=64,
            memory_mib=512 * 1024,
            memory_available_mib=480 * 1024,
            disk_total_mib=2_000_000,
            disk_free_mib=1_500_000,
            docker_version="27.0",
            gpus=gpus,
            images=[f"registry.example/model-{number}:1" for number in range(8)],
        )

    def _telemetry(self, turn: int) -> bytes:
        """Two of the GPUs have moved, and the host."""
        gpus = [
            host_pb2.GpuReading(
                uuid=self._uuids[(turn * 2 + index) % GPUS],
                memory_used_mib=1000 + turn * 20,
                memory_free_mib=GPU_MIB - 1000,
                utilisation=0.5 + turn / 100,
                temperature_c=60 + turn,
                power_w=300 + turn * 5,
                power_limit_w=400,
                sm_clock_mhz=1410,
                memory_clock_mhz=1215,
            )
            for index in range(2)
        ]
        host = host_pb2.HostReading(
            cpu=0.2 + turn / 50, load=[1.0, 1.0, 1.0], memory_used_mib=32_000, disk_used_mib=500_000, docker="answers"
        )
        message = pb.Telemetry(full=turn == 0, gpus=gpus, host=host)
        return pb.FromAgent(telemetry=message).SerializeToString()
