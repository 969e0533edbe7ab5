"""What one look at a GPU tells against it. Pure.

Covers what can be seen in one sample; the numbers say how long it must last. Does not cover what lasts, and what is
remembered (judge).
"""

from collections.abc import Iterator

from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Gpu, GpuReading, GpuTrouble, Severity
from homeport_agent.health.model import KnownGpu, Mark, Sign

# Slowdown for a minute costs throughput and may pass with the load; DCGM too only warns of it. A GPU that the hardware
# itself slows (to half of its clocks or less, says nvml.h) for 5 minutes has no cooling or no power: moving helps then.
THROTTLED_S, SLOWED_S = 60.0, 300.0
COOLED_S = 60.0
MISSING_S = RELOADED_S = 3.0  # a driver that is loaded anew is back within it
HUNG_ALL_S = 20.0  # a GPU that is reset holds up the whole of NVML for so long; what runs on the others goes on
UNANSWERED_S = 10.0  # when NVML says nothing of any GPU, it may be NVML
ERRORS_S, ERRORS_FAILING_S = 3.0, 60.0
FAULTS_S = 10.0
HUNG_GONE_S = 30.0
WINDOW_S = 60.0
MOST_REPLAYS = 8  # a minute: DCGM_LIMIT_MAX_PCIREPLAY_RATE, "the maximum recommended by RM"
MOST_LINK_ERRORS = 10  # a minute: far below DCGM's 100 CRC errors a second, since replays and recoveries count here too
GROWTH_GONE_S = 600.0

ASKS_FOR_RESET = "reset the GPU (nvidia-smi --gpu-reset -i UUID, with nothing running on it) or reboot the host"
DRIVER = {
    "hung": ("nvml-hung", "look at the kernel log (dmesg) for what the driver waits for; a reboot of the host ends it"),
    "mismatch": ("driver-mismatch", "reboot the host, or unload and load the driver's kernel modules after its update"),
    "not-loaded": ("driver-not-loaded", "load it (modprobe nvidia) or install it for the kernel that runs"),
}
HEAT = "look at the cooling: fans, air flow, the other GPUs beside it"
# (code, words of GpuReading.throttled, by what, action, whether the hardware does it)
SLOWDOWNS = (
    ("throttled-thermal", ("hw-thermal-slowdown",), "heat", HEAT, True),
    ("throttled-thermal-driver", ("sw-thermal-slowdown",), "the driver, for heat", HEAT, False),
    (
        "throttled-power-brake",
        ("hw-power-brake", "hw-power-brake-slowdown"),
        "the power brake",
        "look at the power supply and its limits",
        True,
    ),
    ("throttled-hardware", ("hw-slowdown",), "its hardware", "look at cooling and power", True),
)
_ANY, _HARD = ("hw-slowdown",), {"hw-thermal-slowdown", "hw-power-brake", "hw-power-brake-slowdown"}


def of_driver(sample: GpuSample) -> Sign | None:
    """What a driver that does not work as a whole means for each GPU that is not in the sample."""
    if not sample.driver_trouble:
        return None
    code, action = DRIVER.get(
        sample.driver_trouble, (f"driver-{sample.driver_trouble}", "look at the kernel log (dmesg)")
    )
    after_s = HUNG_ALL_S if sample.driver_trouble == "hung" else RELOADED_S
    return Sign(code, f"no CUDA context is possible: {sample.unavailable}", action, after_s=after_s)


def of_absence(known: KnownGpu, sample: GpuSample) -> Sign:
    """Of a GPU that was there once, while the driver as a whole works."""
    answers = bool(sample.gpus or sample.troubles)
    where = f" ({known.gpu.pci_bus_id})" if known.gpu.pci_bus_id else ""
    nameless = next((it.reason for it in sample.troubles if not it.uuid), "")  # most likely it is that one
    why = "the driver does not list it any more" if answers else sample.unavailable or "the driver lists no GPU"
    return Sign(
        "gpu-missing",
        f"{known.gpu.name}{where} is gone: {nameless or why}",
        "look whether it is on the bus (lspci -d 10de:), then reboot the host; was it taken out, undrain it to forget it",
        after_s=MISSING_S if answers else UNANSWERED_S,
        latches=True,
    )


def of_trouble(trouble: GpuTrouble) -> Sign:
    match trouble.kind:
        case "lost":
            action = "reboot the host, with its power off for a moment; look at the GPU's slot and power"
            return Sign("gpu-lost", trouble.reason, action, latches=True)
        case "hung":
            action = "look at the kernel log (dmesg); " + ASKS_FOR_RESET
            return Sign("gpu-hung", trouble.reason, action, ends_after_s=HUNG_GONE_S)
        case _:
            return Sign(
                "nvml-errors",
                trouble.reason,
                "look at the kernel log (dmesg) and nvidia-smi",
                Severity.WARNING,
                after_s=ERRORS_S,
                failing_after_s=ERRORS_FAILING_S,
                ends_after_s=HUNG_GONE_S,
            )


def of_gpu(gpu: Gpu, reading: GpuReading, marks: tuple[Mark, ...], now_s: float) -> Iterator[Sign]:
    """Of a GPU that answers."""
    if gpu.compute_mode == "prohibited":
        action = f"allow it: nvidia-smi -i {gpu.uuid} -c DEFAULT"
        yield Sign("compute-prohibited", "its compute mode is prohibited: no CUDA context is possible", action)
    yield from _memory(reading)
    yield from _throttled(reading)
    yield from _growth(reading, marks, now_s)
    if reading.faults:
        function, error = reading.faults[0]
        others = f" and {len(reading.faults) - 1} more calls" if len(reading.faults) > 1 else ""
        reason = f"{function}{others} failed: {error}"
        action = "look at the kernel log (dmesg) and nvidia-smi -q"
        yield Sign("nvml-faults", reason, action, Severity.WARNING, after_s=FAULTS_S, speaks_against=False)


def _memory(it: GpuReading) -> Iterator[Sign]:
    if it.ecc_volatile_uncorrected:
        reason = f"{it.ecc_volatile_uncorrected} uncorrected memory errors since the driver was loaded"
        yield Sign("ecc-uncorrected", reason, ASKS_FOR_RESET, Severity.WARNING)
    if it.remapped_rows_failed:
        rows = f" ({it.remapped_rows_uncorrected} rows are remapped)" if it.remapped_rows_uncorrected else ""
        reason = f"a memory row could not be remapped{rows}"
        yield Sign("row-remap-failure", reason, "have the GPU replaced", latches=True)
    if it.remapped_rows_pending:
        yield Sign("row-remap-pending", "a memory row waits to be remapped", ASKS_FOR_RESET, Severity.WARNING)
    if it.retired_pages_pending:
        yield Sign("page-retirement-pending", "a memory page waits to be retired", ASKS_FOR_RESET, Severity.WARNING)


def _throttled(it: GpuReading) -> Iterator[Sign]:
    for code, words, cause, action, is_hardware in SLOWDOWNS:
        # "hw-slowdown" is set beside the words that say why; alone only where the GPU does not know why.
        if not any(word in words for word in it.throttled) or (words == _ANY and set(it.throttled) & _HARD):
            continue
        at = f" at {it.temperature_c:.0f} °C" if it.temperature_c is not None and action is HEAT else ""
        yield Sign(
            code,
            f"it is slowed by {cause}{at}",
            action,
            Severity.WARNING,
            after_s=THROTTLED_S,
            failing_after_s=SLOWED_S if is_hardware else None,
            ends_after_s=COOLED_S,
            speaks_against=False,
        )


def _growth(it: GpuReading, marks: tuple[Mark, ...], now_s: float) -> Iterator[Sign]:
    for mark in marks:
        grown = (counter(it, mark.counter) or 0) - mark.value
        code, most, what, action = GROWING[mark.counter]
        if grown > most and now_s - mark.at_s <= 2 * WINDOW_S:
            reason = f"{grown} {what} within a minute, more than {most}"
            yield Sign(code, reason, action, Severity.WARNING, ends_after_s=GROWTH_GONE_S, speaks_against=False)


GROWING = {
    "pcie_replays": (
        "pcie-replays",
        MOST_REPLAYS,
        "PCIe replays",
        "look at the slot, the riser and the cable of the GPU; a slower link (lspci -vv) shows the same",
    ),
    "nvlink_errors": (
        "nvlink-errors",
        MOST_LINK_ERRORS,
        "NVLink errors",
        "look at the links (nvidia-smi nvlink -e); when it goes on, ask the vendor of the host",
    ),
}


def counter(it: GpuReading, name: str) -> int | None:
    return it.pcie_replays if name == "pcie_replays" else it.nvlink_errors


def marked(it: GpuReading, marks: tuple[Mark, ...], now_s: float) -> tuple[Mark, ...]:
    """The marks for the next look: a window that is over, or a counter that began anew, begins at what is now."""
    old, fresh = {mark.counter: mark for mark in marks}, []
    for name, (_, most, _, _) in GROWING.items():
        value, mark = counter(it, name), old.get(name)
        if value is None:
            continue
        over = mark is None or not 0 <= now_s - mark.at_s < WINDOW_S or not 0 <= value - mark.value <= most
        fresh.append(Mark(name, value, now_s) if over or mark is None else mark)
    return tuple(fresh)
