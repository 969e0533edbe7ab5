"""The real check in its own process, over a libcuda that answers as the driver does. See also rig/cuda."""

import asyncio
import os
import time
from pathlib import Path

import pytest
from homeport_agent.gpus.model import Gpu, GpuProcess
from homeport_agent.health.check import CudaCheck
from homeport_agent.health.model import Verdict
from rig.cuda.library import compile_library
from rig.nvml.gpus import FakeGpus
from rig.stack import wait_for

LIMIT_S = 20.0


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("cuda"))


@pytest.fixture
def gpus(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGpus:
    made = FakeGpus(tmp_path, count=2)
    # The child inherits them, and its dynamic linker reads them at its start.
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library.parent))
    monkeypatch.setenv("FAKE_NVML", str(made.path))
    return made


def gpu(index: int = 1, **more: object) -> Gpu:
    return Gpu(f"GPU-00000000-0000-4000-8000-{index:012d}", "H100", 81920, 0, **more)  # type: ignore[arg-type]


async def test_a_gpu_that_computes_right_passes(gpus: FakeGpus) -> None:
    outcome = await CudaCheck(LIMIT_S)(gpu())
    assert (outcome.verdict, outcome.sentence) == (Verdict.PASSED, "it opened a context and computed 262144 sums")


@pytest.mark.parametrize(
    ("state", "verdict", "sentence"),
    [
        ({"error__cuCtxCreate_v2": 999}, Verdict.FAILED, "cuCtxCreate_v2 failed: CUDA_ERROR_UNKNOWN (999)"),
        ({"error__cuCtxSynchronize": 719}, Verdict.FAILED, "cuCtxSynchronize failed: CUDA_ERROR_LAUNCH_FAILED (719)"),
        ({"error__cuInit": 803}, Verdict.FAILED, "cuInit failed: unknown error (803)"),
        ({"gpu1__lost": 1}, Verdict.FAILED, "cuInit failed: CUDA_ERROR_NO_DEVICE (100)"),
        ({"cuda__wrong": 2}, Verdict.FAILED, "2 of 262144 sums are wrong"),
        ({"cuda__crash": 1}, Verdict.FAILED, "the check ended by signal 6: it said nothing"),
        ({"error__cuMemAlloc_v2": 2}, Verdict.UNABLE, "cuMemAlloc_v2 failed: CUDA_ERROR_OUT_OF_MEMORY (2)"),
        ({"error__cuCtxCreate_v2": 46}, Verdict.UNABLE, "cuCtxCreate_v2 failed: CUDA_ERROR_DEVICE_UNAVAILABLE (46)"),
    ],
)
async def test_what_cuda_answers_is_the_verdict(
    gpus: FakeGpus, state: dict[str, int], verdict: Verdict, sentence: str
) -> None:
    gpus.set(**state)
    outcome = await CudaCheck(LIMIT_S)(gpu())
    assert (outcome.verdict, outcome.sentence) == (verdict, sentence)


async def test_a_sick_neighbour_does_not_speak_in_the_check(gpus: FakeGpus) -> None:
    gpus.set(gpu0__lost=1)
    assert (await CudaCheck(LIMIT_S)(gpu(1))).verdict is Verdict.PASSED


async def test_a_check_that_hangs_is_killed_and_failed(gpus: FakeGpus) -> None:
    gpus.set(delay__cuCtxCreate_v2=60_000)
    began_s = time.monotonic()
    outcome = await CudaCheck(0.5)(gpu())
    assert (outcome.verdict, outcome.sentence) == (
        Verdict.FAILED,
        "opening a context and computing took more than 0.5 s",
    )
    assert time.monotonic() - began_s < 10
    assert not checks_that_run(), "nothing of it is left"


async def test_a_check_that_is_given_up_is_killed(gpus: FakeGpus) -> None:
    gpus.set(delay__cuCtxCreate_v2=60_000)
    check = asyncio.create_task(CudaCheck(LIMIT_S)(gpu()))
    await asyncio.to_thread(wait_for, "the check to begin", checks_that_run, LIMIT_S)
    check.cancel()
    with pytest.raises(asyncio.CancelledError):
        await check
    assert not checks_that_run()


async def test_without_cuda_it_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    outcome = await CudaCheck(LIMIT_S)(gpu())
    if outcome.verdict is not Verdict.UNABLE:
        pytest.skip("this machine has a libcuda of its own")
    assert outcome.sentence == "libcuda.so.1 is not on this host"


async def test_a_gpu_that_somebody_has_for_himself_is_left_alone(gpus: FakeGpus) -> None:
    busy = gpu(compute_mode="exclusive-process", processes=(GpuProcess(77, "python3"),))
    outcome = await CudaCheck(LIMIT_S)(busy)
    assert (outcome.verdict, outcome.sentence) == (Verdict.UNABLE, "process 77 has it for itself (compute mode)")
    free = gpu(compute_mode="exclusive-process")
    assert (await CudaCheck(LIMIT_S)(free)).verdict is Verdict.PASSED


async def test_a_gpu_that_is_cut_into_instances_cannot_be_checked(gpus: FakeGpus) -> None:
    assert (await CudaCheck(LIMIT_S)(gpu(mig_enabled=True))).verdict is Verdict.UNABLE


def checks_that_run() -> list[int]:
    """Of this process."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if b"homeport_agent.health.cuda_check" in words and parent == os.getpid():
            found.append(int(pid))
    return found
