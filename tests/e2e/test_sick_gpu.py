"""A GPU falls off the bus, or its driver tells an XID, while a client calls all the time: the replica moves to the host's
other GPU and no request fails.

Each test has a host of its own, for a sick GPU stays sick for minutes. What is said of it where, and by which commands it
comes back, is told here too.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rig.nvml.gpus import FakeGpus, compile_library
from rig.stack import ENGINE, Stack, engine, stack, wait_for
from rig.traffic import Traffic

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

WEB = """
type: service
name: web
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
stop_duration: 20s
resources:
  gpu: 1
"""
ENOUGH = 40  # requests before and after


@pytest.fixture
def gpus(tmp_path_factory: pytest.TempPathFactory) -> FakeGpus:
    if not (ENGINE / "bin" / "nvidia-container-runtime-hook").exists():
        pytest.skip("the engine was not started by tests/rig/docker.sh: it gives no GPUs")
    folder = tmp_path_factory.mktemp("gpus")
    compile_library(folder)
    return FakeGpus(folder, count=2, batch=secrets.randbits(32))


@pytest.fixture
def homeport(images: None, gpus: FakeGpus) -> Iterator[Stack]:
    with stack(gpus=gpus) as made:
        yield made


def gpus_of_containers(homeport: Stack) -> list[str]:
    with engine() as client:
        found = [client.api.inspect_container(it.id) for it in homeport.containers("web", everything=False)]
    return [uuid for it in found for request in it["HostConfig"]["DeviceRequests"] for uuid in request["DeviceIDs"]]


def findings(homeport: Stack) -> dict[str, str]:
    """Code to GPU."""
    return {it["code"]: it.get("gpu_uuid", "") for it in homeport.hosts()[0].get("findings", [])}


def more_of(traffic: Traffic, count: int = ENOUGH) -> None:
    reached = traffic.total + count
    wait_for(f"{count} more requests", lambda: traffic.total >= reached)


def events(homeport: Stack) -> list[dict[str, Any]]:
    done = homeport.homeport("event", "--json")
    assert done.returncode == 0, done.stderr
    told: list[dict[str, Any]] = json.loads(done.stdout)["events"]
    return told


@pytest.mark.parametrize(
    ("sicken", "codes"),
    [
        (lambda gpus, index: gpus.lose(index), {"gpu-lost", "gpu-missing"}),
        (lambda gpus, index: gpus.xid(index, 79), {"xid-79"}),
    ],
    ids=["it falls off the bus", "the driver tells XID 79"],
)
def test_a_replica_moves_off_a_sick_gpu_and_no_request_fails(
    homeport: Stack, gpus: FakeGpus, sicken: Callable[[FakeGpus, int], None], codes: set[str]
) -> None:
    done = homeport.apply(WEB)
    assert done.returncode == 0, done.stderr
    (first,) = gpus_of_containers(homeport)
    index = 0 if first == gpus.uuid(0) else 1
    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        more_of(traffic)
        sicken(gpus, index)
        wait_for("the finding is told", lambda: first in {findings(homeport).get(code) for code in codes}, 10)
        wait_for("the replica has moved", lambda: gpus_of_containers(homeport) == [gpus.uuid(1 - index)])
        more_of(traffic)
    assert traffic.failures == []
    assert len(traffic.answers) == 2, "the one replica answered, then the other"
    host = homeport.hosts()[0]
    assert host["health"] == "failing"
    assert {it["uuid"]: it.get("health", "healthy") for it in host["gpus"]} == {
        first: "failing", gpus.uuid(1 - index): "healthy",
    }  # fmt: skip
    run = homeport.run("web")
    assert run["state"] == "running"

    told = "\n".join(it["sentence"] for it in events(homeport))
    assert f"must leave test-host (GPU {first[4:8]} is failing: " in told
    (found,) = {it["cause_id"] for it in events(homeport) if "must leave test-host" in it["sentence"]}
    story = [it["sentence"] for it in events(homeport) if it["cause_id"] == found]
    assert story[0].startswith(f"GPU {first} "), "it begins with the finding"
    assert any("is placed on test-host" in it for it in story), "the replacement belongs to it"


def test_without_another_gpu_it_goes_on_where_it_is_and_says_why_until_the_admin_says_it_is_well(
    homeport: Stack, gpus: FakeGpus
) -> None:
    done = homeport.apply(WEB.replace("gpu: 1", "gpu: 2"))
    assert done.returncode == 0, done.stderr
    before = {container.id for container in homeport.containers("web")}
    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        more_of(traffic)
        gpus.xid(0, 79)
        why = f"replica 0 must leave test-host (GPU {gpus.uuid(0)[4:8]} is failing: "
        wait_for("the run says why", lambda: why in homeport.run("web").get("reason", ""), 10)
        wait_for("and why it does not", lambda: "0 of 1 host fit" in homeport.run("web")["reason"], 10)
        more_of(traffic)
        assert homeport.run("web")["state"] == "running"
        assert {container.id for container in homeport.containers("web")} == before

        done = homeport.homeport("fleet", "undrain", "test-host", "--gpu", gpus.uuid(0))
        assert done.returncode == 0, done.stderr
        wait_for("nothing is found any more", lambda: "xid-79" not in findings(homeport), 10)
        wait_for("nothing must leave", lambda: "must leave" not in homeport.run("web").get("reason", ""), 10)
        more_of(traffic)
    assert traffic.failures == []
    assert {container.id for container in homeport.containers("web")} == before


def test_a_drained_gpu_is_left_too(homeport: Stack, gpus: FakeGpus) -> None:
    assert homeport.apply(WEB).returncode == 0
    (first,) = gpus_of_containers(homeport)
    other = gpus.uuid(1) if first == gpus.uuid(0) else gpus.uuid(0)
    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        more_of(traffic)
        done = homeport.homeport("fleet", "drain", "test-host", "--gpu", first, "-y")
        assert done.returncode == 0, done.stderr
        wait_for("the replica has moved", lambda: gpus_of_containers(homeport) == [other])
        more_of(traffic)
    assert traffic.failures == []
    assert homeport.homeport("fleet", "undrain", "test-host", "--gpu", first).returncode == 0
    assert gpus_of_containers(homeport) == [other], "it does not move back by itself"
