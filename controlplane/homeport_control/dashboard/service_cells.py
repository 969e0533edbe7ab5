"""Services as a page shows them: runs and their numbers in, values out. Pure.

A number that no gateway tells is empty, never a zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2

from homeport_control.dashboard.words import counted, gb, gpus_text, key_of, milliseconds, percent, rate, tone

ENDED = frozenset({"terminated", "failed", "done"})


@dataclass(frozen=True, slots=True)
class ServiceHead:
    name: str
    path: str  # of its page
    state: str
    tone: str
    url: str
    model: str
    is_open: bool
    user: str
    submitted_at_s: float
    can_stop: bool


@dataclass(frozen=True, slots=True)
class Numbers:
    replicas: str
    range: str
    requests: str
    in_flight: str
    held: int
    p50: str
    p99: str
    errors: str


@dataclass(frozen=True, slots=True)
class ReplicaCell:
    index: int
    revision: int
    is_old: bool
    host: str
    gpus: str
    state: str
    tone: str
    in_rotation: bool
    message: str
    restarts: int
    memory: str


@dataclass(frozen=True, slots=True)
class ServiceBody:
    reason: str
    error: str
    log_tail: tuple[str, ...]
    scaling: str
    rollout: str  # one sentence; empty: nothing is rolled out
    rollout_percent: int
    revision: int
    replicas: tuple[ReplicaCell, ...]


@dataclass(frozen=True, slots=True)
class ServiceCells:
    key: str
    head: ServiceHead
    numbers: Numbers
    body: ServiceBody


def service_cells(run: api_pb2.Run, metrics: api_pb2.MetricsResponse | None) -> ServiceCells:
    has_ended = run.state in ENDED
    head = ServiceHead(
        name=run.name,
        path=f"/services/{run.name}",
        state=run.state,
        tone=tone(run.state),
        url="" if has_ended else run.url,
        model=run.model,
        is_open=run.open,
        user=run.user,
        submitted_at_s=run.submitted_at.seconds,
        can_stop=not has_ended and run.state != "terminating",
    )
    body = ServiceBody(
        reason=run.reason,
        error=run.error,
        log_tail=tuple(run.log_tail[-8:]) if has_ended or run.error else (),
        scaling=run.scaling,
        rollout=_rollout(run),
        rollout_percent=percent(len(_newest_up(run)), run.replicas_wanted),
        revision=run.revision,
        replicas=tuple(_replica(it, run) for it in sorted(run.replicas, key=lambda it: (it.index, it.revision))),
    )
    return ServiceCells(key_of("s", run.name), head, _numbers(run, metrics), body)


def in_order(runs: Sequence[api_pb2.Run]) -> list[api_pb2.Run]:
    return sorted(runs, key=lambda it: (it.state in ENDED, it.name))


def _newest_up(run: api_pb2.Run) -> list[api_pb2.Replica]:
    return [it for it in run.replicas if it.revision == run.revision and it.in_rotation]


def _rollout(run: api_pb2.Run) -> str:
    if run.rolled_out or run.state in ENDED or run.state == "terminating":
        return ""
    up, old = len(_newest_up(run)), [it for it in run.replicas if it.revision != run.revision]
    if not old and up >= run.replicas_wanted:
        return ""
    words = f"revision {run.revision}: {up} of {run.replicas_wanted} in rotation"
    if old:
        words += f", {counted(len(old), 'replica')} of an older one still there"
    return words


def _numbers(run: api_pb2.Run, metrics: api_pb2.MetricsResponse | None) -> Numbers:
    up = sum(it.in_rotation for it in run.replicas)
    requests = in_flight = p50 = p99 = errors = ""
    if metrics is not None:
        if metrics.HasField("requests_per_s"):
            requests = rate(metrics.requests_per_s)
        if metrics.HasField("in_flight"):
            in_flight = str(metrics.in_flight)
        if metrics.HasField("answers"):
            answers = metrics.answers
            p50 = milliseconds(answers.p50_ms) if answers.HasField("p50_ms") else ""
            p99 = milliseconds(answers.p99_ms) if answers.HasField("p99_ms") else ""
            errors = rate(answers.server_error_per_s)
    held = metrics.held if metrics is not None else 0
    return Numbers(f"{up} / {run.replicas_wanted}", run.replicas_range, requests, in_flight, held, p50, p99, errors)


def _replica(it: api_pb2.Replica, run: api_pb2.Run) -> ReplicaCell:
    memory = ""
    if it.HasField("gpu_memory_mib"):
        memory = f"{gb(it.gpu_memory_mib)} GB"
        if it.HasField("gpu_memory_reserved_mib"):
            memory += f" of {gb(it.gpu_memory_reserved_mib)} GB"
    elif it.HasField("gpu_memory_reserved_mib"):
        memory = f"{gb(it.gpu_memory_reserved_mib)} GB reserved"
    return ReplicaCell(
        index=it.index,
        revision=it.revision,
        is_old=it.revision != run.revision,
        host=it.host,
        gpus=gpus_text(it.gpus) if it.gpus else "",
        state=it.state,
        tone=tone(it.state),
        in_rotation=it.in_rotation,
        message=_pulled(it) or it.message,
        restarts=it.restarts,
        memory=memory,
    )


def _pulled(it: api_pb2.Replica) -> str:
    if it.state != "pulling" or not it.pull_total_bytes:
        return ""
    return f"image: {percent(it.pulled_bytes, it.pull_total_bytes)} % of {it.pull_total_bytes / 1e9:.1f} GB"


def chat_models(runs: Sequence[api_pb2.Run]) -> Mapping[str, api_pb2.Run]:
    """Of those that can be chatted with, by the service's name."""
    found = [it for it in in_order(runs) if it.model and it.model_type != "embeddings" and it.state not in ENDED]
    return {it.name: it for it in found}
