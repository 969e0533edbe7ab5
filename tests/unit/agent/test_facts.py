import dataclasses

import pytest
from fakes.engine import FakeEngine
from homeport_agent.facts import FactsSampler, matters
from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Gpu, GpuProcess
from homeport_agent.model import HostFacts

GPU = Gpu("GPU-1", "NVIDIA A5000", 24564, 10)
FACTS = HostFacts("gpu-1", cpus=4, memory_mib=1000, memory_available_mib=900, disk_free_mib=5000, gpus=(GPU,))


class FakeGpus:
    def __init__(self) -> None:
        self.now = GpuSample((GPU,))

    async def sample(self) -> GpuSample:
        return self.now

    async def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, False),
        ({"memory_available_mib": 901}, False),
        ({"memory_available_mib": 100}, True),
        ({"disk_free_mib": 4999}, False),
        ({"disk_free_mib": 3000}, True),
        ({"docker_unavailable": "it is down"}, True),
        ({"gpus": ()}, True),
        ({"gpus": (dataclasses.replace(GPU, memory_used_mib=11),)}, False),
        ({"gpus": (dataclasses.replace(GPU, memory_used_mib=9000),)}, True),
        ({"gpus": (), "gpus_unavailable": "no driver"}, True),
        ({"images": ("busybox:1",)}, True),
        ({"gpus": (dataclasses.replace(GPU, processes=(GpuProcess(7, "python3", 5),)),)}, True),
        ({"gpus": (dataclasses.replace(GPU, mig_enabled=True),)}, True),
    ],
)
def test_only_what_matters_is_told_at_once(values: dict[str, object], expected: bool) -> None:
    assert matters(FACTS, dataclasses.replace(FACTS, **values)) is expected  # type: ignore[arg-type]


async def test_a_sample_says_what_this_machine_is() -> None:
    told: list[int] = []
    sampler = FactsSampler(FakeEngine(set(), {}), FakeGpus(), "gpu-1", lambda: told.append(1))
    await sampler.sample()
    facts = sampler.facts
    assert (facts.hostname, facts.docker_version, facts.docker_unavailable) == ("gpu-1", "0.0-fake", "")
    assert facts.cpus >= 1
    assert facts.memory_mib > facts.memory_available_mib > 0
    assert facts.disk_total_mib > facts.disk_free_mib > 0
    assert facts.kernel
    assert facts.architecture
    assert facts.gpus == (GPU,)
    assert told == [1]


async def test_a_docker_that_is_down_is_a_fact_with_its_reason() -> None:
    engine = FakeEngine(set(), {})
    engine.go_down()
    sampler = FactsSampler(engine, FakeGpus(), "gpu-1", lambda: None)
    await sampler.sample()
    assert sampler.facts.docker_version == ""
    assert "Docker does not answer" in sampler.facts.docker_unavailable


async def test_a_docker_that_hangs_does_not_keep_the_agent_from_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeport_agent.facts.FIRST_INFO_S", 0.05)
    engine = FakeEngine(set(), {})
    sampler = FactsSampler(engine, FakeGpus(), "gpu-1", lambda: None)
    with engine.hold("info"):
        await sampler.sample()
    assert sampler.facts.docker_unavailable == "Docker did not answer within 0.05 s"
    assert sampler.facts.gpus == (GPU,)


async def test_gpus_are_sampled_each_time_and_told_when_it_matters() -> None:
    told: list[int] = []
    gpus = FakeGpus()
    sampler = FactsSampler(FakeEngine(set(), {}), gpus, "gpu-1", lambda: told.append(1))
    await sampler.sample()
    gpus.now = GpuSample((dataclasses.replace(GPU, memory_used_mib=20000),))
    await sampler.sample()
    assert sampler.facts.gpus[0].memory_used_mib == 20000
    assert len(told) == 2
    await sampler.sample()
    assert len(told) == 2


def test_a_process_that_grows_is_told_in_steps() -> None:
    def held(mib: int) -> HostFacts:
        return dataclasses.replace(FACTS, gpus=(dataclasses.replace(GPU, processes=(GpuProcess(7, "python3", mib),)),))

    assert not matters(held(1000), held(1060))
    assert matters(held(1000), held(1064))
