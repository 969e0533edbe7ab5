"""gpus/words: our words for NVML's numbers, which are NVIDIA's."""

import pytest
from homeport_agent.gpus.words import ARCHITECTURES, COMPUTE_MODES, PATHS, architecture, throttled
from rig.nvml.header import constants, enumerated

REASONS = {
    "SwPowerCap": "sw-power-cap", "HwSlowdown": "hw-slowdown", "SyncBoost": "sync-boost",
    "SwThermalSlowdown": "sw-thermal-slowdown", "HwThermalSlowdown": "hw-thermal-slowdown",
    "HwPowerBrakeSlowdown": "hw-power-brake", "DisplayClockSetting": "display-clock-setting",
}  # fmt: skip


@pytest.mark.parametrize(("name", "word"), REASONS.items())
def test_a_reason_for_lower_clocks_has_the_bit_of_nvidias_header(name: str, word: str) -> None:
    known = constants()
    bit = known.get(f"nvmlClocksEventReason{name}") or known[f"nvmlClocksThrottleReason{name}"]
    assert throttled(bit) == (word,)


def test_several_reasons_are_sorted_and_idle_is_none() -> None:
    known = constants()
    assert throttled(0x4 | 0x80) == ("hw-power-brake", "sw-power-cap")
    assert (
        throttled(known["nvmlClocksEventReasonGpuIdle"] | known["nvmlClocksEventReasonApplicationsClocksSetting"]) == ()
    )


def test_architectures_are_those_of_nvidias_header() -> None:
    known = {
        name.removeprefix("NVML_DEVICE_ARCH_"): value for name, value in constants().items() if "DEVICE_ARCH_" in name
    }
    told = {name: architecture(value) for name, value in known.items() if name != "UNKNOWN"}
    assert len(told) > 7
    assert {name: word.upper() for name, word in told.items()} == {name: name for name in told}
    assert architecture(99) == architecture(None) == ""
    assert set(known.values()) & set(ARCHITECTURES) == {value for name, value in known.items() if name != "UNKNOWN"}


@pytest.mark.parametrize(
    ("name", "word"),
    [("DEFAULT", "default"), ("EXCLUSIVE_THREAD", "exclusive-thread"), ("PROHIBITED", "prohibited"),
     ("EXCLUSIVE_PROCESS", "exclusive-process")],
)  # fmt: skip
def test_compute_modes_are_those_of_nvidias_header(name: str, word: str) -> None:
    assert COMPUTE_MODES[enumerated(f"NVML_COMPUTEMODE_{name}")] == word


@pytest.mark.parametrize(
    ("name", "word"),
    [("INTERNAL", "PIX"), ("SINGLE", "PIX"), ("MULTIPLE", "PXB"), ("HOSTBRIDGE", "PHB"), ("NODE", "NODE"), ("SYSTEM", "SYS")],
)  # fmt: skip
def test_ways_are_those_of_nvidias_header(name: str, word: str) -> None:
    assert PATHS[enumerated(f"NVML_TOPOLOGY_{name}")] == word
