"""What a run uses now: its hosts are asked, the gateways' counts are joined, again and again for who follows.

Covers the stream. A host that is away costs its replicas' numbers and says so; the others are shown. How much of a
processor is used is told by two readings: the first is taken a second before the first answer.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.convert import replica_state, timestamp
from homeport_control.api.gpu_memory import MemoryOf
from homeport_control.api.readings import Readings
from homeport_control.decide.paths import LOOPBACK
from homeport_control.domain.errors import NotFound, NotReady
from homeport_control.domain.gateway import TUNNEL
from homeport_control.domain.hosts import Host
from homeport_control.domain.metrics import Answers, GpuUsage, ReplicaUsage, RequestRate
from homeport_control.domain.replicas import Replica, Wanted
from homeport_control.domain.services import Run
from homeport_control.spec.service import spec_from_json
from homeport_control.store import gateways, hosts, replicas, runs
from homeport_control.store.connect import Database

INTERVAL_S = 2.0
MIN_INTERVAL_S = 1.0
MAX_INTERVAL_S = 3600.0
FIRST_READING_S = 1.0  # between the two readings of the first answer
DEADLINE_S = 5.0  # for a host to answer

ReadStats = Callable[[str, str, Sequence[str], float], Awaitable[tuple[ReplicaUsage, ...]]]
ReadRates = Callable[[str], Mapping[tuple[str, int], RequestRate] | None]
ReadTraffic = Callable[
    [str], tuple[int, Answers | None]
]  # a service's requests: held now, and how others were answered


@dataclass(frozen=True, slots=True)
class _Look:
    """One run as it is now, and what its hosts said."""

    run: Run
    replicas: tuple[Replica, ...]
    hosts: Mapping[str, Host]
    usage: Mapping[str, ReplicaUsage]  # by replica
    gateway_hosts: frozenset[str]


class RunMetrics:
    def __init__(
        self,
        database: Database,
        read_stats: ReadStats,
        read_rates: ReadRates,
        read_traffic: ReadTraffic,
        readings: Readings,
        *,
        first_reading_s: float = FIRST_READING_S,
        min_interval_s: float = MIN_INTERVAL_S,
    ) -> None:
        self._database = database
        self._read_stats = read_stats
        self._read_rates = read_rates
        self._read_traffic = read_traffic
        self._readings = readings
        self._first_reading_s = first_reading_s
        self._min_interval_s = min_interval_s

    async def stream(self, request: api_pb2.MetricsRequest) -> AsyncGenerator[api_pb2.MetricsResponse, None]:
        """One answer, or with `follow` one each interval until the run ends. Raises NotFound."""
        interval_s = min(max(request.interval_s or INTERVAL_S, self._min_interval_s), MAX_INTERVAL_S)
        before = await self._look(request.run_name)
        if before is None:
            raise NotFound(f"{request.run_name} has ended and uses nothing; `homeport ps -a` says how")
        wait_s = self._first_reading_s if any(not usage.error for usage in before.usage.values()) else 0.0
        while True:
            await asyncio.sleep(wait_s)
            began_s = time.monotonic()
            now = await self._look(request.run_name)
            if now is None:
                return
            message = _message(now, before.usage, self._read_rates(now.run.name), self._readings)
            _add_traffic(message, *self._read_traffic(now.run.name))
            yield message
            if not request.follow:
                return
            before, wait_s = now, max(0.0, interval_s - (time.monotonic() - began_s))

    async def _look(self, name: str) -> _Look | None:
        """None: the run has ended. Raises NotFound when there never was one."""
        async with self._database.read() as connection:
            found = await runs.list_shown(connection, [name], finished=True)
            if not found:
                raise NotFound(f"no run {name}; `homeport ps -a` shows all")
            run = found[0]
            present = await replicas.of_run(connection, run.id)
            by_id = await hosts.by_id(connection, {it.host_id for it in present if it.host_id})
            gateway_hosts = frozenset(it.host_id for it in await gateways.list_all(connection))
        if run.ended_at_s is not None and not present:
            return None
        by_host: dict[str, list[str]] = {}
        for replica in present:
            if replica.host_id in by_id:
                by_host.setdefault(replica.host_id, []).append(replica.id)
        answers = await asyncio.gather(*(self._ask(by_id[host_id], ids) for host_id, ids in by_host.items()))
        usage = {each.replica_id: each for answer in answers for each in answer}
        return _Look(
            run, tuple(sorted(present, key=lambda r: (r.index, r.revision, r.id))), by_id, usage, gateway_hosts
        )

    async def _ask(self, host: Host, replica_ids: list[str]) -> tuple[ReplicaUsage, ...]:
        try:
            return await self._read_stats(host.id, host.name, replica_ids, DEADLINE_S)
        except NotReady as error:
            return tuple(ReplicaUsage(replica_id, str(error)) for replica_id in replica_ids)


def _addresses(host: Host, gateway_hosts: frozenset[str]) -> list[str]:
    """Where gateways find its replicas: on loopback if it is one itself, at its door, behind a tunnel."""
    door = host.door
    others = [*([door.address] if door.address else []), *([f"{TUNNEL}{host.id}"] if door.tunnels else [])]
    return [*([LOOPBACK] if host.id in gateway_hosts else []), *others]


def _message(
    look: _Look,
    before: Mapping[str, ReplicaUsage],
    rates: Mapping[tuple[str, int], RequestRate] | None,
    readings: Readings,
) -> api_pb2.MetricsResponse:
    message = api_pb2.MetricsResponse(at=timestamp(time.time()))
    memory_of = MemoryOf(look.run, look.hosts.get, readings)
    for replica in look.replicas:
        shown = _replica(look, replica, before.get(replica.id), rates)
        if memory := memory_of.of(replica):
            shown.gpu_memory_reserved_mib = memory.reserved_mib
            shown.over_reservation = memory.is_over
            if memory.peak_mib is not None:
                shown.gpu_memory_peak_mib = memory.peak_mib
        message.replicas.append(shown)
    if rates is not None:
        message.requests_per_s = sum(rate.requests_per_s for rate in rates.values())
        message.in_flight = sum(rate.in_flight for rate in rates.values())
    return message


def _add_traffic(message: api_pb2.MetricsResponse, held: int, answers: Answers | None) -> None:
    message.held = held
    if answers is None:
        return
    one, two, three, four, five = answers.per_s
    message.answers.CopyFrom(
        api_pb2.ServiceAnswers(
            informational_per_s=one,
            success_per_s=two,
            redirect_per_s=three,
            client_error_per_s=four,
            server_error_per_s=five,
            p50_ms=answers.p50_ms,
            p99_ms=answers.p99_ms,
        )
    )


def _replica(
    look: _Look,
    replica: Replica,
    before: ReplicaUsage | None,
    rates: Mapping[tuple[str, int], RequestRate] | None,
) -> api_pb2.ReplicaMetrics:
    host, usage = look.hosts.get(replica.host_id or ""), look.usage.get(replica.id)
    message = api_pb2.ReplicaMetrics(
        replica_id=replica.id, index=replica.index, host=host.name if host else "", state=replica_state(replica)
    )
    is_routed = replica.host_port and (replica.in_rotation or replica.wanted is Wanted.DRAIN)
    if rates is not None and is_routed and host is not None:
        found = [rates.get((it, replica.host_port), RequestRate(0.0, 0)) for it in _addresses(host, look.gateway_hosts)]
        message.requests_per_s = sum(rate.requests_per_s for rate in found)
        message.in_flight = sum(rate.in_flight for rate in found)
    if host is None or usage is None:
        message.message = "the host did not say" if host else "it has no host yet"
        return message
    message.message = usage.error
    if usage.error:
        return message
    cores = cores_used(before, usage)
    if cores is not None:
        message.cpu_cores = cores
    cpu = spec_from_json(look.run.revision(replica.revision).spec_json).resources.cpu
    limit = (cpu.max if cpu else None) or host.facts.cpus
    if limit:
        message.cpu_limit = float(limit)
    message.memory_mib = usage.memory_mib
    if usage.memory_limit_mib:
        message.memory_limit_mib = usage.memory_limit_mib
    names = {gpu.uuid: gpu.name for gpu in host.facts.gpus}
    message.gpus.extend(_gpu(gpu, names.get(gpu.uuid, "")) for gpu in usage.gpus)
    return message


def cores_used(before: ReplicaUsage | None, now: ReplicaUsage) -> float | None:
    """Cores between two readings; None where they cannot be compared: another container, another start of the host."""
    if before is None or before.error or now.at_s <= before.at_s or now.cpu_s < before.cpu_s:
        return None
    return (now.cpu_s - before.cpu_s) / (now.at_s - before.at_s)


def _gpu(gpu: GpuUsage, name: str) -> api_pb2.GpuMetrics:
    return api_pb2.GpuMetrics(
        uuid=gpu.uuid,
        name=name,
        memory_used_mib=gpu.memory_used_mib,
        memory_total_mib=gpu.memory_total_mib,
        utilisation=gpu.utilisation,
    )
