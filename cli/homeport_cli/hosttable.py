"""`fleet list`: hosts as a table, and what is wrong with them. Pure. One host in full: `hostcard`."""

from collections.abc import Sequence

from homeport_protos.api.v1 import api_pb2
from rich.console import Group, RenderableType
from rich.text import Text

from homeport_cli.columns import kept
from homeport_cli.gpucells import MIB, levels
from homeport_cli.render import WIDE, age, span, state_text, table_of

RELEASED = "released"  # the connection of an on-demand host that is not there: nobody misses it
NOT_PROVISIONED = "not provisioned"


def hosts(rows: Sequence[api_pb2.Host], now_s: float, width: int = WIDE) -> RenderableType:
    """`fleet list`: a row per host, and a line for each that has something to say."""
    if not rows:
        return Text("No hosts. Add one with the line that `homeport fleet join-command` prints.")
    heads = ["NAME", "HOST", "ADDRESS", "RESOURCES", "GPU MEMORY", "STATUS", "HEALTH", "CREATED"]
    body = []
    for row in rows:
        cells = (row.fleet, row.name, row.address, row.resources, _gpu_memory(row))
        body.append(
            [*map(Text, cells), state_text(state_of(row)), state_text(row.health), Text(age(row.created_at, now_s))]
        )
    columns = kept(heads, body, width, spare=("ADDRESS", "CREATED", "NAME"))
    table = table_of(*(heads[place] for place in columns))
    for line in body:
        table.add_row(*(line[place] for place in columns))
    reasons = [
        Text(f"{row.name}: {reason_of(row, now_s)}") for row in rows if row.reason and row.reason != NOT_PROVISIONED
    ]
    reasons += [
        Text(f"{row.name}: its agent was not upgraded to {row.upgrade_error}") for row in rows if row.upgrade_error
    ]
    reasons += [Text(f"{row.name}: {line}") for row in rows for line in findings(row, now_s)]
    return Group(table, "", *reasons) if reasons else table


def findings(host: api_pb2.Host, now_s: float) -> list[str]:
    """What is wrong with a host and its GPUs, worst first, a line each."""
    names = {gpu.uuid: f"GPU {gpu.uuid} ({gpu.name}, {gpu.pci_bus_id})" for gpu in host.facts.gpus}
    lines = []
    for it in host.findings:
        who = names.get(it.gpu_uuid, f"GPU {it.gpu_uuid}") if it.gpu_uuid else "the host"
        what = "is failing" if it.severity == "failing" else "has a warning"
        since = f" since {span(now_s - it.since_s) or 'now'}" if it.since_s else ""
        lines.append(f"{who} {what}{since}: {it.reason} ({it.code})" + (f"; do: {it.action}" if it.action else ""))
    lines += ["is drained: it gets nothing new"] if host.cordoned else []
    lines += [f"{names.get(it.uuid, it.uuid)} is drained" for it in host.gpus if it.cordoned]
    return lines


def reason_of(host: api_pb2.Host, now_s: float) -> str:
    """Why it is not connected, and since when; or why it is not healthy."""
    is_away = host.connection != "connected" and host.HasField("connection_since")
    return f"{host.reason}; since {span(now_s - host.connection_since.seconds) or 'now'}" if is_away else host.reason


def state_of(host: api_pb2.Host) -> str:
    """ "idle"; "idle (unreachable)"; of an on-demand host that is not there: "not provisioned"."""
    if host.connection == RELEASED:
        return NOT_PROVISIONED if host.state == "pending" else host.state
    return host.state if host.connection in {"", "connected"} else f"{host.state} ({host.connection})"


def _gpu_memory(host: api_pb2.Host) -> str:
    """ "▁█ 10.7/48.0GB": a level for each GPU, and all of them together."""
    gpus = host.facts.gpus
    if not gpus:
        return ""
    used, total = (sum(getattr(it, name) for it in gpus) / MIB for name in ("memory_used_mib", "memory_total_mib"))
    return f"{levels(gpus)} {used:.1f}/{total:.1f}GB" if total else "the host's"
