"""What one host must run, as the message that it gets: made anew from the database each time, never patched.

Secrets are opened here, on their way to the one host that needs them, and kept nowhere else.
"""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.code import WORKFLOW

from homeport_control.agents.enrollment import LOCAL_ADDRESSES
from homeport_control.decide.paths import dialling, mark
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import Door, Host
from homeport_control.domain.replicas import Replica, Wanted
from homeport_control.domain.services import Revision, Run
from homeport_control.settings import ServerSettings
from homeport_control.spec.base_image import hint_of, image_of
from homeport_control.spec.env import Secrets
from homeport_control.spec.service import ServiceSpec, spec_from_json
from homeport_control.store import doors, gateways, hosts, replicas, runs
from homeport_control.store.connect import Database
from homeport_control.store.loader import Loader
from homeport_control.trust.sealing import Sealer


@dataclass(frozen=True, slots=True)
class Part:
    """What an assignment takes of a replica."""

    id: str
    run_id: str
    index: int
    revision: int
    wanted: Wanted
    gpu_uuids: tuple[str, ...]
    stop_grace_s: float


@dataclass(frozen=True, slots=True)
class Basis:
    """What a host's assignment is made of, but for what is read of runs: of those, only what never changes is used."""

    host_id: str
    host_name: str
    roles: tuple[tuple[str, str, int, int], ...]  # of gateways: name, where it listens, its ports
    strangers: tuple[str, ...]  # hosts of other gateways, which come in by the door
    tunnels: tuple[tuple[str, str], ...]  # hosts of gateways that it dials, with their addresses
    edge: tuple[tuple[str, tuple[int, ...]], ...]  # hosts that dial this one, with their ports
    reach: tuple[tuple[str, str, int], ...]  # doors that it tries: host, address, port
    placed: tuple[Part, ...]


class Assignments:
    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        settings: ServerSettings,
        local_addresses: tuple[str, ...] = LOCAL_ADDRESSES,
    ) -> None:
        """`local_addresses`: who joined from there is on the server's own machine."""
        self._local_addresses = local_addresses
        self._database = database
        self._sealer = sealer
        self._settings = settings
        self._bases = Loader(self._look_all)
        self._revisions = Loader(self._read_all)

    async def of_host(self, host_id: str) -> agent_pb2.Assignment:
        """The whole list, without a generation; equal states give equal messages. Raises NotReady."""
        return await self.made(await self.look(host_id))

    async def look(self, host_id: str) -> Basis:
        """What the list is made of. Equal ones give equal lists. Raises NotReady."""
        return (await self._bases.load([host_id]))[host_id]

    async def _look_all(self, host_ids: Sequence[str]) -> dict[str, Basis]:
        async with self._database.read() as connection:
            known = await hosts.by_id_without_facts(connection, host_ids)
            there = await gateways.list_all(connection)
            has_role = not {it.host_id for it in there}.isdisjoint(host_ids)
            ways = await doors.by_host(connection) if has_role else {}
            dialled = {gateway for host in known.values() for gateway in host.door.dials}
            known |= await hosts.by_id_without_facts(connection, dialled - known.keys())
            placed = await replicas.on_hosts(connection, host_ids)
        return {it: basis_of(it, known, there, ways, placed.get(it, ())) for it in host_ids}

    async def _read_all(self, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], tuple[Run, bytes]]:
        """By run id and revision: the run, and what is sealed of that revision."""
        async with self._database.read() as connection:
            run_of = await runs.by_id(connection, {run_id for run_id, _ in wanted})
            sealed = await runs.all_sealed(connection, wanted)
        return {which: (run_of[which[0]], each) for which, each in sealed.items()}

    async def made(self, basis: Basis) -> agent_pb2.Assignment:
        """Raises NotReady."""
        found = (
            await self._revisions.load({(it.run_id, it.revision): None for it in basis.placed}) if basis.placed else {}
        )
        assigned = []
        for replica in basis.placed:
            run, sealed = found[replica.run_id, replica.revision]
            secrets = Secrets.from_json(self._sealer.open(sealed))
            spec = spec_from_json(run.revision(replica.revision).spec_json)
            assigned.append(assigned_replica(run, replica, spec, secrets, basis.host_name, self._settings))
        assignment = agent_pb2.Assignment(replicas=assigned)
        for name, listen_address, http_port, https_port in basis.roles:
            assignment.gateways.add(
                name=name,
                xds_port=self._settings.link_port,
                listen_address=listen_address,
                http_port=http_port,
                https_port=https_port,
            )
        if basis.roles:  # for an agent that knows one gateway a host only
            assignment.gateway.CopyFrom(assignment.gateways[0])
        if basis.strangers:
            tunnels = [self._tunnel(*it) for it in basis.tunnels]
            assignment.door.CopyFrom(agent_pb2.Door(gateway_host_ids=basis.strangers, tunnels=tunnels))
        if basis.edge:
            hosts_there = [agent_pb2.EdgeHost(host_id=other, ports=ports) for other, ports in basis.edge]
            assignment.edge.CopyFrom(
                agent_pb2.Edge(port=self._settings.edge_port, mark=mark(basis.host_id), hosts=hosts_there)
            )
        assignment.reach.extend(
            agent_pb2.Reach(host_id=other, address=address, port=port) for other, address, port in basis.reach
        )
        return assignment

    def _tunnel(self, host_id: str, address: str) -> agent_pb2.Tunnel:
        """The server's own machine is found as the server is, by whatever name and address that is from there."""
        known = "" if address in self._local_addresses else address
        return agent_pb2.Tunnel(
            gateway_host_id=host_id, address=known, port=self._settings.edge_port, mark=mark(host_id)
        )


def basis_of(
    host_id: str,
    known: Mapping[str, Host],
    there: Iterable[Gateway],
    ways: Mapping[str, Door],
    placed: Iterable[Replica],
) -> Basis:
    """`known`: it and the gateways' hosts that it dials; `ways`: all doors, where it is a gateway's host."""
    host = known.get(host_id)
    roles = tuple(it for it in there if it.host_id == host_id)
    has_replicas = host is None or not host.is_for_gateways
    strangers = tuple(sorted({it.host_id for it in there} - {host_id, ""})) if has_replicas else ()
    dials = sorted(host.door.dials.intersection(known, strangers)) if host is not None else []
    return Basis(
        host_id=host_id,
        host_name=host.name if host is not None else "",
        roles=tuple((it.name, it.listen_address, it.http_port, it.https_port) for it in roles),
        strangers=strangers,
        tunnels=tuple((it, known[it].address) for it in dials),
        edge=tuple(dialling(host_id, ways).items()) if roles else (),
        reach=tuple(
            (other, door.address, door.ports[0])
            for other, door in (sorted(ways.items()) if roles else ())
            if other != host_id and door.address and door.ports
        ),
        placed=tuple(map(part_of, placed)),
    )


def part_of(replica: Replica) -> Part:
    return Part(*(getattr(replica, field) for field in Part.__slots__))


def assigned_replica(
    run: Run, replica: Part, spec: ServiceSpec, secrets: Secrets, host_name: str, settings: ServerSettings
) -> agent_pb2.AssignedReplica:
    """One replica as its host must run it. A draining one still runs."""
    stop = replica.wanted is Wanted.STOP
    auth = secrets.registry_auth
    revision = run.revision(replica.revision)
    memory = spec.resources.memory_mib
    message = agent_pb2.AssignedReplica(
        replica_id=replica.id,
        run_name=run.name,
        revision=replica.revision,
        index=replica.index,
        wanted=agent_pb2.WANTED_STATE_STOP if stop else agent_pb2.WANTED_STATE_RUN,
        image=image_of(spec, settings.base_image),
        image_hint=hint_of(spec),
        always_pull=spec.always_pull,
        entrypoint=spec.run_entrypoint,
        command=spec.run_command,
        working_dir=working_dir(spec, revision),
        user=spec.user or "",
        env={**run_environment(run, replica, host_name), **home(spec), **secrets.env, **gpu_environment(replica)},
        container_port=spec.port,
        gpu_uuids=replica.gpu_uuids,
        cpu_limit=float(spec.resources.cpu.max or 0) if spec.resources.cpu else 0.0,
        memory_limit_mib=(memory.max or 0) if memory else 0,
        shm_size_mib=spec.resources.shm_size_mib or 0,
        volumes=[
            agent_pb2.Volume(
                source=volume.instance_path or volume.name or "", target=volume.path, optional=volume.optional
            )
            for volume in spec.volumes
        ],
        probes=[
            agent_pb2.Probe(
                url=probe.url,
                method=probe.method.upper(),
                headers=[agent_pb2.Header(name=header.name, value=header.value) for header in probe.headers],
                body=probe.body,
                timeout_s=probe.timeout_s,
                interval_s=probe.interval_s,
                ready_after=probe.ready_after,
            )
            for probe in spec.probes
        ],
        ready_timeout_s=spec.start_timeout_s or settings.ready_timeout_s,
        stop_grace_s=replica.stop_grace_s if stop else float(spec.stop_duration_s),
        retry=spec.retry,
        privileged=spec.privileged,
        code_id=revision.code_id,
        code_bytes=revision.code_bytes,
    )
    gpu = spec.resources.gpu
    if gpu is not None and gpu.shared and gpu.memory_mib is not None:
        message.gpus_shared, message.gpu_memory_mib = True, gpu.memory_mib.min or 0
    if auth is not None:
        message.registry_auth.CopyFrom(agent_pb2.RegistryAuth(username=auth.username, password=auth.password))
    return message


def working_dir(spec: ServiceSpec, revision: Revision) -> str:
    """Where the container starts; empty: the image's own. A relative one is below the code, which `commands` start in."""
    if spec.working_dir is not None:
        return posixpath.normpath(posixpath.join(WORKFLOW, spec.working_dir))
    return WORKFLOW if revision.code_id and spec.commands else ""


def home(spec: ServiceSpec) -> dict[str, str]:
    """`home_dir` as programs ask for it; `env` may say otherwise."""
    return {"HOME": spec.home_dir} if spec.home_dir is not None else {}


def gpu_environment(replica: Part) -> dict[str, str]:
    """Which GPUs it has, by UUID. Not even `env` may say otherwise: CUDA images ask for all, and where NVIDIA's runtime is
    Docker's default one, NVIDIA_VISIBLE_DEVICES alone decides what a container gets. "void" gives none."""
    uuids = ",".join(replica.gpu_uuids)
    return {"HOMEPORT_GPUS": uuids, "NVIDIA_VISIBLE_DEVICES": uuids or "void"}


def run_environment(run: Run, replica: Part, host_name: str) -> dict[str, str]:
    """What every container finds besides its own `env`; under both prefixes, so that files of the page run unchanged."""
    shared = {
        "RUN_NAME": run.name,
        "REPO_ID": "",
        "GPUS_NUM": str(len(replica.gpu_uuids)),
        "GPUS_PER_NODE": str(len(replica.gpu_uuids)),
        "NODES_NUM": "1",
        "NODE_RANK": "0",
    }
    environment = {f"{prefix}_{name}": value for prefix in ("DSTACK", "HOMEPORT") for name, value in shared.items()}
    environment["HOMEPORT_REPLICA"] = str(replica.index)
    environment["HOMEPORT_HOST"] = host_name
    return environment
