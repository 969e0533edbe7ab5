"""cli/hosttable: hosts as a table, and what is wrong with them."""

from fakes.text import lines
from google.protobuf.timestamp_pb2 import Timestamp
from homeport_cli import hosttable
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2

NOW_S = 1_800_000_000.0


def at(ago_s: float) -> Timestamp:
    return Timestamp(seconds=int(NOW_S - ago_s))


def test_fleet_list_shows_memory_state_and_why_a_host_is_not_well() -> None:
    gpus = [host_pb2.Gpu(memory_total_mib=24576, memory_used_mib=512), host_pb2.Gpu(memory_total_mib=24576)]
    host = api_pb2.Host(
        name="gpu-1", fleet="lab", address="10.0.0.5", resources="24xCPU", state="busy", connection="unreachable",
        health="healthy", reason="silent for 7 s", created_at=at(86400 * 2), facts=host_pb2.HostFacts(gpus=gpus),
    )  # fmt: skip
    shown = lines(hosttable.hosts([host], NOW_S))
    assert shown == [
        "NAME  HOST   ADDRESS   RESOURCES  GPU MEMORY     STATUS              HEALTH   CREATED",
        "lab   gpu-1  10.0.0.5  24xCPU     ▁▁ 0.5/48.0GB  busy (unreachable)  healthy  2 days ago",
        "",
        "gpu-1: silent for 7 s",
    ]


def test_an_empty_fleet_says_how_a_host_joins() -> None:
    assert "homeport fleet join-command" in lines(hosttable.hosts([], NOW_S))[0]


def test_a_gpu_is_told_by_a_level_each_and_one_without_memory_of_its_own_by_a_dot() -> None:
    gpus = [
        host_pb2.Gpu(memory_total_mib=1000, memory_used_mib=1000),
        host_pb2.Gpu(memory_total_mib=1000, memory_used_mib=500),
        host_pb2.Gpu(unified_memory=True),
    ]
    assert "█▅· 1.5/2.0GB" in lines(hosttable.hosts([api_pb2.Host(facts=host_pb2.HostFacts(gpus=gpus))], NOW_S))[1]
    unified = api_pb2.Host(facts=host_pb2.HostFacts(gpus=gpus[2:]))
    assert "the host's" in lines(hosttable.hosts([unified], NOW_S))[1]


def test_findings_name_the_gpu_what_is_wrong_since_when_and_what_to_do() -> None:
    gpu = host_pb2.Gpu(uuid="GPU-1", name="A100", pci_bus_id="0000:17:00.0")
    found = [
        host_pb2.Finding(
            gpu_uuid="GPU-1", code="xid-79", severity="failing", reason="it fell off the bus", action="reboot",
            since_s=NOW_S - 130,
        ),
        host_pb2.Finding(code="disk-full", severity="warning", reason="2GB are free"),
    ]  # fmt: skip
    host = api_pb2.Host(name="a", facts=host_pb2.HostFacts(gpus=[gpu]), findings=found, cordoned=True)
    assert hosttable.findings(host, NOW_S) == [
        "GPU GPU-1 (A100, 0000:17:00.0) is failing since 2 mins: it fell off the bus (xid-79); do: reboot",
        "the host has a warning: 2GB are free (disk-full)",
        "is drained: it gets nothing new",
    ]


def test_who_is_not_there_says_why_and_since_when_and_an_upgrade_that_failed_is_told() -> None:
    rows = [
        api_pb2.Host(
            name="10.0.0.9", state="provisioning", reason="installing", connection_since=Timestamp(seconds=int(NOW_S - 70))
        ),
        api_pb2.Host(
            name="gpu-1", state="idle", connection="connected", reason="Docker is away", upgrade_error="new: no network",
            connection_since=Timestamp(seconds=int(NOW_S - 70)),
        ),
    ]  # fmt: skip
    shown = lines(hosttable.hosts(rows, NOW_S))
    assert "10.0.0.9: installing; since 1 min" in shown
    assert "gpu-1: Docker is away" in shown
    assert "gpu-1: its agent was not upgraded to new: no network" in shown


def test_an_on_demand_host_that_is_not_there_is_not_provisioned_and_that_needs_no_reason() -> None:
    host = api_pb2.Host(name="gpu-1", state="pending", connection="released", reason="not provisioned")
    shown = lines(hosttable.hosts([host], NOW_S))
    assert "not provisioned" in shown[1]
    assert len(shown) == 2
    host.state, host.reason = "provisioning", "being brought up for llm: connecting"
    shown = lines(hosttable.hosts([host], NOW_S))
    assert "provisioning" in shown[1]
    assert shown[3] == "gpu-1: being brought up for llm: connecting"
