"""`fleet get`: one host with everything that is known of it. Pure: messages of the API in, what is shown out."""

from collections.abc import Iterable, Mapping, Sequence

from homeport.code.words import size
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2
from homeport_protos.gpu_memory import gigabytes
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from homeport_cli import gpucells
from homeport_cli.gpucells import MIB
from homeport_cli.hosttable import findings, reason_of, state_of
from homeport_cli.render import age, properties, replica_state, state_text, table_of

NO_READING = host_pb2.GpuReading()


def host(one: api_pb2.Host, runs: Iterable[api_pb2.Run], now_s: float) -> RenderableType:
    """Facts, what is wrong, GPUs, who holds them, how they reach each other, and the replicas that are there."""
    replicas = [(run, replica) for run in runs for replica in run.replicas if replica.host == one.name]
    parts: list[RenderableType] = [properties(_facts(one, now_s))]
    if wrong := findings(one, now_s):
        parts += ["", *(Text(line) for line in wrong)]
    if one.facts.gpus:
        parts += _gpus(one, {replica.id: f"{run.name}/{replica.index}" for run, replica in replicas})
    if replicas:
        table = table_of("REPLICA", "GPU", "STATUS", "SUBMITTED")
        for run, replica in replicas:
            submitted = Text(age(replica.submitted_at, now_s))
            cells = (f"{run.name}/{replica.index}", replica.gpus)
            table.add_row(*map(Text, cells), state_text(replica_state(replica)), submitted)
        parts += ["", table]
    return Group(*parts)


def _facts(one: api_pb2.Host, now_s: float) -> list[api_pb2.Property]:
    facts, state = one.facts, state_of(one)
    driver = next((it for it in facts.gpus if it.driver_version), host_pb2.Gpu())
    versions = (driver.driver_version, f"CUDA {driver.cuda_version}" if driver.cuda_version else "")
    rows = [
        ("Name", one.name),
        ("Fleet", one.fleet),
        ("Address", one.address),
        ("Status", f"{state}: {reason_of(one, now_s)}" if one.reason else state),
        ("Agent", f"not upgraded to {one.upgrade_error}" if one.upgrade_error else one.build),
        ("Health", one.health),
        ("System", ", ".join(filter(None, (facts.os, facts.kernel, facts.architecture)))),
        ("Resources", one.resources),
        ("Memory", _free(facts.memory_available_mib, facts.memory_mib)),
        ("Disk", _free(facts.disk_free_mib, facts.disk_total_mib)),
        ("Docker", facts.docker_version or facts.docker_unavailable),
        ("Driver", ", ".join(filter(None, versions))),
        ("GPUs", "" if facts.gpus else facts.gpus_unavailable or "none"),
        ("Now", _now(one.reading) if one.HasField("reading") else ""),
        ("Labels", ", ".join(f"{key}={value}" for key, value in sorted(one.labels.items()))),
        *(("Path" if it.kind != "none" else "No path", _path(it)) for it in one.paths),
        ("Created", age(one.created_at, now_s)),
    ]
    return [api_pb2.Property(name=name, value=value) for name, value in rows if value]


def _path(it: api_pb2.Path) -> str:
    return (
        f"from gateway {it.gateway}: {it.reason}"
        if it.kind == "none"
        else f"{it.kind} from gateway {it.gateway} ({it.reason})"
    )


def _now(reading: host_pb2.HostReading) -> str:
    load = " ".join(f"{it:.2f}" for it in reading.load)
    parts = [
        f"cpu {reading.cpu:.0%}",
        f"load {load}" if load else "",
        f"memory {gigabytes(reading.memory_used_mib)}",
        f"swap {gpucells.gb_of(reading.swap_used_mib, reading.swap_total_mib)}" if reading.swap_total_mib else "",
        f"disk {gigabytes(reading.disk_used_mib)}" if reading.disk_used_mib else "",
        f"network {size(int(reading.network_received_bytes_s))}/s in, {size(int(reading.network_sent_bytes_s))}/s out",
        f"clock {reading.clock_offset_s:+.2f} s" if reading.HasField("clock_offset_s") else "",
        f"Docker {reading.docker}" if reading.docker not in {"", "answers"} else "",
    ]
    return ", ".join(filter(None, parts))


def _gpus(one: api_pb2.Host, name_of: Mapping[str, str]) -> list[RenderableType]:
    """`name_of` replicas by id. The number in front names a GPU on this page only: its UUID is its name."""
    gpus = list(one.facts.gpus)
    number = {gpu.uuid: str(place) for place, gpu in enumerate(gpus)}
    readings = {it.uuid: it for it in one.gpu_readings}
    now = table_of("#", "GPU", "MEMORY", "UTIL", "TEMP", "POWER", "HEALTH", "HELD BY")
    what = table_of("#", "UUID", "ARCHITECTURE", "PCI BUS", "MODE")
    for gpu in gpus:
        reading = readings.get(gpu.uuid, NO_READING)
        cells = (gpucells.utilisation(reading), gpucells.temperature(reading), gpucells.power(reading))
        now.add_row(
            *map(Text, (number[gpu.uuid], gpu.name, gpucells.memory(gpu, reading), *cells)),
            state_text(gpucells.health(one, gpu)),
            Text(gpucells.holders(one, gpu)),
        )
        architecture = " ".join(filter(None, (gpu.architecture, gpu.compute_capability)))
        what.add_row(*map(Text, (number[gpu.uuid], gpu.uuid, architecture, gpu.pci_bus_id, _mode(gpu, number))))
    parts: list[RenderableType] = ["", now, "", what]
    if lines := [Text(f"{number[it.uuid]}: {words}") for it in gpus if (words := _counted(readings, it))]:
        parts += ["", *lines]
    if any(gpu.near for gpu in gpus):
        parts += ["", _topology(gpus)]
    if any(gpu.processes for gpu in gpus):
        parts += ["", _processes(gpus, name_of)]
    return parts


def _counted(readings: Mapping[str, host_pb2.GpuReading], gpu: host_pb2.Gpu) -> str:
    return gpucells.counters(readings.get(gpu.uuid, NO_READING))


def _mode(gpu: host_pb2.Gpu, number: Mapping[str, str]) -> str:
    persistence = "persistent" if gpu.persistence_mode else "not persistent"
    parts = [
        f"instance of {number.get(gpu.mig_parent, gpu.mig_parent)}" if gpu.mig_parent else "",
        "cut into instances" if gpu.mig_enabled else "",
        gpu.compute_mode,
        persistence if gpu.HasField("persistence_mode") else "",
        "unified memory" if gpu.unified_memory else "",
    ]
    return ", ".join(filter(None, parts))


def _topology(gpus: Sequence[host_pb2.Gpu]) -> Table:
    """As `nvidia-smi topo -m` draws it."""
    table = table_of("#", *(str(place) for place in range(len(gpus))))
    for place, gpu in enumerate(gpus):
        paths = {it.uuid: it.path for it in gpu.near}
        table.add_row(Text(str(place)), *(Text("X" if it is gpu else paths.get(it.uuid, "")) for it in gpus))
    return table


def _processes(gpus: Sequence[host_pb2.Gpu], name_of: Mapping[str, str]) -> Table:
    table = table_of("#", "PID", "PROCESS", "MEMORY", "OF")
    for place, gpu in enumerate(gpus):
        for it in gpu.processes:
            whose = name_of.get(it.replica_id, "a replica") if it.replica_id else ""
            whose = whose or (f"container {it.container}" if it.container else "not Homeport's")
            memory = gigabytes(it.memory_mib) if it.HasField("memory_mib") else ""
            table.add_row(*map(Text, (str(place), str(it.pid), it.name, memory, whose)))
    return table


def _free(free_mib: int, whole_mib: int) -> str:
    return f"{whole_mib / MIB:.1f}GB, {free_mib / MIB:.1f}GB free" if whole_mib else ""
