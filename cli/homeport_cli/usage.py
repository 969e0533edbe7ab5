"""What a run uses, as a table: a pure function from a message of the API to what is shown.

A number that is not known is a dash, and a line below says why. What it does not cover: where and how often (commands).
"""

from collections.abc import Sequence

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from homeport_protos.api.v1 import api_pb2
from rich.console import Group, RenderableType
from rich.text import Text

from homeport_cli.columns import kept
from homeport_cli.render import reserved, state_text, table_of

UNKNOWN = "-"
Replicas = Sequence[api_pb2.ReplicaMetrics]


HEADS = ("NAME", "HOST", "STATUS", "CPU", "MEMORY", "GPU", "GPU MEMORY", "GPU UTIL", "RPS", "IN FLIGHT")
SPARE = ("GPU", "STATUS", "HOST", "CPU")  # go in this order where the terminal is narrow


def usage(name: str, answer: api_pb2.MetricsResponse, width: int) -> RenderableType:
    """A row for the run, one for each replica; how its requests were answered; why numbers are missing."""
    # The run's own row has no limits: what two replicas may use of one host is not twice the host.
    rows = [[Text(name, style="bold"), Text(""), Text(""), *_numbers(answer.replicas, answer, limits=False)]]
    for replica in answer.replicas:
        head = [Text(f"  replica {replica.index}"), Text(replica.host), state_text(replica.state)]
        rows.append([*head, *_numbers([replica], replica, limits=True)])
    columns = kept(HEADS, rows, width, SPARE)
    table = table_of(*(HEADS[place] for place in columns))
    for row in rows:
        table.add_row(*(row[place] for place in columns))
    notes = [Text(f"replica {replica.index}: {line}") for replica in answer.replicas for line in _notes(replica)]
    told = [Text(f"{name}: {line}") for line in traffic(answer)]
    return Group(table, "", *told, *notes) if told or notes else table


def traffic(answer: api_pb2.MetricsResponse) -> list[str]:
    """ "2 held; p50 12 ms, p99 340 ms; per second 2xx 12.0, 4xx 0.3, 5xx 0.2"; nothing where no gateway says."""
    if not answer.HasField("answers"):
        return [f"{answer.held} held"] if answer.held else []
    found = answer.answers
    took = [f"p50 {_ms(found.p50_ms)}"] if found.HasField("p50_ms") else []
    took += [f"p99 {_ms(found.p99_ms)}"] if found.HasField("p99_ms") else []
    seldom = [("1xx", found.informational_per_s), ("3xx", found.redirect_per_s)]
    always = [("2xx", found.success_per_s), ("4xx", found.client_error_per_s), ("5xx", found.server_error_per_s)]
    shown = sorted([*always, *(it for it in seldom if it[1])])
    classes = "per second " + ", ".join(f"{name} {rate:.1f}" for name, rate in shown)
    return ["; ".join([f"{answer.held} held", *([", ".join(took)] if took else []), classes])]


def _ms(value: float) -> str:
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.0f} s"


def _notes(replica: api_pb2.ReplicaMetrics) -> list[str]:
    """Its reservation and its peak, and why numbers are missing."""
    over = "; it holds more than it reserved" if replica.over_reservation else ""
    memory = f"GPU memory {reserved(replica)}{over}" if reserved(replica) else ""
    return [line for line in (memory, replica.message) if line]


def json_line(answer: Message) -> str:
    """The API's own object on one line; a number that is not known is left out."""
    return MessageToJson(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None
    )


def _numbers(
    replicas: Replicas, requests: api_pb2.MetricsResponse | api_pb2.ReplicaMetrics, *, limits: bool
) -> list[Text]:
    """The cells of one replica, or of all of them together."""
    gpus = [gpu for replica in replicas for gpu in replica.gpus]
    busy = [gpu.utilisation for gpu in gpus if gpu.HasField("utilisation")]
    cores = [replica.cpu_cores for replica in replicas if replica.HasField("cpu_cores")]
    memory = [replica.memory_mib / 1024 for replica in replicas if replica.HasField("memory_mib")]
    most_cores = [replica.cpu_limit for replica in replicas if limits]
    most_memory = [replica.memory_limit_mib / 1024 for replica in replicas if limits]
    held = [gpu.memory_used_mib / 1024 for gpu in gpus if gpu.HasField("memory_used_mib")]
    sizes = [gpu.memory_total_mib / 1024 for gpu in gpus if gpu.HasField("memory_total_mib")]
    cells = [
        _of(cores, most_cores, "{:.2f}"),
        _of(memory, most_memory, "{:.2f}", "GB"),
        str(len(gpus)) if gpus else "",
        _of(held, sizes, "{:.1f}", "GB") if gpus else "",
        f"{sum(busy) / len(busy):.0%}" if busy else UNKNOWN if gpus else "",
        f"{requests.requests_per_s:.1f}" if requests.HasField("requests_per_s") else UNKNOWN,
        str(requests.in_flight) if requests.HasField("in_flight") else UNKNOWN,
    ]
    return [Text(cell) for cell in cells]


def _of(used: Sequence[float], limits: Sequence[float], form: str, unit: str = "") -> str:
    """ "0.52/8", "1.20/16GB": what is used, of how much."""
    if not used:
        return UNKNOWN
    most = sum(limits)
    return form.format(sum(used)) + (f"/{most:.4g}" if most else "") + unit
