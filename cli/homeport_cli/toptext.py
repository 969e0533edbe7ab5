"""`top`: hosts and their GPUs on one screen, what is worst first. Pure: messages and a size in, what is shown out."""

from collections.abc import Iterable, Sequence

from homeport_protos.api.v1 import api_pb2
from rich.console import Group, RenderableType
from rich.text import Text

from homeport_cli import gpucells
from homeport_cli.columns import kept
from homeport_cli.hosttable import RELEASED, state_of
from homeport_cli.render import state_text, table_of

WORST = ("failing", "warning")
HEADS = ("HOST", "MEMORY", "UTIL", "TEMP", "POWER", "HEALTH", "HELD BY")
Line = list[Text]


def picture(hosts: Sequence[api_pb2.Host], width: int, height: int, trouble: str = "") -> RenderableType:
    """At most `height` lines. A host's own memory and processors are in its line, its GPUs are below it."""
    if not hosts:
        return Text("No hosts. Add one with the line that `homeport fleet join-command` prints.")
    first: list[RenderableType] = [Text(trouble or summary(hosts), style="red" if trouble else "bold")]
    ordered = sorted(hosts, key=lambda it: (_rank(it), -_used_mib(it), it.name))
    lines: list[Line] = []
    shown = 0
    for host in ordered:
        mine = _lines(host)
        room = height - 3 - len(lines)  # the summary, the heads, and the line about those that are left out
        if len(mine) > room and shown:
            break
        lines += mine[: max(room, 1)]
        shown += 1
    columns = kept(HEADS, lines, width, spare=("POWER", "TEMP", "UTIL"))
    table = table_of(*(HEADS[place] for place in columns))
    for line in lines:
        table.add_row(*(line[place] for place in columns))
    left = len(ordered) - shown
    return Group(*first, table, *([Text(f"and {left} more hosts")] if left else []))


def summary(hosts: Sequence[api_pb2.Host]) -> str:
    """ "3 hosts, 8 GPUs: 120.5/320GB, 41% busy; 1 failing"."""
    gpus = [(host, gpu) for host in hosts for gpu in host.facts.gpus]
    busy = [it.utilisation for host in hosts for it in host.gpu_readings if it.HasField("utilisation")]
    used, total = sum(map(_used_mib, hosts)), sum(gpu.memory_total_mib for _, gpu in gpus)
    words = f"{_count(len(hosts), 'host')}, {_count(len(gpus), 'GPU')}"
    words += f": {gpucells.gb_of(used, total)}" if total else ""
    words += f", {sum(busy) / len(busy):.0%} busy" if busy else ""
    sick = [f"{count} {word}" for word in WORST if (count := sum(gpucells.health(*it) == word for it in gpus))]
    away = sum(host.connection not in {"", "connected", RELEASED} for host in hosts)
    return "; ".join((words, *sick, *([f"{_count(away, 'host')} not connected"] if away else [])))


def _lines(host: api_pb2.Host) -> list[Line]:
    reading = host.reading if host.HasField("reading") else None
    memory = gpucells.gb_of(reading.memory_used_mib, host.facts.memory_mib) if reading and host.facts.memory_mib else ""
    bar = f"{gpucells.bar(reading.memory_used_mib, host.facts.memory_mib)} {memory}" if reading and memory else ""
    head = [
        Text(f"{host.name} ({state_of(host)})", style="bold"),
        Text(bar),
        Text(f"{reading.cpu:.0%}" if reading else ""),
        Text(""),
        Text(""),
        state_text(host.health),
        Text(_count(host.replicas, "replica") if host.replicas else ""),
    ]
    return [head, *(_gpu_line(host, place) for place in range(len(host.facts.gpus)))]


def _gpu_line(host: api_pb2.Host, place: int) -> Line:
    gpu = host.facts.gpus[place]
    reading = gpucells.reading_of(host, gpu.uuid)
    return [
        Text(f"  {place} {gpu.name}"),
        Text(gpucells.memory(gpu, reading)),
        Text(gpucells.utilisation(reading)),
        Text(gpucells.temperature(reading)),
        Text(gpucells.power(reading)),
        state_text(gpucells.health(host, gpu)),
        Text(gpucells.holders(host, gpu)),
    ]


def _rank(host: api_pb2.Host) -> int:
    words: Iterable[str] = (host.health, *(it.health for it in host.gpus))
    return min(WORST.index(it) if it in WORST else len(WORST) for it in words)


def _used_mib(host: api_pb2.Host) -> int:
    return sum(gpucells.used_mib(gpu, gpucells.reading_of(host, gpu.uuid)) for gpu in host.facts.gpus)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
