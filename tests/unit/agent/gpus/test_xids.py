"""gpus/xids: what the driver tells unasked, from NVML and from the kernel's log, once."""

from pathlib import Path

import pytest
from homeport_agent.gpus.kernel_log import KernelLog
from homeport_agent.gpus.xids import XidListener
from rig.nvml.gpus import FakeGpus
from rig.nvml.inside import inside

LINE = "4,1,2,-;NVRM: Xid (PCI:0000:17:00): 79, GPU has fallen off the bus.\n"
LISTEN = """
import asyncio
from pathlib import Path
from homeport_agent.gpus.kernel_log import KernelLog
from homeport_agent.gpus.xids import XidListener
log = Path(os.environ["FAKE_NVML"]).with_suffix(".kmsg")
log.write_text("")
uuids = [pynvml.nvmlDeviceGetUUID(it) for it in handles]
buses = {pynvml.nvmlDeviceGetPciInfo(it).busId: uuid for it, uuid in zip(handles, uuids)}
listener = XidListener(KernelLog(log))
wanted = (1, tuple(enumerate(uuids)))
def wait(nvml=pynvml, wanted=wanted):
    return [[it.gpu_uuid, it.xid, bool(it.detail)] for it in asyncio.run(listener.wait(nvml, wanted, buses))]
"""


def write(log: Path) -> None:
    log.write_text(LINE)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "kmsg"
    file.write_text("")
    return file


async def test_without_a_driver_the_kernels_log_is_read_all_the_same(log: Path) -> None:
    listener = XidListener(KernelLog(log))
    write(log)
    (event,) = await listener.wait(None, (0, ()), {"00000000:17:00.0": "GPU-1"})
    assert (event.gpu_uuid, event.xid, "fallen off" in event.detail) == ("GPU-1", 79, True)
    listener.close()


async def test_a_device_that_is_none_of_ours_is_told_without_a_name(log: Path) -> None:
    listener = XidListener(KernelLog(log))
    write(log)
    assert [it.gpu_uuid for it in await listener.wait(None, (0, ()), {"0000:18:00.0": "GPU-1"})] == [""]
    listener.close()


def test_one_xid_from_two_sources_is_one(gpus: FakeGpus) -> None:
    gpus.set(gpu1__bus="0000:17:00.0")
    said = inside(
        gpus,
        LISTEN
        + f"""
wait()
gpus.xid(1, 79)
log.write_text({LINE!r})
told = wait() + wait()
said += [told, wait()]
""",
    )
    assert said == [[[gpus.uuid(1), 79, False]], []]


def test_gpus_without_events_are_left_out_and_the_others_are_heard(gpus: FakeGpus) -> None:
    gpus.set(gpu0__events=-3)
    said = inside(gpus, LISTEN + "wait(); gpus.xid(0, 48); gpus.xid(1, 63); said += wait() + wait()")
    assert said == [[gpus.uuid(1), 63, False]]


def test_after_the_driver_was_loaded_anew_it_is_heard_again(gpus: FakeGpus) -> None:
    said = inside(
        gpus,
        LISTEN
        + """
wait()
gpus.reload()
wait()
pynvml.nvmlInit()
again = (2, wanted[1])
wait(wanted=again)
gpus.xid(0, 31)
said += wait(wanted=again) + wait(wanted=again)
""",
    )
    assert said == [[gpus.uuid(0), 31, False]]
