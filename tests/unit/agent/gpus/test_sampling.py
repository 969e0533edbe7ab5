"""gpus/sampling: what is asked each time and what only now and then, by a clock of the test's own."""

import pytest
from rig.nvml.gpus import FakeGpus
from rig.nvml.inside import inside

LOOK = """
from homeport_agent.gpus.calls import DriverGone, GpuError
from homeport_agent.gpus.sampling import Driver, GpuSampler
now = [0.0]
sampler = GpuSampler(pynvml, 0, Driver("570.1", "12.8"), 5.0, lambda: now[0])
"""


def test_memory_is_asked_each_time_and_limits_each_few_seconds(gpus: FakeGpus) -> None:
    said = inside(
        gpus,
        LOOK
        + """
for now[0], used in ((0.0, 1), (4.9, 2), (5.0, 3)):
    gpus.set(gpu0__mem_used=used * 2**20, gpu0__power_limit=int(now[0] * 1000) + 1000, gpu0__compute_mode=used)
    look = sampler.look()
    said.append([look.readings[0].memory_used_mib, look.readings[0].power_limit_w, look.gpus[0].compute_mode])
""",
    )
    assert said == [[1, 1.0, "exclusive-thread"], [2, 1.0, "exclusive-thread"], [3, 6.0, "exclusive-process"]]


def test_reserved_memory_is_taken_too_and_an_old_driver_tells_it_as_used(gpus: FakeGpus) -> None:
    gpus.set(gpu0__mem_used=100 * 2**20, gpu0__mem_reserved=600 * 2**20)
    told = "said += [look.gpus[0].memory_used_mib, reading.memory_used_mib, reading.memory_reserved_mib]"
    code = f"{LOOK}look = sampler.look(); reading = look.readings[0]; {told}"
    assert inside(gpus, code) == [700, 100, 600]
    gpus.fail("MemoryInfo_v2", 13)
    assert inside(gpus, code) == [700, 700, None]


def test_a_gpu_that_is_cut_while_it_is_watched_gets_its_instances_at_the_next_slow_look(gpus: FakeGpus) -> None:
    said = inside(
        gpus,
        LOOK
        + """
gpus.set(gpu0__mig=0)  # it could be cut
said.append([it.uuid for it in sampler.look().gpus])
gpus.cut(0, 10240)
now[0] = 5.0
look = sampler.look()
said.append([[it.uuid, it.mig_parent, it.mig_enabled] for it in look.gpus])
said.append([it.utilisation for it in look.readings])
gpus.set(gpu0__mig=0)
now[0] = 10.0
said.append([it.uuid for it in sampler.look().gpus])
""",
    )
    whole, part = gpus.uuid(0), gpus.mig_uuid(0, 0)
    assert said == [[whole], [[whole, "", True], [part, whole, False]], [None, None], [whole]]


def test_a_fault_of_a_slow_call_is_told_with_each_sample_until_it_is_over(gpus: FakeGpus) -> None:
    said = inside(
        gpus,
        LOOK
        + """
gpus.set(error__EnforcedPowerLimit=999)
said.append([name for name, _ in sampler.look().readings[0].faults])
gpus.set(error__EnforcedPowerLimit=None)
said.append([name for name, _ in sampler.look().readings[0].faults])
now[0] = 5.0
said.append([name for name, _ in sampler.look().readings[0].faults])
""",
    )
    assert said == [["nvmlDeviceGetEnforcedPowerLimit"], ["nvmlDeviceGetEnforcedPowerLimit"], []]


@pytest.mark.parametrize(("code", "told"), [(999, "error"), (15, "lost")])
def test_a_gpu_whose_memory_cannot_be_read_has_no_sample(gpus: FakeGpus, code: int, told: str) -> None:
    said = inside(
        gpus,
        LOOK
        + f"""
sampler.look()
gpus.set(error__MemoryInfo={code})
try:
    sampler.look()
except GpuError as error:
    said += [error.kind]
""",
    )
    assert said == [told]
