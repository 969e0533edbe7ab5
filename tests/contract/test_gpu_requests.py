"""GPUs asked of real Docker engines: one with a stand-in of NVIDIA's hook, and one without any NVIDIA support."""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from homeport_agent.engine.base import LABEL_REPLICA, LABEL_SERVER, ContainerSpec, GpuRefused
from homeport_agent.engine.docker import DockerEngine
from homeport_agent.preflight import container
from rig.gpu_docker import GpuDocker, gpu_docker

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.environ.get("HOMEPORT_TEST_NO_DOCKER") == "1", reason="HOMEPORT_TEST_NO_DOCKER=1"),
]

GPU, MIG = "GPU-00000000-0000-4000-8000-000000000000", "MIG-00000000-0000-4000-8000-000000000001"
IMAGE = "homeport-test/busybox:1"
BUILD = Path(__file__).parents[1] / "rig" / "images" / "build.py"


@pytest.fixture(scope="module")
def rig() -> Iterator[GpuDocker]:
    subprocess.run([sys.executable, str(BUILD)], check=True, timeout=120)
    saved = subprocess.run(["/usr/bin/docker", "save", IMAGE], check=True, capture_output=True, timeout=60).stdout
    with gpu_docker(GPU, MIG) as made:
        made.docker("load", data=saved)
        yield made


@pytest.fixture
async def engine(rig: GpuDocker) -> AsyncIterator[DockerEngine]:
    rig.break_driver("")
    made = DockerEngine(rig.socket)
    yield made
    for left in await made.list(()):
        await made.remove(left.id)
    await made.close()


def spec(*gpus: str, env: tuple[tuple[str, str], ...] = ()) -> ContainerSpec:
    name = f"homeport-gpu-{uuid.uuid4().hex[:8]}"
    labels = ((LABEL_SERVER, "gpu-requests"), (LABEL_REPLICA, name))
    command = ("sh", "-c", "exec sleep 60")
    return ContainerSpec(name, labels, IMAGE, command=command, gpu_uuids=gpus, env=env)


def environment(rig: GpuDocker, name: str) -> list[str]:
    said = rig.docker("exec", name, "sh", "-c", "tr '\\0' '\\n' </proc/1/environ")
    return sorted(line for line in said.splitlines() if line.startswith(("NVIDIA_", "HOMEPORT_")))


async def test_a_container_gets_exactly_its_gpus_by_uuid(engine: DockerEngine, rig: GpuDocker) -> None:
    both = spec(GPU, MIG, env=(("HOMEPORT_GPUS", f"{GPU},{MIG}"), ("NVIDIA_VISIBLE_DEVICES", "all")))
    await engine.start(await engine.create(both))
    assert rig.given()[-1] == f"{GPU},{MIG}"
    said = set(await asyncio.to_thread(environment, rig, both.name))
    assert said == {f"HOMEPORT_GPUS={GPU},{MIG}", f"NVIDIA_VISIBLE_DEVICES={GPU},{MIG}"}


async def test_a_container_without_gpus_gets_none_whatever_its_file_says(engine: DockerEngine, rig: GpuDocker) -> None:
    before, none = rig.given(), spec(env=(("NVIDIA_VISIBLE_DEVICES", "all"),))
    await engine.start(await engine.create(none))
    assert rig.given() == before
    assert await asyncio.to_thread(environment, rig, none.name) == ["NVIDIA_VISIBLE_DEVICES=void"]


async def test_two_that_share_a_gpu_are_each_given_it_and_nothing_else(engine: DockerEngine, rig: GpuDocker) -> None:
    first, second = spec(GPU), spec(GPU)
    for one in (first, second):
        await engine.start(await engine.create(one))
        assert await asyncio.to_thread(environment, rig, one.name) == [f"NVIDIA_VISIBLE_DEVICES={GPU}"]
    assert rig.given()[-2:] == [GPU, GPU]


@pytest.mark.parametrize(
    ("gpu", "broken", "says"),
    [
        ("GPU-nope", "", "GPU-nope is not there any more, says NVIDIA's container tool"),
        (GPU, "initialization error: nvml error: driver/library version mismatch", "reboot this host"),
        (GPU, "detection error: nvml error: gpu is lost", "gpu is lost"),
    ],
)
async def test_what_the_hook_refuses_is_the_hosts_fault(
    engine: DockerEngine, rig: GpuDocker, gpu: str, broken: str, says: str
) -> None:
    rig.break_driver(broken)
    made = await engine.create(spec(gpu))
    with pytest.raises(GpuRefused, match=says):
        await engine.start(made)
    shown = await engine.inspect(made)
    assert shown is not None
    assert not shown.was_started


async def test_the_trial_tells_a_gpu_that_is_given_from_one_that_is_not(engine: DockerEngine, rig: GpuDocker) -> None:
    assert await container.refusal(rig.socket, GPU) == ""
    assert rig.given()[-1] == GPU
    assert "not there any more" in await container.refusal(rig.socket, "GPU-nope")
    left = rig.docker("images", "-q", "--filter", "reference=homeport-doctor-*") + rig.docker("ps", "-aq")
    assert left.strip() == ""


async def test_a_docker_without_nvidia_support_says_what_to_install() -> None:
    with gpu_docker(has_hook=False) as bare:
        said = await container.refusal(bare.socket, GPU)
    assert said == "Docker has no NVIDIA support: install nvidia-container-toolkit and restart docker"
