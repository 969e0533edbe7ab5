"""One host in full, and the list of gateways: pure functions from messages to what is shown. Lists of the rest: `render`."""

from collections.abc import Iterable, Sequence

from homeport_protos.api.v1 import api_pb2
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from homeport_cli.columns import Quick
from homeport_cli.render import STATE_STYLES, age, findings, properties, replica_state

MIB = 1024


def gateways(rows: Sequence[api_pb2.Gateway]) -> RenderableType:
    """`gateway list`: a row each, and a line for each that is not ready."""
    if not rows:
        return Text("No gateways.")
    table = _table("NAME", "DOMAIN", "HOST", "SERVICES", "STATUS")
    for row in rows:
        status = Text("ready", style="green") if row.ready else Text("not ready", style="yellow")
        table.add_row(*map(Text, (row.name, row.domain, row.host, row.example_url)), status)
    reasons = [Text(f"{row.name}: {row.message}") for row in rows if row.message and not row.ready]
    return Group(table, "", *reasons) if reasons else table


def host(one: api_pb2.Host, runs: Iterable[api_pb2.Run], now_s: float) -> RenderableType:
    """`fleet get`: facts, GPUs, and the replicas that are there."""
    facts = one.facts
    state = one.state if one.connection in {"", "connected"} else f"{one.state} ({one.connection})"
    rows = [
        ("Name", one.name),
        ("Fleet", one.fleet),
        ("Address", one.address),
        ("Status", f"{state}: {one.reason}" if one.reason else state),
        ("Health", one.health),
        ("System", ", ".join(filter(None, (facts.os, facts.kernel, facts.architecture)))),
        ("Resources", one.resources),
        ("Memory", _of(facts.memory_available_mib, facts.memory_mib, "free")),
        ("Disk", _of(facts.disk_free_mib, facts.disk_total_mib, "free")),
        ("Docker", facts.docker_version or facts.docker_unavailable),
        ("GPUs", "" if facts.gpus else facts.gpus_unavailable or "none"),
        ("Labels", ", ".join(f"{key}={value}" for key, value in sorted(one.labels.items()))),
        ("Created", age(one.created_at, now_s)),
    ]
    parts: list[RenderableType] = [
        properties(api_pb2.Property(name=name, value=value) for name, value in rows if value)
    ]
    if wrong := findings(one, now_s):
        parts += ["", *(Text(line) for line in wrong)]
    if facts.gpus:
        parts += ["", _gpus(one)]
    there = [(run, replica) for run in runs for replica in run.replicas if replica.host == one.name]
    if there:
        table = _table("REPLICA", "GPU", "STATUS", "SUBMITTED")
        for run, replica in there:
            shown = replica_state(replica)
            cells = (f"{run.name}/{replica.index}", replica.gpus)
            submitted = Text(age(replica.submitted_at, now_s))
            table.add_row(*map(Text, cells), Text(shown, style=STATE_STYLES.get(shown, "")), submitted)
        parts += ["", table]
    return Group(*parts)


def _gpus(one: api_pb2.Host) -> Table:
    table = _table("GPU", "MEMORY", "HEALTH", "HELD BY", "DRIVER", "CUDA", "UUID")
    uses = {use.uuid: use for use in one.gpus}
    for gpu in one.facts.gpus:
        memory = f"{gpu.memory_used_mib / MIB:.1f}/{gpu.memory_total_mib / MIB:.1f}GB"
        use = uses.get(gpu.uuid, api_pb2.GpuUse())
        strangers = [f"pid {it.pid} {it.name}" for it in gpu.processes if not it.replica_id]
        held = ", ".join((*use.holders, *strangers))
        health = Text(use.health, style=STATE_STYLES.get(use.health, ""))
        table.add_row(
            Text(gpu.name), Text(memory), health, *map(Text, (held, gpu.driver_version, gpu.cuda_version, gpu.uuid))
        )
    return table


def _of(part_mib: int, whole_mib: int, word: str) -> str:
    return f"{whole_mib / MIB:.1f}GB, {part_mib / MIB:.1f}GB {word}" if whole_mib else ""


def _table(*heads: str) -> Table:
    table = Quick(*heads)
    for head in heads:
        table.add_column(head, overflow="fold", min_width=min(len(head), 8))
    return table
