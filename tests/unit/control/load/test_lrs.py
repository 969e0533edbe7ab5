"""load/lrs: what one report says. The stream itself is tried with a real Envoy (tests/envoy/test_rotation.py)."""

from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf import json_format
from homeport_control.domain.gateway import EndpointLoad, LoadReport
from homeport_control.load.lrs import LoadReports, report


def endpoint(port: int, in_progress: int) -> dict[str, object]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"address": address, "total_requests_in_progress": in_progress}


def test_a_report_holds_what_is_in_flight_at_each_endpoint_of_our_services() -> None:
    localities = [
        {"upstream_endpoint_stats": [endpoint(1, 2), endpoint(2, 0)]},
        {"upstream_endpoint_stats": [endpoint(3, 1)]},
    ]
    message = json_format.ParseDict(
        {
            "cluster_stats": [
                {"cluster_name": "hello", "upstream_locality_stats": localities},
                {
                    "cluster_name": "homeport/server",
                    "upstream_locality_stats": [{"upstream_endpoint_stats": [endpoint(4, 2)]}],
                },
            ]
        },
        lrs_pb2.LoadStatsRequest(),
    )
    assert report("local", 5.0, message) == LoadReport(
        "local", 5.0, (EndpointLoad("hello", "127.0.0.1", 1, 2), EndpointLoad("hello", "127.0.0.1", 3, 1))
    )


def test_a_report_counts_what_was_sent_and_answered_in_its_interval() -> None:
    counts = {"total_issued_requests": 7, "total_successful_requests": 5, "total_error_requests": 1}
    message = json_format.ParseDict(
        {
            "cluster_stats": [
                {
                    "cluster_name": "hello",
                    "load_report_interval": "1.250s",
                    "upstream_locality_stats": [{"upstream_endpoint_stats": [endpoint(1, 0) | counts]}],
                }
            ]
        },
        lrs_pb2.LoadStatsRequest(),
    )
    expected = EndpointLoad("hello", "127.0.0.1", 1, in_flight=0, issued=7, succeeded=5, errors=1)
    assert report("local", 5.0, message) == LoadReport("local", 5.0, (expected,), 1.25)


def test_an_idle_gateway_reports_nothing_in_flight() -> None:
    assert report("local", 5.0, lrs_pb2.LoadStatsRequest()) == LoadReport("local", 5.0, ())


def test_of_each_report_it_is_said_how_late_it_came() -> None:
    heard, at_s = list[LoadReport](), iter((99.0, 100.0, 101.0, 107.0))  # from the asking on
    take = LoadReports(authorize=lambda *_: None, on_load=heard.append, monotonic=lambda: next(at_s)).taking("local")
    for _ in range(3):
        take(lrs_pb2.LoadStatsRequest())
    assert [round(it.late_s, 1) for it in heard] == [0.0, 0.0, 5.0]
