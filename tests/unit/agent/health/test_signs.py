"""What is seen in one look at a GPU."""

import pytest
from fakes.health import Watch
from homeport_agent.gpus.model import Gpu, GpuReading
from homeport_agent.health import signs

GPU = Gpu("GPU-0", "H100", 81920, 0)


def codes(gpu: Gpu = GPU, **values: object) -> list[str]:
    reading = GpuReading("GPU-0", **values)  # type: ignore[arg-type]
    return [it.code for it in signs.of_gpu(gpu, reading, (), 0.0)]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"ecc_volatile_uncorrected": 1}, "ecc-uncorrected"),
        ({"remapped_rows_failed": True}, "row-remap-failure"),
        ({"remapped_rows_pending": True}, "row-remap-pending"),
        ({"retired_pages_pending": True}, "page-retirement-pending"),
        ({"throttled": ("hw-power-brake", "hw-slowdown")}, "throttled-power-brake"),
        ({"throttled": ("sw-thermal-slowdown",)}, "throttled-thermal-driver"),
        ({"throttled": ("hw-slowdown",)}, "throttled-hardware"),
        ({"faults": (("nvmlDeviceGetPowerUsage", "Unknown Error"),)}, "nvml-faults"),
    ],
)
def test_each_bad_number_is_a_sign(values: dict[str, object], code: str) -> None:
    assert codes(**values) == [code]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"ecc_volatile_uncorrected": 0, "ecc_volatile_corrected": 9, "ecc_aggregate_uncorrected": 7},
        {"throttled": ("sw-power-cap", "sync-boost")},
        {"remapped_rows_failed": False, "remapped_rows_pending": False, "retired_pages_pending": False},
        {"temperature_c": 95.0, "pcie_replays": 10_000, "nvlink_errors": 10_000},
    ],
)
def test_what_is_normal_or_not_told_is_no_sign(values: dict[str, object]) -> None:
    assert codes(**values) == []


def test_a_gpu_that_computes_for_nobody_fails() -> None:
    assert codes(Gpu("GPU-0", "H100", 1, 0, compute_mode="prohibited")) == ["compute-prohibited"]
    assert codes(Gpu("GPU-0", "H100", 1, 0, compute_mode="exclusive-process")) == []


def test_more_calls_that_fail_are_counted() -> None:
    reading = GpuReading("GPU-0", faults=(("nvmlA", "Unknown Error"), ("nvmlB", "Timeout")))
    (sign,) = signs.of_gpu(GPU, reading, (), 0.0)
    assert sign.reason == "nvmlA and 1 more calls failed: Unknown Error"


@pytest.mark.parametrize("counter", ["pcie_replays", "nvlink_errors"])
def test_a_counter_that_grows_fast_is_a_warning_for_ten_minutes(counter: str) -> None:
    code = counter.replace("_", "-")
    watch = Watch(1)
    value = 1000
    for _ in range(300):  # 6 a minute
        watch.reads(**{counter: value})
        watch.look(10)
        value += 1
    assert watch.codes == []
    watch.reads(**{counter: value + 40})
    watch.look()
    assert watch.codes == [f"GPU-0 {code} warning"]
    watch.look(599)
    assert watch.codes == [f"GPU-0 {code} warning"]
    watch.look()
    assert watch.codes == []


def test_a_counter_that_begins_anew_is_no_growth() -> None:
    watch = Watch(1)
    watch.reads(pcie_replays=5000)
    watch.look(3)
    watch.reads(pcie_replays=0)
    watch.look(3)
    watch.reads(pcie_replays=8)
    watch.look(3)
    assert watch.codes == []
