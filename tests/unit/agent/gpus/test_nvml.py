"""The real sampler with NVIDIA's own Python binding, over a library that answers as the driver does."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.nvml.gpus import FakeGpus, compile_library
from rig.stack import wait_for

SAMPLER = Path(__file__).parents[3] / "rig" / "nvml" / "sample.py"


class Sampler:
    """The sampler's process: one sample each time it is asked."""

    def __init__(self, environment: dict[str, str]) -> None:
        command = [sys.executable, "-P", str(SAMPLER)]
        self._child = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def sample(self, what: str = "") -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(f"{what}\n")
        self._child.stdin.flush()
        answer: dict[str, Any] = json.loads(self._child.stdout.readline())
        return answer

    def end(self) -> dict[str, Any]:
        out, _ = self._child.communicate(timeout=30)
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        return answer


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def gpus(library: Path) -> FakeGpus:
    return FakeGpus(library.parent)


@pytest.fixture
def sampler(gpus: FakeGpus) -> Iterator[Sampler]:
    made = Sampler(gpus.environment())
    yield made
    made.end()


def test_every_gpu_is_named_by_its_uuid_with_its_memory(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(gpu1__mem_used=3 * 2**30 + 1)
    sample = sampler.sample()
    assert sample["unavailable"] == ""
    assert [gpu["uuid"] for gpu in sample["gpus"]] == [gpus.uuid(0), gpus.uuid(1)]
    assert sample["gpus"][1] == {
        "uuid": gpus.uuid(1),
        "name": "NVIDIA H100 80GB HBM3",
        "memory_total_mib": 81920,
        "memory_used_mib": 3073,
        "driver_version": "570.86.15",
        "cuda_version": "12.8",
        "compute_capability": "9.0",
    }


def test_memory_is_followed_from_sample_to_sample(gpus: FakeGpus, sampler: Sampler) -> None:
    assert sampler.sample()["gpus"][0]["memory_used_mib"] == 0
    gpus.set(gpu0__mem_used=2**30)
    assert sampler.sample()["gpus"][0]["memory_used_mib"] == 1024


def test_a_lost_gpu_is_left_out_and_told_while_the_others_stay(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(gpu0__lost=1)
    sample = sampler.sample()
    assert [gpu["uuid"] for gpu in sample["gpus"]] == [gpus.uuid(1)]
    assert sample["unavailable"] == "1 of 2 GPUs do not answer: GPU is lost"


def test_a_driver_that_does_not_load_says_so(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(error__Init=9)
    assert sampler.sample() == {"gpus": [], "unavailable": "the NVIDIA driver does not work: Driver Not Loaded"}


def test_a_driver_without_gpus_says_so(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(count=0)
    assert sampler.sample()["unavailable"] == "the NVIDIA driver finds no GPU"


def test_a_driver_that_hangs_is_told_and_seen_again_when_it_answers(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(delay__Count=1500)
    for _ in range(2):
        assert "does not answer (NVML hangs" in sampler.sample()["unavailable"]
    gpus.set(delay__Count=None)
    wait_for("the call that hung comes back", lambda: sampler.sample()["gpus"], 10)


def test_a_library_that_fails_later_is_begun_anew(gpus: FakeGpus, sampler: Sampler) -> None:
    assert len(sampler.sample()["gpus"]) == 2
    gpus.set(error__Count=1)
    assert sampler.sample()["unavailable"] == "NVML failed: Uninitialized"
    gpus.set(error__Count=None)
    assert len(sampler.sample()["gpus"]) == 2


def test_without_a_driver_the_reason_is_told_and_the_binding_is_not_even_loaded(tmp_path: Path) -> None:
    # A file that is no library hides the real driver of a machine that has one.
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    sampler = Sampler({**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    assert sampler.sample() == {"gpus": [], "unavailable": "no NVIDIA driver: libnvidia-ml.so.1 not found"}
    assert sampler.end() == {"loaded": False}


def test_the_usage_names_memory_and_how_busy_each_gpu_is(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(gpu1__mem_used=3 * 2**30 + 1, gpu1__busy=37)
    idle, busy = sampler.sample("usage")["gpus"]
    assert (idle["utilisation"], idle["memory_used_mib"]) == (0.0, 0)
    expected = {"uuid": gpus.uuid(1), "memory_used_mib": 3073, "memory_total_mib": 81920, "utilisation": 0.37}
    assert busy == expected


def test_a_gpu_that_does_not_count_its_use_has_its_memory_all_the_same(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(error__UtilizationRates=3)
    assert [it["utilisation"] for it in sampler.sample("usage")["gpus"]] == [None, None]
    gpus.set(gpu0__lost=1)
    assert [it["uuid"] for it in sampler.sample("usage")["gpus"]] == [gpus.uuid(1)]


def test_the_usage_of_a_driver_that_hangs_or_fails_is_nothing(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(error__Count=999)
    assert sampler.sample("usage")["gpus"] == []
    gpus.set(error__Count=None, delay__Count=1500)
    assert sampler.sample("usage")["gpus"] == []
    assert "hangs" in sampler.sample()["unavailable"]
