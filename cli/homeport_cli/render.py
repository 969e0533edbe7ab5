"""Answers of the API as tables and lines: pure functions from messages (and `now_s`) to what is shown.

Colour only repeats what the words say. What it does not cover: progress of one run while it is watched (`progress`),
where it is printed (`context`).
"""

import json
import shlex
from collections.abc import Iterable, Sequence

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from homeport.verdicts import ENDED, LEAVING
from homeport_protos.api.v1 import api_pb2
from homeport_protos.gpu_memory import gigabytes
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from homeport_cli.columns import Quick, kept

STATE_STYLES = {
    "running": "green", "in rotation": "green", "idle": "green", "healthy": "green", "connected": "green",
    "failed": "red", "failing": "red", "unreachable": "red", "revoked": "red", "expired": "red",
    "draining": "yellow", "terminating": "yellow", "warning": "yellow", "busy": "yellow",
    "terminated": "dim", "done": "dim",
}  # fmt: skip
# What is called with which body, by the type of a model.
MODEL_CALLS: dict[str, tuple[str, dict[str, object]]] = {
    "chat": ("chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}),
    "completions": ("completions", {"prompt": "Hello"}),
    "embeddings": ("embeddings", {"input": "Hello"}),
}
WIDE = 120  # from this many columns on, `ps` has one for errors
WHOLE = frozenset(
    {"#", "BACKEND", "REPLICAS", "STATUS", "PROBES", "SUBMITTED", "SPOT", "PRICE", "HEALTH", "CREATED", "ID", "HOW"}
)
TOLD_BY_REPLICAS = frozenset({"running", "provisioning", "done"})  # states in which the run's own reason is no trouble


def json_text(message: Message) -> str:
    """The API's own object, its own field names, every field present."""
    return MessageToJson(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def plan(answer: api_pb2.PlanResponse) -> RenderableType:
    """What would happen: properties, what changes, who offers room, and why the others do not."""
    parts: list[RenderableType] = [properties(answer.properties)]
    if answer.changes:
        parts += ["", changes(answer.changes)]
    if answer.how or answer.how_because:
        parts += ["", Text(": ".join(filter(None, (answer.how.capitalize(), answer.how_because))))]
    return Group(*parts, "", offered(answer), "")


def offered(answer: api_pb2.PlanResponse | api_pb2.ListOffersResponse) -> RenderableType:
    """Who offers room, and under it why the others do not."""
    nothing = "No host fits." if answer.refusals else "There are no hosts yet: `homeport fleet join-command`."
    table = offers(answer.offers) if answer.offers else Text(nothing, style="yellow")
    return Group(table, *(Text(f"{refusal.host}: {refusal.reason}") for refusal in answer.refusals))


def properties(rows: Iterable[api_pb2.Property]) -> Table:
    table = table_of("", "", show_header=False)
    for row in rows:
        table.add_row(Text(row.name, style="bold"), Text(row.value))
    return table


def changes(rows: Iterable[api_pb2.Change]) -> Table:
    table = table_of("CHANGE", "FROM", "TO", "HOW")
    for row in rows:
        old, new = Text(row.old or "-", style="red"), Text(row.new or "-", style="green")
        table.add_row(Text(row.path), old, new, Text(row.how))
    return table


def offers(rows: Iterable[api_pb2.Offer]) -> Table:
    table = table_of("#", "BACKEND", "REGION", "HOST", "RESOURCES", "SPOT", "PRICE", "")
    for number, row in enumerate(rows, start=1):
        price = f"${row.price:.4f}".rstrip("0").rstrip(".")
        spot = "yes" if row.spot else "no"
        cells = (str(number), row.backend, row.region, row.host, row.resources, spot, price)
        table.add_row(*map(Text, cells), state_text(row.availability))
    return table


def runs(rows: Sequence[api_pb2.Run], now_s: float, *, verbose: bool = False, width: int = WIDE) -> RenderableType:
    """`ps`: a row per run, and under it a row per replica when they differ or `verbose` asks for them.

    Troubles are the last column; where `width` leaves no room for one they are lines below, as are models with `verbose`.
    """
    if not rows:
        return Text("No runs.")
    models = [
        Text(f"{run.name}: model {_printable(', '.join((run.model, *run.model_aliases)))} at {run.model_url}")
        for run in rows
        if verbose and run.model_url
    ]
    body: list[tuple[list[Text], str, str]] = []  # cells, whose trouble, what trouble
    for run in rows:
        children = _children(run, verbose)
        body.append((_run_cells(run, now_s, merge=not children), run.name, _trouble(run, merge=not children)))
        for replica in children:
            who = f"{run.name} replica {replica.index}"
            body.append((_replica_cells(replica, run, now_s), who, replica_trouble(replica)))
    notes = [Text(f"{who}: {trouble}") for _, who, trouble in body if trouble]
    models += [Text(f"{run.name}: {line}") for run in rows if verbose for line in _peaks(run)]
    models += [Text(f"{run.name}: scaling: {run.scaling}") for run in rows if verbose and run.scaling]
    as_column = bool(notes) and width >= WIDE
    heads = ["NAME", "BACKEND", "HOST", "GPU", "REPLICAS", "STATUS", "PROBES", "SUBMITTED"]
    columns = kept(heads, [cells for cells, _, _ in body], width, spare=("BACKEND", "SUBMITTED", "PROBES", "GPU"))
    table = table_of(*(heads[place] for place in columns), *(["ERROR"] if as_column else []))
    for cells, _, trouble in body:
        table.add_row(*(cells[place] for place in columns), *([Text(trouble)] if as_column else []))
    below = [*models, *([] if as_column else notes)]
    return Group(table, "", *below) if below else table


def published(run: api_pb2.Run, token: str) -> list[str]:
    """What `apply` ends with: the address, and a line to paste. `token` is what stands for the token in that line."""
    if not run.url:
        return [f"Service {run.name} is running"]
    sleeps = run.replicas_range and not run.replicas_wanted
    asleep = ["It is scaled to zero: the first request starts a replica"] if sleeps else []
    # Double quotes: the token may be a shell variable, and holds nothing else that a shell would read.
    header = "" if run.open else f' -H "Authorization: Bearer {token}"'
    url = run.url if run.url.count("/") > 2 else f"{run.url}/"
    lines = [f"Service is published at {run.url}", f"curl{header} {shlex.quote(url)}"]
    if run.model_url:
        names = _printable(", ".join((run.model, *run.model_aliases)))
        lines += [f"Model {names} is published at {run.model_url}", _model_call(run, header)]
    return [*lines, *asleep]


def _model_call(run: api_pb2.Run, header: str) -> str:
    path, asked = MODEL_CALLS.get(run.model_type, MODEL_CALLS["chat"])
    body = json.dumps({"model": run.model, **asked}, ensure_ascii=not run.model.isprintable())
    address = shlex.quote(f"{run.model_url}/{path}")
    return f'curl{header} -H "Content-Type: application/json" {address} -d {shlex.quote(body)}'


def _printable(name: str) -> str:
    """A model's name is whatever somebody wrote; it moves no cursor here."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def age(moment: Timestamp, now_s: float) -> str:
    """ "3 mins ago"; empty when the moment is not set."""
    if not moment.seconds:
        return ""
    words = span(now_s - moment.seconds)
    return f"{words} ago" if words else "now"


def until(moment: Timestamp, now_s: float) -> str:
    if moment.seconds <= now_s:
        return age(moment, now_s)
    return f"in {span(moment.seconds - now_s) or '1 sec'}"


def span(seconds: float) -> str:
    for unit, length_s in (("day", 86400), ("hour", 3600), ("min", 60), ("sec", 1)):
        count = int(seconds // length_s)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 and unit != 'sec' else ''}"
    return ""


def table_of(*heads: str, show_header: bool = True) -> Table:
    table = Quick(*heads, show_header=show_header)
    for head in heads:
        # The short ones stay whole on a narrow terminal; names and lists fold first.
        table.add_column(head, overflow="fold", no_wrap=head in WHOLE, min_width=min(len(head), 8))
    return table


def state_text(state: str) -> Text:
    return Text(state, style=STATE_STYLES.get(state.partition(" (")[0], ""))


def _trouble(run: api_pb2.Run, *, merge: bool) -> str:
    """What is wrong with a run, or keeps it waiting; with `merge` what its replicas say too, since they have no rows."""
    if run.error or run.state not in TOLD_BY_REPLICAS:
        return run.error or ("" if run.reason == run.state else run.reason)
    return next(filter(None, map(replica_trouble, _shown(run))), "") if merge else ""


def replica_trouble(replica: api_pb2.Replica) -> str:
    """Its message, where that is more than what its state says already; and that it holds more than is its."""
    if replica.over_reservation:
        held, reserved = gigabytes(replica.gpu_memory_mib), gigabytes(replica.gpu_memory_reserved_mib)
        return f"holds {held} of GPU memory, it reserved {reserved}"
    return "" if replica.state in {"pulling", "draining", *LEAVING} else replica.message


def reserved(one: api_pb2.Replica | api_pb2.ReplicaMetrics) -> str:
    """ "reserved 24GB, peak 17.3GB": the peak is of all replicas of its revision. Empty without a GPU."""
    if not one.gpu_memory_reserved_mib:
        return ""
    peak = f", peak {gigabytes(one.gpu_memory_peak_mib)}" if one.HasField("gpu_memory_peak_mib") else ""
    return f"reserved {gigabytes(one.gpu_memory_reserved_mib)}{peak}"


def _peaks(run: api_pb2.Run) -> list[str]:
    """A line for each revision that holds GPUs."""
    told = {(it.revision, reserved(it)) for it in _shown(run) if it.gpu_memory_reserved_mib}
    which = (
        "GPU memory of a replica"
        if len({it.revision for it in _shown(run)}) == 1
        else "GPU memory of a replica of revision {}"
    )
    return [f"{which.format(revision)}: {words}" for revision, words in sorted(told)]


def _shown(run: api_pb2.Run) -> list[api_pb2.Replica]:
    """The replicas that are there; those that ended only while there is no other."""
    there = [replica for replica in run.replicas if replica.state not in ENDED]
    return there or list(run.replicas)


def _children(run: api_pb2.Run, verbose: bool) -> list[api_pb2.Replica]:
    replicas = list(run.replicas) if verbose else _shown(run)
    if verbose:
        return replicas
    faces = {(replica.host, replica.gpus, replica_state(replica), replica.revision) for replica in replicas}
    return replicas if len(faces) > 1 else []


def replica_state(replica: api_pb2.Replica) -> str:
    """Its state; "ready" while it runs and no gateway sends it requests yet."""
    return "ready" if replica.state == "running" and not replica.in_rotation else replica.state


def _run_cells(run: api_pb2.Run, now_s: float, *, merge: bool) -> list[Text]:
    shown = _shown(run)
    first = shown[0] if shown and merge else None
    serving = sum(replica.in_rotation for replica in run.replicas)
    passed = sum(replica.probes_passed for replica in shown)
    total = sum(replica.probes_total for replica in shown)
    return [
        Text(run.name, style="bold"),
        Text(first.backend if first else ""),
        Text(first.host if first else ""),
        Text(first.gpus if first else ""),
        Text(f"{serving}/{run.replicas_wanted}{f' ({run.replicas_range})' if run.replicas_range else ''}"),
        state_text(run.state),
        Text(f"{passed}/{total}" if total else ""),
        Text(age(run.submitted_at, now_s)),
    ]


def _replica_cells(replica: api_pb2.Replica, run: api_pb2.Run, now_s: float) -> list[Text]:
    name = f"  replica {replica.index}"
    if replica.revision != run.revision:
        name += f" (revision {replica.revision})"
    return [
        Text(name),
        Text(replica.backend),
        Text(replica.host),
        Text(replica.gpus),
        Text(""),
        state_text(replica_state(replica)),
        Text(f"{replica.probes_passed}/{replica.probes_total}" if replica.probes_total else ""),
        Text(age(replica.submitted_at, now_s)),
    ]
