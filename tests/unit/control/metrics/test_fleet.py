"""metrics/fleet: hosts and GPUs as samples; what is not known has none."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from fixtures.control import a_host, claim
from homeport_control.domain.hosts import Connection, Finding, Gpu, Health, Host
from homeport_control.metrics.families import Family, text
from homeport_control.metrics.fleet import families
from homeport_protos.common.v1 import host_pb2
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

A100 = Gpu("GPU-1", "A100", 1000, pci_bus_id="0000:01:00.0")
GPU = {"UUID": "GPU-1", "modelName": "A100", "Hostname": "h1", "pci_bus_id": "0000:01:00.0", "fleet": "local"}
HOST = {"Hostname": "h1", "fleet": "local"}
MIB = 1 << 20


def values(found: list[Family]) -> CollectorRegistry:
    """As Prometheus' own parser reads them."""

    class Read:
        def collect(self) -> list[Any]:
            return list(text_string_to_metric_families(text(found).decode()))

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Read())
    return registry


def host(**changed: Any) -> Host:
    known = a_host("h1")
    return replace(known, facts=replace(known.facts, gpus=(A100,)), **changed)


def test_a_gpu_has_what_its_driver_says_and_no_zero_for_what_it_does_not() -> None:
    gpu = host_pb2.GpuReading(uuid="GPU-1", memory_used_mib=5, temperature_c=61.5, throttled=["sw-power-cap"])
    reading = SimpleNamespace(host=None, gpus={"GPU-1": gpu})
    found = values(families([host()], [], {"h1": reading}.get))
    assert found.get_sample_value("homeport_gpu_memory_used_bytes", GPU) == 5 * MIB
    assert found.get_sample_value("homeport_gpu_memory_total_bytes", GPU) == 1000 * MIB
    assert found.get_sample_value("homeport_gpu_temperature_celsius", GPU) == 61.5
    assert found.get_sample_value("homeport_gpu_power_watts", GPU) is None
    assert found.get_sample_value("homeport_gpu_throttled", {**GPU, "reason": "sw-power-cap"}) == 1


def test_of_a_host_that_is_away_nothing_is_said_to_be_measured() -> None:
    found = values(families([host(connection=Connection.UNREACHABLE)], [], lambda _: None))
    assert found.get_sample_value("homeport_host_up", HOST) == 0
    assert found.get_sample_value("homeport_host_cpu_ratio", HOST) is None
    assert found.get_sample_value("homeport_gpu_memory_used_bytes", GPU) is None


def test_health_and_reservations() -> None:
    failing = host(findings=(Finding("xid-79", Health.FAILING, "it fell off", gpu_uuid="GPU-1"),))
    shared = replace(claim("r1", "h1"), gpu_uuids=("GPU-1",), exclusive=False, gpu_memory_mib=300)
    found = values(families([failing], [shared, replace(shared, replica_id="r2")], lambda _: None))
    assert found.get_sample_value("homeport_host_health", HOST) == 2
    assert found.get_sample_value("homeport_gpu_health", GPU) == 2
    assert found.get_sample_value("homeport_gpu_barred", GPU) == 1
    assert found.get_sample_value("homeport_gpu_memory_reserved_bytes", GPU) == 600 * MIB
    assert found.get_sample_value("homeport_gpu_replicas", GPU) == 2
    alone = replace(claim("r1", "h1"), gpu_uuids=("GPU-1",), exclusive=True, gpu_memory_mib=0)
    found = values(families([host()], [alone], lambda _: None))
    assert found.get_sample_value("homeport_gpu_memory_reserved_bytes", GPU) == 1000 * MIB
