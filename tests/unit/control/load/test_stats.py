"""load/stats: what one message says. The stream itself is tried with a real Envoy (tests/envoy/test_statistics.py)."""

import math

from google.protobuf import json_format
from homeport_control.domain.metrics import AnswerCount, EnvoyFigures
from homeport_control.load.stats import counts, figures
from homeport_protos.envoy.v1 import metrics_pb2


def family(name: str, **metric: object) -> dict[str, object]:
    return {"name": name, "metric": [{"timestamp_ms": 5000, **metric}]}


def message(*families: dict[str, object]) -> metrics_pb2.StreamMetricsMessage:
    return json_format.ParseDict({"metrics": list(families)}, metrics_pb2.StreamMetricsMessage())


def test_classes_and_times_of_services_are_taken_and_nothing_else() -> None:
    buckets = [{"upper_bound": 1, "cumulative_count": 2}, {"upper_bound": 2, "cumulative_count": 3}]
    found = counts(
        message(
            family("cluster.hello.upstream_rq_2xx", counter={"value": 7}),
            family("cluster.hello.upstream_rq_5xx", counter={"value": 1}),
            family("cluster.hello.upstream_rq_total", counter={"value": 8}),
            family("cluster.hello.upstream_rq_time", histogram={"sample_count": 8, "bucket": buckets}),
            family("cluster.idle.upstream_rq_2xx", counter={"value": 0}),
            family("cluster.idle.upstream_rq_time", histogram={"sample_count": 0, "bucket": buckets}),
            family("cluster.homeport/server.upstream_rq_2xx", counter={"value": 3}),
            family("http.gateway.downstream_rq_2xx", counter={"value": 8}),
            family("server.live", counter={"value": 1}),
        )
    )
    assert found == (AnswerCount("hello", (0, 7, 0, 0, 1), ((1.0, 2), (2.0, 3), (math.inf, 8))),)


def test_an_idle_gateway_says_nothing_of_any_service() -> None:
    assert counts(message()) == ()


def test_the_figures_of_the_envoy_itself() -> None:
    said = message(
        family("http.gateway.downstream_cx_active", gauge={"value": 3}),
        family("server.memory_allocated", gauge={"value": 1e7}),
        family("server.live", gauge={"value": 1}),
    )
    assert figures(said) == EnvoyFigures(connections=3, memory_bytes=10_000_000)
