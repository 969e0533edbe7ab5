"""The server itself: its loops' turns and the calls of its API, as samples."""

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from homeport_control.metrics.families import Family, counter, gauge

# of the text format nobody reads them, and they are as many as the counters
disable_created_metrics()  # type: ignore[no-untyped-call]
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class TurningLoop(Protocol):
    name: str
    turns: int
    failures: int
    busy_s: float
    turned_at_s: float


def loops(known: Iterable[TurningLoop]) -> list[Family]:
    all_of_them = list(known)
    return [
        counter("homeport_loop_turns", "Turns.", ("loop",), [((it.name,), it.turns) for it in all_of_them]),
        counter(
            "homeport_loop_failures", "Turns that failed.", ("loop",), [((it.name,), it.failures) for it in all_of_them]
        ),
        counter(
            "homeport_loop_busy_seconds", "Time in turns.", ("loop",), [((it.name,), it.busy_s) for it in all_of_them]
        ),
        gauge(
            "homeport_loop_turned_timestamp_seconds",
            "When its last turn ended.",
            ("loop",),
            [((it.name,), it.turned_at_s) for it in all_of_them if it.turns],
        ),
    ]


class Counting(grpc.aio.ServerInterceptor):
    """Counts those calls of a port that are the API's."""

    def __init__(self, calls: "ApiCalls", is_api: Callable[[str], bool]) -> None:
        self._calls = calls
        self._is_api = is_api

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        if not self._is_api(str(details.method)):
            return await continuation(details)
        return await self._calls.intercept_service(continuation, details)


class ApiCalls(grpc.aio.ServerInterceptor):
    """Counts and times the calls of a gRPC server. Streams are counted when they begin: how long they last says nothing."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "homeport_api_call_seconds", "Calls of the API.", ["method"], registry=self.registry, buckets=BUCKETS_S
        )
        self._failed = Counter(
            "homeport_api_failures",
            "Calls by the code that they ended with, but OK.",
            ["method", "code"],
            registry=self.registry,
        )
        self._streams = Counter("homeport_api_streams", "Streams that began.", ["method"], registry=self.registry)

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None  # a method that is not there: no label is made from what strangers write
        method = str(details.method).rpartition("/")[2]
        if handler.request_streaming or handler.response_streaming:
            self._streams.labels(method).inc()
            return handler

        async def timed(request: Any, context: Any) -> Any:
            began_s = time.monotonic()
            try:
                return await handler.unary_unary(request, context)
            except BaseException:
                code = context.code() or grpc.StatusCode.UNKNOWN
                self._failed.labels(method, getattr(code, "name", str(code))).inc()
                raise
            finally:
                self._seconds.labels(method).observe(time.monotonic() - began_s)

        return grpc.unary_unary_rpc_method_handler(
            timed,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
