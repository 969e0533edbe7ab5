"""What Envoy counts of each service's answers (its metrics service): one stream per gateway, each second, with differences.

Covers the stream and its conversion: classes of status codes, a histogram of what answers took, and how the Envoy itself is.
Load reports have none of it. Does not cover what is made of it (answers, totals).
"""

import math
import time
from collections.abc import Callable
from typing import Any

import grpc
from homeport_protos.envoy.v1 import metrics_pb2

from homeport_control.domain.metrics import CLASSES, AnswerCount, AnswerReport, EnvoyFigures
from homeport_control.trust.gateway_calls import MOST_SERVICE_NAME, Authorize, Streams, gateway_of

SERVICE = "envoy.service.metrics.v3.MetricsService"
FLUSH_S = 1.0  # as the gateways' bootstrap has it
_LONGEST_S = 10.0  # between two messages; after more it was another stream's time
MOST_SERVICES = 50_000  # in one message
MOST_BUCKETS = 64  # Envoy has twenty
MOST_COUNT = 10**9  # answers in one message
_CLUSTER = "cluster."
_TIME = "upstream_rq_time"
_CLASS = {f"upstream_rq_{number + 1}xx": number for number in range(CLASSES)}
_FIGURES = {
    "http.gateway.downstream_cx_active": "connections",
    "http.gateway.downstream_rq_active": "in_flight",
    "server.memory_allocated": "memory_bytes",
    "server.uptime": "uptime_s",
    "server.days_until_first_cert_expiring": "certificate_days",
}


class AnswerStats:
    """Hands each report of each gateway to `on_answers`, which must return at once."""

    def __init__(
        self,
        *,
        authorize: Authorize,
        on_answers: Callable[[AnswerReport], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._authorize = authorize
        self._on_answers = on_answers
        self._clock = clock
        self._streams = Streams(per_s=5.0, burst=20.0)

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server that asks for client certificates."""
        handler = grpc.stream_unary_rpc_method_handler(
            self._stream,
            request_deserializer=metrics_pb2.StreamMetricsMessage.FromString,
            response_serializer=metrics_pb2.StreamMetricsResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"StreamMetrics": handler}),))

    async def _stream(self, requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await self._streams.run(requests, context, self._read)
        return metrics_pb2.StreamMetricsResponse()

    async def _read(self, first: Any, requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        gateway = await gateway_of(context, first.identifier.node.id, self._authorize)
        before_s = self._take(gateway, first, 0.0)
        async for message in requests:
            before_s = self._take(gateway, message, before_s)

    def _take(self, gateway: str, message: metrics_pb2.StreamMetricsMessage, before_s: float) -> float:
        """When it was taken."""
        at_s = _taken_at_s(message)
        interval_s = at_s - before_s if 0 <= at_s - before_s <= _LONGEST_S else FLUSH_S
        self._on_answers(AnswerReport(gateway, self._clock(), interval_s, counts(message), figures(message)))
        return at_s


def _taken_at_s(message: metrics_pb2.StreamMetricsMessage) -> float:
    """By the gateway's clock."""
    return message.metrics[0].metric[0].timestamp_ms / 1000 if message.metrics and message.metrics[0].metric else 0.0


def _whole(number: float) -> int:
    return min(max(int(number), 0), MOST_COUNT) if math.isfinite(number) else 0


def counts(message: metrics_pb2.StreamMetricsMessage) -> tuple[AnswerCount, ...]:
    """Of services that were answered anything; everything else that is in the message is left out."""
    classes: dict[str, list[int]] = {}
    times: dict[str, tuple[tuple[float, int], ...]] = {}
    for family in message.metrics:
        name = family.name
        if not name.startswith(_CLUSTER) or "/" in name or not family.metric or len(name) > MOST_SERVICE_NAME * 2:
            continue  # Envoy's own streams to this server: no service's name has a slash
        if len(classes) + len(times) > MOST_SERVICES:
            break
        service, _, stat = name[len(_CLUSTER) :].rpartition(".")
        if stat in _CLASS:
            if count := _whole(family.metric[0].counter.value):
                classes.setdefault(service, [0] * CLASSES)[_CLASS[stat]] = count
        elif stat == _TIME and family.metric[0].histogram.sample_count:
            histogram = family.metric[0].histogram
            below = [(bucket.upper_bound, bucket.cumulative_count) for bucket in histogram.bucket[:MOST_BUCKETS]]
            buckets = [(bound, _whole(count)) for bound, count in below if math.isfinite(bound)]
            times[service] = (*buckets, (float("inf"), _whole(histogram.sample_count)))
    return tuple(
        AnswerCount(service, tuple(classes.get(service, [0] * CLASSES)), times.get(service, ()))
        for service in sorted(classes.keys() | times.keys())
    )


def figures(message: metrics_pb2.StreamMetricsMessage) -> EnvoyFigures:
    found = {_FIGURES[it.name]: int(it.metric[0].gauge.value) for it in message.metrics if it.name in _FIGURES}
    return EnvoyFigures(**found)
