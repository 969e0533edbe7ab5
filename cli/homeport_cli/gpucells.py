"""What stands in the cells of GPUs: bars, numbers, who holds them. Pure: messages of the API in, words out.

A number that the GPU or its driver does not tell is empty. What it does not cover: tables (`hosttable`, `hostcard`, `top`).
"""

from collections.abc import Iterable

from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2

BAR_CELLS = 8
EIGHTHS = " ▏▎▍▌▋▊▉"
LEVELS = "▁▂▃▄▅▆▇█"
MIB = 1024  # of a GB, as `nvidia-smi` counts it


def bar(used: float, total: float, cells: int = BAR_CELLS) -> str:
    """ "███▌░░░░": how full; what is used at all is seen."""
    if total <= 0:
        return ""
    share = min(max(used / total, 0.0), 1.0)
    eighths = max(round(share * cells * 8), 1 if used > 0 else 0)
    whole, rest = divmod(eighths, 8)
    shown = "█" * whole + (EIGHTHS[rest] if rest else "")
    return shown + "░" * (cells - len(shown))


def levels(gpus: Iterable[host_pb2.Gpu]) -> str:
    """One letter for each GPU, the fuller its memory the higher. One that tells none of its own is a dot."""
    return "".join(
        LEVELS[min(int(it.memory_used_mib / it.memory_total_mib * len(LEVELS)), len(LEVELS) - 1)]
        if it.memory_total_mib
        else "·"
        for it in gpus
    )


def reading_of(host: api_pb2.Host, uuid: str) -> host_pb2.GpuReading:
    """The newest one; empty where there is none."""
    return next((it for it in host.gpu_readings if it.uuid == uuid), host_pb2.GpuReading())


def used_mib(gpu: host_pb2.Gpu, reading: host_pb2.GpuReading) -> int:
    return reading.memory_used_mib if reading.HasField("memory_used_mib") else gpu.memory_used_mib


def memory(gpu: host_pb2.Gpu, reading: host_pb2.GpuReading) -> str:
    """ "███▌░░░░ 11.2/24GB"."""
    if not gpu.memory_total_mib:
        return "the host's" if gpu.unified_memory else ""
    used = used_mib(gpu, reading)
    return f"{bar(used, gpu.memory_total_mib)} {gb_of(used, gpu.memory_total_mib)}"


def gb_of(used_mib: float, total_mib: float) -> str:
    total = f"{total_mib / MIB:.1f}".removesuffix(".0")
    return f"{used_mib / MIB:.1f}/{total}GB"


def utilisation(reading: host_pb2.GpuReading) -> str:
    return f"{reading.utilisation:.0%}" if reading.HasField("utilisation") else ""


def temperature(reading: host_pb2.GpuReading) -> str:
    return f"{reading.temperature_c:.0f}°C" if reading.HasField("temperature_c") else ""


def power(reading: host_pb2.GpuReading) -> str:
    if not reading.HasField("power_w"):
        return ""
    return f"{reading.power_w:.0f}" + (f"/{reading.power_limit_w:.0f}" if reading.power_limit_w else "") + "W"


def holders(host: api_pb2.Host, gpu: host_pb2.Gpu) -> str:
    """Replicas that have a claim on it, then processes that are not ours."""
    use = next((it for it in host.gpus if it.uuid == gpu.uuid), api_pb2.GpuUse())
    return ", ".join((*use.holders, *(f"pid {it.pid} {it.name}" for it in gpu.processes if not it.replica_id)))


def health(host: api_pb2.Host, gpu: host_pb2.Gpu) -> str:
    return next((it.health for it in host.gpus if it.uuid == gpu.uuid), "")


def counters(reading: host_pb2.GpuReading) -> str:
    """Clocks, and what has gone wrong so far, in one line."""
    ecc, ever = (
        ("ecc_volatile_corrected", "ecc_volatile_uncorrected"),
        ("ecc_aggregate_corrected", "ecc_aggregate_uncorrected"),
    )
    pages, rows = (
        ("retired_pages_corrected", "retired_pages_uncorrected"),
        ("remapped_rows_corrected", "remapped_rows_uncorrected"),
    )
    parts = [
        f"{reading.sm_clock_mhz}/{reading.memory_clock_mhz} MHz" if reading.HasField("sm_clock_mhz") else "",
        f"slowed by {', '.join(reading.throttled)}" if reading.throttled else "",
        _pair(reading, "ECC error", *ecc),
        _pair(reading, "aggregate ECC error", *ever),
        _pair(reading, "retired page", *pages) + (", one more pending" if reading.retired_pages_pending else ""),
        _pair(reading, "remapped row", *rows)
        + (", one more pending" if reading.remapped_rows_pending else "")
        + (", a remapping failed" if reading.remapped_rows_failed else ""),
        f"{reading.pcie_replays} PCIe replays" if reading.HasField("pcie_replays") else "",
        f"{reading.nvlinks_active} NVLinks" if reading.HasField("nvlinks_active") else "",
        f"{reading.nvlink_errors} NVLink errors" if reading.HasField("nvlink_errors") else "",
    ]
    return "; ".join(filter(None, parts))


def _pair(reading: host_pb2.GpuReading, what: str, corrected: str, uncorrected: str) -> str:
    """ "3 ECC errors, 1 uncorrected"; "no ECC errors". `what` in the singular."""
    if not reading.HasField(corrected) and not reading.HasField(uncorrected):  # type: ignore[arg-type]
        return ""
    bad = getattr(reading, uncorrected)
    total = getattr(reading, corrected) + bad
    words = f"{total or 'no'} {what}" + ("" if total == 1 else "s")
    return words + (f", {bad} uncorrected" if bad else "")
