"""What a run uses, as a table: a pure function from a message of the API to what is shown.

A number that is not known is a dash, and a line below says why. What it does not cover: where and how often (commands).
"""

from collections.abc import Sequence

from google.protobuf.json_format import MessageToJson
from homeport_protos.api.v1 import api_pb2
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from homeport_cli.render import STATE_STYLES

UNKNOWN = "-"
Replicas = Sequence[api_pb2.ReplicaMetrics]


def usage(name: str, answer: api_pb2.MetricsResponse) -> RenderableType:
    """A row for the run, one for each replica, and why numbers are missing."""
    rows = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for head in ("NAME", "HOST", "STATUS", "CPU", "MEMORY", "GPU", "GPU MEMORY", "GPU UTIL", "RPS", "IN FLIGHT"):
        rows.add_column(head, overflow="fold", no_wrap=head not in {"NAME", "HOST"})
    # Without limits: what two replicas may use of one host is not twice the host.
    rows.add_row(Text(name, style="bold"), "", "", *_numbers(answer.replicas, answer, limits=False))
    for replica in answer.replicas:
        status = Text(replica.state, style=STATE_STYLES.get(replica.state, ""))
        rows.add_row(f"  replica {replica.index}", replica.host, status, *_numbers([replica], replica, limits=True))
    notes = [Text(f"replica {replica.index}: {replica.message}") for replica in answer.replicas if replica.message]
    return Group(rows, "", *notes) if notes else rows


def json_line(answer: api_pb2.MetricsResponse) -> str:
    """The API's own object on one line; a number that is not known is left out."""
    return MessageToJson(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None
    )


def _numbers(
    replicas: Replicas, requests: api_pb2.MetricsResponse | api_pb2.ReplicaMetrics, *, limits: bool
) -> list[str]:
    """The cells of one replica, or of all of them together."""
    gpus = [gpu for replica in replicas for gpu in replica.gpus]
    busy = [gpu.utilisation for gpu in gpus if gpu.HasField("utilisation")]
    cores = [replica.cpu_cores for replica in replicas if replica.HasField("cpu_cores")]
    memory = [replica.memory_mib / 1024 for replica in replicas if replica.HasField("memory_mib")]
    most_cores = [replica.cpu_limit for replica in replicas if limits]
    most_memory = [replica.memory_limit_mib / 1024 for replica in replicas if limits]
    held = [gpu.memory_used_mib / 1024 for gpu in gpus if gpu.HasField("memory_used_mib")]
    sizes = [gpu.memory_total_mib / 1024 for gpu in gpus if gpu.HasField("memory_total_mib")]
    return [
        _of(cores, most_cores, "{:.2f}"),
        _of(memory, most_memory, "{:.2f}", "GB"),
        str(len(gpus)) if gpus else "",
        _of(held, sizes, "{:.1f}", "GB") if gpus else "",
        f"{sum(busy) / len(busy):.0%}" if busy else UNKNOWN if gpus else "",
        f"{requests.requests_per_s:.1f}" if requests.HasField("requests_per_s") else UNKNOWN,
        str(requests.in_flight) if requests.HasField("in_flight") else UNKNOWN,
    ]


def _of(used: Sequence[float], limits: Sequence[float], form: str, unit: str = "") -> str:
    """ "0.52/8", "1.20/16GB": what is used, of how much."""
    if not used:
        return UNKNOWN
    most = sum(limits)
    return form.format(sum(used)) + (f"/{most:.4g}" if most else "") + unit
