"""gpus/calls: what NVML's errors mean."""

import pytest
from rig.nvml.gpus import FakeGpus
from rig.nvml.inside import inside

CALLS = """
from homeport_agent.gpus.calls import Calls, DriverGone, GpuError
calls = Calls(pynvml)
def ask(function="nvmlDeviceGetPowerUsage"):
    try:
        return calls.ask(function, handles[0])
    except (GpuError, DriverGone) as error:
        return [type(error).__name__, getattr(error, "kind", ""), str(error)]
"""


def test_what_a_gpu_does_not_support_is_not_asked_again_until_its_mode_changes(gpus: FakeGpus) -> None:
    said = inside(
        gpus,
        CALLS
        + """
gpus.set(error__PowerUsage=3)
said.append(ask())
gpus.set(error__PowerUsage=None)
said.append([ask(), calls.is_lacking("nvmlDeviceGetPowerUsage"), calls.faults])
calls.forget_what_lacks()
said.append(ask())
""",
    )
    assert said == [None, [None, True, {}], 70000]


@pytest.mark.parametrize("code", [4, 13, 25, 26])
def test_no_permission_and_an_old_driver_are_no_faults(gpus: FakeGpus, code: int) -> None:
    assert inside(gpus, CALLS + f"gpus.set(error__PowerUsage={code}); said += [ask(), calls.faults]") == [None, {}]


def test_what_is_not_there_now_is_asked_again(gpus: FakeGpus) -> None:
    code = CALLS + "gpus.set(error__PowerUsage=27); said += [ask()]; gpus.set(error__PowerUsage=None); said += [ask()]"
    assert inside(gpus, code) == [None, 70000]


@pytest.mark.parametrize(
    ("code", "kind"),
    [(15, ["GpuError", "lost"]), (28, ["GpuError", "lost"]), (1, ["DriverGone", ""]), (18, ["DriverGone", ""])],
)  # fmt: skip
def test_a_lost_gpu_and_a_driver_that_is_gone_end_the_sample(gpus: FakeGpus, code: int, kind: list[str]) -> None:
    (told,) = inside(gpus, CALLS + f"gpus.set(error__PowerUsage={code}); said.append(ask())")
    assert told[:2] == kind
    assert told[2].startswith("nvmlDeviceGetPowerUsage: ")


def test_any_other_error_is_a_fault_with_its_function(gpus: FakeGpus) -> None:
    told, faults = inside(gpus, CALLS + "gpus.set(error__PowerUsage=999); said += [ask(), calls.faults]")
    assert told is None
    assert list(faults) == ["nvmlDeviceGetPowerUsage"]
    assert "Unknown" in faults["nvmlDeviceGetPowerUsage"]


def test_what_is_needed_is_an_error_of_the_gpu(gpus: FakeGpus) -> None:
    said = inside(
        gpus,
        CALLS
        + """
gpus.set(error__Name=3)
try:
    calls.need("nvmlDeviceGetName", handles[0])
except GpuError as error:
    said += [error.kind, str(error)]
""",
    )
    assert said[0] == "error"
    assert said[1].startswith("nvmlDeviceGetName: ")


def test_names_come_as_text_or_as_bytes() -> None:
    from homeport_agent.gpus.calls import text

    assert (text(b"H100\xff"), text("H100")) == ("H100\ufffd", "H100")
