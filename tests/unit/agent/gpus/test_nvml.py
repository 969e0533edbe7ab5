"""The real sampler with NVIDIA's own Python binding, over a library that answers as the driver does."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.nvml.gpus import FakeGpus
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


@pytest.fixture
def sampler(gpus: FakeGpus) -> Iterator[Sampler]:
    made = Sampler(gpus.environment())
    yield made
    made.end()


def test_every_gpu_is_named_by_its_uuid_with_what_it_is(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(gpu1__mem_used=3 * 2**30 + 1, gpu0__compute_mode=3, gpu0__persistence=0, gpu1__bus="0000:9a:00.0")
    sample = sampler.sample()
    assert (sample["unavailable"], sample["troubles"], sample["driver_trouble"]) == ("", [], "")
    first, second = sample["gpus"]
    assert (first["uuid"], first["compute_mode"], first["persistence_mode"]) == (
        gpus.uuid(0),
        "exclusive-process",
        False,
    )
    assert {key: second[key] for key in EXPECTED} == EXPECTED
    assert second["uuid"] == gpus.uuid(1)
    assert second["pci_bus_id"].endswith("9a:00.0")


EXPECTED = {
    "name": "NVIDIA H100 80GB HBM3",
    "memory_total_mib": 81920,
    "memory_used_mib": 3073,
    "driver_version": "570.86.15",
    "cuda_version": "12.8",
    "compute_capability": "9.0",
    "architecture": "Hopper",
    "compute_mode": "default",
    "persistence_mode": True,
    "mig_enabled": False,
    "unified_memory": False,
}


def test_memory_is_followed_from_sample_to_sample(gpus: FakeGpus, sampler: Sampler) -> None:
    assert sampler.sample()["gpus"][0]["memory_used_mib"] == 0
    gpus.set(gpu0__mem_used=2**30)
    assert sampler.sample()["gpus"][0]["memory_used_mib"] == 1024


def test_a_reading_has_every_number_that_the_driver_tells(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(
        gpu0__busy=37, gpu0__mem_busy=11, gpu0__temp=66, gpu0__power=350_500, gpu0__power_limit=700_000,
        gpu0__sm_clock=1980, gpu0__mem_clock=2619, gpu0__ecc_corr_vol=1, gpu0__ecc_uncorr_vol=2, gpu0__ecc_corr_agg=3,
        gpu0__ecc_uncorr_agg=4, gpu0__remap_corr=5, gpu0__remap_uncorr=6, gpu0__remap_pending=1, gpu0__pcie_replays=7,
    )  # fmt: skip
    reading = sampler.sample()["readings"][0]
    wanted = {
        "utilisation": 0.37, "memory_utilisation": 0.11, "temperature_c": 66.0, "power_w": 350.5, "power_limit_w": 700.0,
        "sm_clock_mhz": 1980, "memory_clock_mhz": 2619, "ecc_volatile_corrected": 1, "ecc_volatile_uncorrected": 2,
        "ecc_aggregate_corrected": 3, "ecc_aggregate_uncorrected": 4, "remapped_rows_corrected": 5,
        "remapped_rows_uncorrected": 6, "remapped_rows_pending": True, "remapped_rows_failed": False, "pcie_replays": 7,
        "retired_pages_corrected": None, "faults": [],
    }  # fmt: skip
    assert {key: reading[key] for key in wanted} == wanted


def test_what_slows_a_gpu_has_its_words(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(gpu0__throttle="0x40")  # nvmlClocksEventReasonHwThermalSlowdown
    assert sampler.sample()["readings"][0]["throttled"] == ["hw-thermal-slowdown"]


def test_who_holds_memory_is_named(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.hold(0, os.getpid(), 512)
    gpus.hold(0, 4_000_000, None, "graphics", "/usr/bin/Xorg")
    mine, display = sampler.sample()["readings"][0]["processes"]
    assert (mine["pid"], mine["memory_mib"], mine["graphics"], bool(mine["name"])) == (os.getpid(), 512, False, True)
    assert (display["name"], display["memory_mib"], display["graphics"]) == ("Xorg", None, True)


def test_an_instance_of_a_gpu_is_a_gpu_of_its_own(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.cut(0, 10240, 20480)
    found = {gpu["uuid"]: gpu for gpu in sampler.sample()["gpus"]}
    assert found[gpus.uuid(0)]["mig_enabled"]
    assert not found[gpus.uuid(1)]["mig_enabled"]
    parts = [found[gpus.mig_uuid(0, at)] for at in range(2)]
    assert [(it["mig_parent"], it["memory_total_mib"]) for it in parts] == [
        (gpus.uuid(0), 10240),
        (gpus.uuid(0), 20480),
    ]
    assert "MIG" in parts[0]["name"]


def test_a_gpu_that_shares_the_hosts_memory_has_that(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(gpu0__mem_total=-3)
    gpu = sampler.sample()["gpus"][0]
    assert gpu["unified_memory"]
    assert gpu["memory_total_mib"] > gpu["memory_used_mib"] > 0


def test_an_old_driver_that_lacks_functions_is_sampled_all_the_same(gpus: FakeGpus, sampler: Sampler) -> None:
    for function in ("FieldValues", "CurrentClocksEventReasons", "MigMode", "Architecture"):
        gpus.fail(function, 13)
    sample = sampler.sample()
    assert len(sample["gpus"]) == 2
    assert sample["readings"][0]["ecc_volatile_corrected"] is None


def test_gpus_know_the_ways_to_one_another(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(**{"topo.0.1": 10})
    first, second = sampler.sample()["gpus"]
    assert first["near"] == [{"uuid": gpus.uuid(1), "path": "PIX"}]
    assert second["near"] == [{"uuid": gpus.uuid(0), "path": "PIX"}]


def test_a_lost_gpu_is_told_by_its_name_while_the_others_stay_and_comes_back(gpus: FakeGpus, sampler: Sampler) -> None:
    sampler.sample()
    gpus.lose(0)
    sample = sampler.sample()
    assert [gpu["uuid"] for gpu in sample["gpus"]] == [gpus.uuid(1)]
    assert [(it["uuid"], it["kind"]) for it in sample["troubles"]] == [(gpus.uuid(0), "lost")]
    assert sample["unavailable"].startswith("1 of 2 GPUs do not answer: ")
    gpus.find(0)
    assert len(sampler.sample()["gpus"]) == 2


def test_a_gpu_whose_driver_hangs_hangs_alone(gpus: FakeGpus, sampler: Sampler) -> None:
    sampler.sample()
    gpus.hang("PowerUsage", index=0)
    for _ in range(3):
        sample = sampler.sample()
        assert [gpu["uuid"] for gpu in sample["gpus"]] == [gpus.uuid(1)]
        assert [(it["uuid"], it["kind"]) for it in sample["troubles"]] == [(gpus.uuid(0), "hung")]
    gpus.hang("PowerUsage", False, index=0)
    wait_for("the call that hung comes back", lambda: len(sampler.sample()["gpus"]) == 2, 10)


def test_two_gpus_that_hang_at_once_leave_the_third(library: Path) -> None:
    gpus = FakeGpus(library.parent, count=3)
    sampler = Sampler(gpus.environment())
    sampler.sample()
    gpus.hang("Temperature", index=0)
    gpus.hang("Temperature", index=2)
    sample = sampler.sample()
    assert [gpu["uuid"] for gpu in sample["gpus"]] == [gpus.uuid(1)]
    assert sorted(it["uuid"] for it in sample["troubles"]) == [gpus.uuid(0), gpus.uuid(2)]
    sampler.end()  # although two calls never come back


@pytest.mark.parametrize(("error", "trouble"), [(9, "not-loaded"), (18, "mismatch")])
def test_a_driver_that_does_not_load_says_so(gpus: FakeGpus, sampler: Sampler, error: int, trouble: str) -> None:
    gpus.set(error__Init=error)
    sample = sampler.sample()
    assert (sample["gpus"], sample["driver_trouble"]) == ([], trouble)
    assert sample["unavailable"].startswith("the NVIDIA driver does not work: ")


def test_a_driver_without_gpus_says_so(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(count=0)
    assert sampler.sample()["unavailable"] == "the NVIDIA driver finds no GPU"


def test_a_driver_that_hangs_is_told_and_seen_again_when_it_answers(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.hang("Count")
    for _ in range(2):
        sample = sampler.sample()
        assert "does not answer (NVML hangs" in sample["unavailable"]
        assert sample["driver_trouble"] == "hung"
    gpus.hang("Count", False)
    wait_for("the call that hung comes back", lambda: sampler.sample()["gpus"], 10)


def test_a_driver_that_is_loaded_anew_is_begun_anew_within_one_sample(gpus: FakeGpus, sampler: Sampler) -> None:
    assert len(sampler.sample()["gpus"]) == 2
    gpus.reload()
    assert len(sampler.sample()["gpus"]) == 2


def test_an_xid_comes_with_the_uuid_of_its_gpu(gpus: FakeGpus, sampler: Sampler) -> None:
    sampler.sample()
    sampler.sample("xids")  # from here on it listens
    gpus.xid(1, 79)
    told = wait_for("the XID", lambda: sampler.sample("xids")["xids"], 10)
    assert [(it["gpu_uuid"], it["xid"]) for it in told] == [(gpus.uuid(1), 79)]


def test_without_a_driver_the_reason_is_told_and_the_binding_is_not_even_loaded(tmp_path: Path) -> None:
    # A file that is no library hides the real driver of a machine that has one.
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    sampler = Sampler({**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    sample = sampler.sample()
    assert (sample["gpus"], sample["driver_trouble"]) == ([], ""), "a host without GPUs has no trouble"
    assert sample["unavailable"] == "no NVIDIA driver: libnvidia-ml.so.1 not found"
    assert sampler.end() == {"loaded": False}


def test_the_usage_names_memory_and_how_busy_each_gpu_is(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.set(gpu1__mem_used=3 * 2**30 + 1, gpu1__busy=37, error__UtilizationRates=None)
    idle, busy = sampler.sample("usage")["gpus"]
    assert (idle["utilisation"], idle["memory_used_mib"]) == (0.0, 0)
    expected = {"uuid": gpus.uuid(1), "memory_used_mib": 3073, "memory_total_mib": 81920, "utilisation": 0.37}
    assert busy == expected


def test_a_gpu_that_does_not_count_its_use_has_its_memory_all_the_same(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.fail("UtilizationRates", 3)
    assert [it["utilisation"] for it in sampler.sample("usage")["gpus"]] == [None, None]


def test_the_usage_of_a_driver_that_fails_is_nothing(gpus: FakeGpus, sampler: Sampler) -> None:
    gpus.fail("Count", 999)
    assert sampler.sample("usage")["gpus"] == []
