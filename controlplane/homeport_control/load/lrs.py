"""Envoy's load reports (LRS): one stream per gateway, each second, requests of each endpoint: issued, done, in flight.

Covers the stream and its conversion. Does not cover what is made of a report (rates; the loops: draining, later scaling).
An endpoint that is draining is still reported; one that was removed from its service is not.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import PurePath
from typing import Any

import grpc
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf.duration_pb2 import Duration

from homeport_control.domain.gateway import TUNNEL, EndpointLoad, LoadReport
from homeport_control.load.lateness import Lateness
from homeport_control.trust.gateway_calls import MOST_SERVICE_NAME, Authorize, Streams, gateway_of

SERVICE = "envoy.service.load_stats.v3.LoadReportingService"
INTERVAL_S = 1
LEAST_S, LONGEST_S = 0.1, 60.0  # what an interval may say of itself
MOST_ENDPOINTS = 50_000  # in one report
MOST_REQUESTS = 10**9  # at one endpoint in one report


class LoadReports:
    """Hands each report of each gateway to `on_load`, which must return at once."""

    def __init__(
        self,
        *,
        authorize: Authorize,
        on_load: Callable[[LoadReport], None],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authorize = authorize
        self._on_load = on_load
        self._clock = clock
        self._monotonic = monotonic
        self._streams = Streams(per_s=5.0, burst=20.0)

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server that asks for client certificates."""
        handler = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=lrs_pb2.LoadStatsRequest.FromString,
            response_serializer=lrs_pb2.LoadStatsResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"StreamLoadStats": handler}),))

    async def _stream(self, requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await self._streams.run(requests, context, self._read)

    async def _read(self, first: Any, requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        gateway = await gateway_of(context, first.node.id, self._authorize)
        await context.write(
            lrs_pb2.LoadStatsResponse(
                send_all_clusters=True,
                load_reporting_interval=Duration(seconds=INTERVAL_S),
                report_endpoint_granularity=True,
            )
        )
        take = self.taking(gateway)
        async for message in requests:
            take(message)

    def taking(self, gateway: str) -> Callable[[Any], None]:
        """Takes one LoadStatsRequest after the other, of one stream whose Envoy was asked for them just now."""
        lateness = Lateness(self._monotonic())

        def take(message: Any) -> None:
            said = report(gateway, self._clock(), message)
            self._on_load(replace(said, late_s=lateness.of(said.interval_s, self._monotonic())))

        return take


def report(gateway: str, now_s: float, message: Any) -> LoadReport:
    """One LoadStatsRequest as a domain value; idle endpoints are left out."""
    intervals_s = [_seconds(cluster.load_report_interval) for cluster in message.cluster_stats]
    longest_s = max(intervals_s, default=0.0) or float(INTERVAL_S)
    endpoints = tuple(islice(_endpoints(message), MOST_ENDPOINTS))
    return LoadReport(gateway, now_s, endpoints, min(max(longest_s, LEAST_S), LONGEST_S))


def _seconds(duration: Any) -> float:
    return float(duration.seconds) + float(duration.nanos) / 1e9


def _endpoints(message: Any) -> Iterator[EndpointLoad]:
    for cluster in message.cluster_stats:
        if "/" in cluster.cluster_name or len(cluster.cluster_name) > MOST_SERVICE_NAME:
            continue  # Envoy's own streams to this server: no service's name has a slash
        for locality in cluster.upstream_locality_stats:
            for endpoint in locality.upstream_endpoint_stats:
                said = (
                    endpoint.total_requests_in_progress,
                    endpoint.total_issued_requests,
                    endpoint.total_successful_requests,
                    endpoint.total_error_requests,
                )
                counts = tuple(min(int(number), MOST_REQUESTS) for number in said)
                place = _place(endpoint.address)
                if place is not None and any(counts):
                    yield EndpointLoad(cluster.cluster_name, *place, *counts)


def _place(address: Any) -> tuple[str, int] | None:
    """As an Endpoint has it. A socket of the edge is named after host and port (xds/paths). None: it is none of ours."""
    if address.HasField("pipe"):
        host_id, _, port = PurePath(address.pipe.path[-MOST_SERVICE_NAME * 4 :]).stem.rpartition("-")
        return (f"{TUNNEL}{host_id}", int(port)) if port.isascii() and port.isdigit() and len(port) < 6 else None
    return address.socket_address.address[:MOST_SERVICE_NAME], address.socket_address.port_value
