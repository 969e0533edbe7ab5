"""GPUs end to end: which ones a container gets, in its own words and in the engine's, and why some are not to be had.

The agent loads a fake libnvidia-ml by the real pynvml; the real engine carries the device requests out, with a stand-in of
NVIDIA's hook (rig/nvidia_hook.py). The tests of this module share one host of two GPUs.
"""

import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from rig.nvml.gpus import FakeGpus, compile_library
from rig.stack import ENGINE, Stack, engine, stack, wait_for
from rig.traffic import get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

SERVICE = """
type: service
name: %s
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
replicas: %d
stop_duration: 5s
resources:
  gpu: %s
"""


@pytest.fixture(scope="module")
def gpus(tmp_path_factory: pytest.TempPathFactory) -> FakeGpus:
    if not (ENGINE / "bin" / "nvidia-container-runtime-hook").exists():
        pytest.skip("the engine was not started by tests/rig/docker.sh: it gives no GPUs")
    folder = tmp_path_factory.mktemp("gpus")
    compile_library(folder)
    return FakeGpus(folder, count=2, memory_mib=81920, batch=secrets.randbits(32))


@pytest.fixture(scope="module")
def homeport(images: None, gpus: FakeGpus) -> Iterator[Stack]:
    with stack(gpus=gpus) as made:
        yield made


@pytest.fixture(autouse=True)
def emptied(homeport: Stack) -> Iterator[None]:
    yield
    names = [run["name"] for run in homeport.runs()]
    if names:
        homeport.homeport("stop", *names, "-y", "-x", timeout_s=60)
    wait_for("the containers are gone", lambda: not homeport.containers())


def applied(homeport: Stack, name: str, replicas: int, gpu: str) -> None:
    done = homeport.apply(SERVICE % (name, replicas, gpu))
    assert done.returncode == 0, done.stderr


def requested(homeport: Stack, container: Any) -> list[str]:
    """The GPUs in the engine's own words."""
    with engine() as client:
        details = client.api.inspect_container(container.id)
    requests = details["HostConfig"]["DeviceRequests"] or []
    assert all(it["Driver"] == "nvidia" and it["Count"] == 0 for it in requests)
    return [uuid for it in requests for uuid in it["DeviceIDs"]]


def told(homeport: Stack, name: str, variable: str) -> str:
    status, _, body = get(homeport.gateway_port, name, f"/env?name={variable}", homeport.token)
    return body.decode() if status == 200 else f"status {status}"


def test_a_container_gets_exactly_its_gpu_by_uuid(homeport: Stack, gpus: FakeGpus) -> None:
    applied(homeport, "solo", 1, "1")
    (container,) = homeport.containers("solo")
    (uuid,) = requested(homeport, container)
    assert uuid in {gpus.uuid(0), gpus.uuid(1)}
    assert homeport.given_gpus()[container.id] == uuid
    for variable in ("NVIDIA_VISIBLE_DEVICES", "HOMEPORT_GPUS"):
        assert told(homeport, "solo", variable) == uuid


def test_two_gpus_and_none_are_what_was_asked(homeport: Stack, gpus: FakeGpus) -> None:
    applied(homeport, "pair", 1, "2")
    (container,) = homeport.containers("pair")
    both = {gpus.uuid(0), gpus.uuid(1)}
    assert set(requested(homeport, container)) == both
    assert set(homeport.given_gpus()[container.id].split(",")) == both
    assert told(homeport, "pair", "HOMEPORT_GPUS") == told(homeport, "pair", "NVIDIA_VISIBLE_DEVICES")
    done = homeport.apply((SERVICE % ("plain", 1, "1")).partition("resources")[0])
    assert done.returncode == 0, done.stderr
    (container,) = homeport.containers("plain")
    assert requested(homeport, container) == []
    assert container.id not in homeport.given_gpus()
    assert told(homeport, "plain", "NVIDIA_VISIBLE_DEVICES") == "void"


def test_two_replicas_get_one_gpu_each_and_a_third_is_told_who_has_them(homeport: Stack, gpus: FakeGpus) -> None:
    applied(homeport, "each", 2, "1")
    found = [requested(homeport, container) for container in homeport.containers("each")]
    assert sorted(found) == sorted([[gpus.uuid(0)], [gpus.uuid(1)]])
    refused = homeport.homeport("offer", "--gpu", "1")
    assert "a replica of each holds it" in refused.stdout + refused.stderr


def test_two_shared_replicas_live_on_one_gpu(homeport: Stack, gpus: FakeGpus) -> None:
    applied(homeport, "part", 2, "{memory: 24GB, shared: true}")
    found = [requested(homeport, container) for container in homeport.containers("part")]
    assert len(found) == 2
    assert found[0] == found[1], "they are packed"
    assert len(found[0]) == 1
    applied(homeport, "whole", 1, "1")
    (container,) = homeport.containers("whole")
    assert requested(homeport, container) != found[0], "one that wants a GPU for itself gets the other"


def test_one_that_takes_more_than_it_reserved_is_told_everywhere_and_its_peak_is_kept(
    homeport: Stack, gpus: FakeGpus
) -> None:
    applied(homeport, "greedy", 1, "{memory: 24GB, shared: true}")
    (container,) = homeport.containers("greedy")
    index = 0 if requested(homeport, container) == [gpus.uuid(0)] else 1
    with engine() as client:
        pid = client.api.inspect_container(container.id)["State"]["Pid"]
    try:
        gpus.hold(index, pid, 30 * 1024)
        gpus.set(**{f"gpu{index}__mem_used": 30 * 2**30})

        def shown(*command: str) -> str:
            return " ".join(homeport.homeport(*command).stdout.split())

        wait_for("ps tells", lambda: "holds 30GB of GPU memory, it reserved 24GB" in shown("ps", "-v"), 15)
        over = "replica 0 of greedy holds 30GB, it reserved 24GB"
        wait_for("its host tells", lambda: over in shown("fleet", "list"), 10)
        assert over in shown("event")
        wait_for("the peak is kept", lambda: "reserved 24GB, peak 30GB" in shown("ps", "-v"), 10)
        assert "reserved 24GB, peak 30GB; it holds more than it reserved" in shown("metrics", "greedy")
        assert f"{pid} " in shown("fleet", "get", "test-host")
        assert "greedy/0 (24GB shared)" in shown("top")
    finally:
        gpus.release(index)
        gpus.set(**{f"gpu{index}__mem_used": 0})
    wait_for("it is over", lambda: over not in shown("fleet", "list"), 15)
    assert "peak 30GB" in shown("ps", "-v")


def test_what_the_host_refuses_is_made_anew_and_fails_nothing_not_even_a_first_deployment(
    homeport: Stack, gpus: FakeGpus
) -> None:
    homeport.hide_gpus()
    try:
        assert homeport.apply(SERVICE % ("denied", 1, "1") + "retry: false\n", "-d").returncode == 0
        wait_for("the reason is told", lambda: "is not there any more" in homeport.run("denied").get("reason", ""), 15)
        seen: set[str] = set()

        def again() -> bool:
            seen.update(it["id"] for it in homeport.run("denied").get("replicas", []))
            return len(seen) >= 2

        wait_for("another one is made", again, 15)
        assert homeport.run("denied")["state"] in {"submitted", "provisioning"}
    finally:
        homeport.show_gpus()
    wait_for("it runs", lambda: homeport.run("denied")["state"] == "running")


def test_a_gpu_that_a_stranger_uses_is_given_to_nobody_and_the_reason_names_him(
    homeport: Stack, gpus: FakeGpus
) -> None:
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            gpus.hold(0, stranger.pid, 13_000)
            gpus.set(gpu0__mem_used=13_000 * 2**20)
            want = f"pid {stranger.pid} sleep holds 12.7GB"

            def offered() -> str:
                done = homeport.homeport("offer", "--gpu", "2")
                return done.stdout + done.stderr

            wait_for("the stranger is named", lambda: want in " ".join(offered().split()), 10)
            applied(homeport, "beside", 1, "1")
            (container,) = homeport.containers("beside")
            assert requested(homeport, container) == [gpus.uuid(1)]
            denied = homeport.apply(SERVICE % ("both", 1, "2"), "-d")
            assert want in " ".join((denied.stdout + denied.stderr).split())
        finally:
            stranger.kill()
            gpus.release(0)
            gpus.set(gpu0__mem_used=0)
