#!/usr/bin/env python3
"""Writes dashboard.json, to be imported into Grafana: one row each for the fleet, GPUs, services, gateways and the server."""

import json
import sys
from pathlib import Path
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${source}"}
GPU = 'Hostname=~"$host"'
ROWS: dict[str, list[tuple[str, str, str, str]]] = {  # title, expression, legend, unit
    "Fleet": [
        ("Hosts that answer", "sum by (fleet) (homeport_host_up)", "{{fleet}}", "short"),
        ("Hosts that are not well", "homeport_host_health > 0", "{{Hostname}}", "short"),
        (
            "GPU memory in use",
            "sum(homeport_gpu_memory_used_bytes) / sum(homeport_gpu_memory_total_bytes)",
            "used",
            "percentunit",
        ),
        (
            "GPU memory reserved",
            "sum(homeport_gpu_memory_reserved_bytes) / sum(homeport_gpu_memory_total_bytes)",
            "reserved",
            "percentunit",
        ),
    ],
    "GPUs": [
        ("Memory", f"homeport_gpu_memory_used_bytes{{{GPU}}}", "{{Hostname}} {{UUID}}", "bytes"),
        ("Utilisation", f"homeport_gpu_utilisation_ratio{{{GPU}}}", "{{Hostname}} {{UUID}}", "percentunit"),
        ("Temperature", f"homeport_gpu_temperature_celsius{{{GPU}}}", "{{Hostname}} {{UUID}}", "celsius"),
        ("Power", f"homeport_gpu_power_watts{{{GPU}}}", "{{Hostname}} {{UUID}}", "watt"),
    ],
    "Services": [
        (
            "Answers",
            'sum by (run, code_class) (rate(homeport_service_answers_total{run=~"$run"}[1m]))',
            "{{run}} {{code_class}}",
            "reqps",
        ),
        (
            "Latency, 99 %",
            'histogram_quantile(0.99, sum by (run, le) (rate(homeport_service_answer_seconds_bucket{run=~"$run"}[1m])))',
            "{{run}}",
            "s",
        ),
        ("In flight", 'homeport_service_requests_in_flight{run=~"$run"}', "{{run}}", "short"),
        ("Replicas in rotation", 'homeport_service_replicas_in_rotation{run=~"$run"}', "{{run}}", "short"),
        ("Replicas wanted", 'homeport_service_replicas_wanted{run=~"$run"}', "{{run}}", "short"),
        ("Requests held", 'homeport_service_requests_held{run=~"$run"}', "{{run}}", "short"),
    ],
    "Gateways": [
        ("Connections", "homeport_gateway_connections", "{{gateway}}", "short"),
        ("Memory", "homeport_gateway_memory_bytes", "{{gateway}}", "bytes"),
    ],
    "Server": [
        (
            "API, 95 %",
            "histogram_quantile(0.95, sum by (method, le) (rate(homeport_api_call_seconds_bucket[5m])))",
            "{{method}}",
            "s",
        ),
        ("Time in loops", "rate(homeport_loop_busy_seconds_total[5m])", "{{loop}}", "percentunit"),
    ],
}
COLUMNS, HEIGHT, WIDTH = 3, 8, 8


def dashboard() -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row, graphs in ROWS.items():
        panels.append({"type": "row", "title": row, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []})
        y += 1
        for at, (title, expression, legend, unit) in enumerate(graphs):
            place = {"x": at % COLUMNS * WIDTH, "y": y + at // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append(
                {
                    "type": "timeseries",
                    "title": title,
                    "datasource": SOURCE,
                    "gridPos": place,
                    "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                    "targets": [{"refId": "A", "datasource": SOURCE, "expr": expression, "legendFormat": legend}],
                }
            )
        y += -(-len(graphs) // COLUMNS) * HEIGHT
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
    return {
        "title": "Homeport",
        "uid": "homeport",
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                _choice("host", "Host", "label_values(homeport_host_up, Hostname)"),
                _choice("run", "Service", "label_values(homeport_service_replicas_wanted, run)"),
            ]
        },
        "panels": panels,
    }


def _choice(name: str, label: str, query: str) -> dict[str, Any]:
    every = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return {
        "name": name, "label": label, "type": "query", "datasource": SOURCE, "query": query, "refresh": 2,
        "multi": True, "includeAll": True, "current": every,
    }  # fmt: skip


def main() -> int:
    page = Path(__file__).with_name("dashboard.json")
    made = json.dumps(dashboard(), indent=1) + "\n"
    if "--check" in sys.argv:
        return 0 if page.read_text() == made else 1
    page.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
