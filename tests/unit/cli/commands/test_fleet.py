"""`fleet get`: one host in full."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2
from typer.testing import Result

Homeport = Callable[..., Result]


@pytest.fixture
def server(logged_in: FakeApi) -> FakeApi:
    gpu = host_pb2.Gpu(uuid="GPU-1", name="A5000", memory_total_mib=24576, memory_used_mib=512, driver_version="550.1")
    facts = host_pb2.HostFacts(cpus=8, memory_mib=65536, memory_available_mib=32768, docker_version="27.1", gpus=[gpu])
    hosts = [
        api_pb2.Host(id="h1", name="gpu-1", fleet="lab", state="busy", connection="connected", facts=facts),
        api_pb2.Host(id="h2", name="gpu-2", connection="unreachable", state="idle", reason="the connection broke"),
    ]
    replicas = [
        api_pb2.Replica(index=3, host="gpu-1", gpus="A5000:24GB:1", state="running", in_rotation=True),
        api_pb2.Replica(index=4, host="gpu-2", state="running"),
    ]
    logged_in.answers["ListHosts"] = api_pb2.ListHostsResponse(hosts=hosts)
    logged_in.answers["ListRuns"] = api_pb2.ListRunsResponse(runs=[api_pb2.Run(name="web", replicas=replicas)])
    return logged_in


@pytest.mark.parametrize("name", ["gpu-1", "h1"])
def test_a_host_is_shown_with_its_gpus_and_what_runs_on_it(server: FakeApi, homeport: Homeport, name: str) -> None:
    shown = homeport("fleet", "get", name).stdout
    assert "64.0GB, 32.0GB free" in shown
    assert "0.5/24GB" in shown
    assert "550.1" in shown
    assert "web/3" in shown
    assert "web/4" not in shown


def test_a_host_that_is_away_says_why(server: FakeApi, homeport: Homeport) -> None:
    assert "idle (unreachable): the connection broke" in homeport("fleet", "get", "gpu-2").stdout


def test_json_is_the_host_itself(server: FakeApi, homeport: Homeport) -> None:
    assert json.loads(homeport("fleet", "get", "gpu-1", "--json").stdout)["facts"]["gpus"][0]["uuid"] == "GPU-1"


def test_an_unknown_host_is_an_error_that_says_where_to_look(server: FakeApi, homeport: Homeport) -> None:
    done = homeport("fleet", "get", "nobody")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "homeport fleet list" in done.stderr


def test_a_drain_asks_or_is_told_not_to_and_says_what_was_done(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["Drain"] = api_pb2.DrainResponse(sentence="GPU GPU-1 of gpu-1 is drained: 1 replica moves")
    asked = homeport("fleet", "drain", "gpu-1", "--gpu", "GPU-1")
    assert asked.exit_code == 2, "nobody is there to ask"
    assert "-y" in asked.stderr
    assert logged_in.requests("Drain") == []
    done = homeport("fleet", "drain", "gpu-1", "--gpu", "GPU-1", "-y")
    assert done.stdout == "GPU GPU-1 of gpu-1 is drained: 1 replica moves\n"
    (request,) = logged_in.requests("Drain")
    assert (request.host, list(request.gpu_uuids)) == ("gpu-1", ["GPU-1"])


def test_an_undrain_needs_no_question(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["Undrain"] = api_pb2.DrainResponse(sentence="host gpu-1 is not drained")
    assert homeport("fleet", "undrain", "gpu-1").stdout == "host gpu-1 is not drained\n"
    assert list(logged_in.requests("Undrain")[0].gpu_uuids) == []


def hosts(*counts: int) -> list[api_pb2.ListHostsResponse]:
    return [api_pb2.ListHostsResponse(hosts=[api_pb2.Host(name="gpu-1", replicas=count)]) for count in counts]


def test_a_host_is_drained_waited_for_and_then_removed(server: FakeApi, homeport: Homeport) -> None:
    server.answers["Drain"] = api_pb2.DrainResponse(sentence="host gpu-1 is drained: 2 replicas move")
    server.answers["WatchHosts"] = hosts(2, 2, 1, 0)
    server.answers["DeleteHost"] = api_pb2.DeleteHostResponse(sentence="host gpu-1 is removed; it cleans itself now")
    done = homeport("fleet", "delete", "gpu-1", "-y")
    assert (done.exit_code, done.stdout) == (0, "host gpu-1 is removed; it cleans itself now\n")
    assert [line.partition(";")[0] for line in done.stderr.splitlines()] == [
        "host gpu-1 is drained: 2 replicas move",
        "2 replicas of gpu-1 still to move",
        "1 replica of gpu-1 still to move",
    ]
    (asked,) = server.requests("DeleteHost")
    assert (asked.host, asked.force) == ("gpu-1", False)


def test_forced_nothing_is_waited_for(server: FakeApi, homeport: Homeport) -> None:
    server.answers["DeleteHost"] = api_pb2.DeleteHostResponse(sentence="host gpu-1 is removed")
    assert homeport("fleet", "delete", "gpu-1", "--force", "-y").exit_code == 0
    assert (server.requests("Drain"), server.requests("DeleteHost")[0].force) == ([], True)


def test_nobody_to_ask_removes_nothing(server: FakeApi, homeport: Homeport) -> None:
    assert homeport("fleet", "delete", "gpu-1").exit_code == 2
    assert server.requests("DeleteHost") == []


def test_an_upgrade_waits_for_each_host_and_says_why_one_was_not(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["UpgradeHosts"] = api_pb2.UpgradeHostsResponse(
        build="new", hosts=["gpu-1", "gpu-2"], sentences=["gpu-3 has the agent new already"]
    )
    logged_in.answers["WatchHosts"] = [
        api_pb2.ListHostsResponse(
            hosts=[
                api_pb2.Host(name="gpu-1", build="new", connection="connected"),
                api_pb2.Host(name="gpu-2", build="old", connection="connected", upgrade_error="older: long ago"),
            ]
        ),
        api_pb2.ListHostsResponse(
            hosts=[api_pb2.Host(name="gpu-2", build="old", connection="connected", upgrade_error="new: no network")]
        ),
    ]
    done = homeport("fleet", "upgrade")
    assert done.exit_code == 1
    assert "gpu-3 has the agent new already" in done.stderr
    assert "gpu-1 has the agent new" in done.stderr
    assert "1 of 2 hosts were not upgraded and go on as they were" in done.stderr
    assert "gpu-2: no network" in done.stderr


def test_deleting_a_fleet_empties_and_removes_each_host_first(
    logged_in: FakeApi, homeport: Homeport, tmp_path: Path
) -> None:
    file = tmp_path / "lab.homeport.yml"
    file.write_text("type: fleet\nname: lab\n")
    logged_in.answers["ListHosts"] = api_pb2.ListHostsResponse(
        hosts=[api_pb2.Host(id="h1", name="gpu-1", replicas=2), api_pb2.Host(name="10.0.0.9", state="pending")]
    )
    logged_in.answers["Drain"] = api_pb2.DrainResponse(sentence="host gpu-1 is drained")
    logged_in.answers["WatchHosts"] = [api_pb2.ListHostsResponse(hosts=[api_pb2.Host(id="h1", name="gpu-1")])]
    logged_in.answers["DeleteHost"] = api_pb2.DeleteHostResponse(sentence="host gpu-1 is removed")
    logged_in.answers["DeleteFleet"] = api_pb2.DeleteFleetResponse(sentence="fleet lab is deleted")
    assert homeport("delete", "-f", str(file)).exit_code == 2, "nobody is there to ask"
    done = homeport("delete", "-f", str(file), "-y")
    assert (done.exit_code, done.stdout) == (0, "fleet lab is deleted\n")
    asked = [method for method, _ in logged_in.asked]
    assert asked[-4:] == ["Drain", "WatchHosts", "DeleteHost", "DeleteFleet"]
