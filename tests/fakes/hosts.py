"""Hosts, GPUs and claims made up for the tests of capacity, fit, placement and offers."""

from typing import Any

from homeport_control.decide.fit import Ask, Filters
from homeport_control.domain.hosts import (
    Connection,
    Finding,
    Gpu,
    GpuNear,
    GpuProcess,
    Health,
    Host,
    HostFacts,
    Reservation,
)
from homeport_control.spec.base import DOCUMENT
from homeport_control.spec.resources import Resources

NOW = 1000.0


def gpu(
    uuid: str,
    name: str = "NVIDIA RTX A5000",
    memory_mib: int = 24564,
    used_mib: int = 4,
    cc: str = "8.6",
    **values: Any,
) -> Gpu:
    return Gpu(uuid, name, memory_mib, used_mib, cc, **values)


def process(memory_mib: int | None = 13107, replica: str = "", pid: int = 3123, **values: Any) -> GpuProcess:
    return GpuProcess(pid, "python3", memory_mib, replica, **values)


def wired(uuids: list[str], path: str = "SYS", **pairs: str) -> dict[str, tuple[GpuNear, ...]]:
    """`near` of each GPU by UUID; `pairs` like `A_B="NV4"` differ from `path`, both ways."""
    of = {frozenset(pair.split("_")): told for pair, told in pairs.items()}
    return {a: tuple(GpuNear(b, of.get(frozenset((a, b)), path)) for b in uuids if b != a) for a in uuids}


def finding(gpu_uuid: str = "", severity: Health = Health.FAILING, reason: str = "it fell off the bus") -> Finding:
    return Finding("xid-79", severity, reason, "Reset it", 990.0, gpu_uuid)


def host(
    name: str, *gpus: Gpu, cpus: int = 8, memory_mib: int = 16384, facts: dict[str, Any] | None = None, **values: Any
) -> Host:
    made: dict[str, Any] = {"hostname": name, "cpus": cpus, "memory_mib": memory_mib, "disk_free_mib": 50 * 1024}
    defaults: dict[str, Any] = {
        "fleet": "lab",
        "region": "remote",
        "backend": "agent",
        "address": "10.0.0.1",
        "connection": Connection.CONNECTED,
        "connection_reason": "",
        "connection_since_s": 900.0,
        "cordoned": False,
        "facts": HostFacts(gpus=gpus, **(made | (facts or {}))),
        "created_at_s": 0.0,
    }
    return Host(id=f"id-{name}", name=name, **(defaults | values))


def claim(host_name: str, *uuids: str, run: str = "other", cpus: float = 0.0, memory_mib: int = 0) -> Reservation:
    return Reservation(f"r-{host_name}-{run}", f"id-{host_name}", uuids, True, 0, cpus, memory_mib, run, 1)


def part(replica: str, host_name: str, uuid: str, memory_mib: int, run: str = "chat") -> Reservation:
    return Reservation(replica, f"id-{host_name}", (uuid,), False, memory_mib, 0.0, 0, run, 1)


def ask(name: str = "r1", run: str = "hello", filters: Filters | None = None, **resources: Any) -> Ask:
    """Resources as a user writes them: `gpu="24GB"`, `memory="16GB.."`."""
    read = Resources.model_validate(resources, context=DOCUMENT, by_alias=True, by_name=False)
    return Ask(name, run, read, filters or Filters(), revision=1)
