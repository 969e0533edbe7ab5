"""cli/gpucells: bars and numbers of GPUs."""

import pytest
from homeport_cli import gpucells
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("used", "shown"),
    [(0, "░░░░"), (1, "▏░░░"), (50, "██░░"), (62.5, "██▌░"), (99.9, "████"), (100, "████"), (250, "████")],
)
def test_a_bar_is_as_full_as_the_memory_and_what_is_used_at_all_is_seen(used: float, shown: str) -> None:
    assert gpucells.bar(used, 100, 4) == shown


@given(used=st.integers(0, 10**6), total=st.integers(1, 10**6), cells=st.integers(1, 40))
def test_a_bar_is_always_as_long_as_it_is_to_be(used: int, total: int, cells: int) -> None:
    assert len(gpucells.bar(used, total, cells)) == cells


def test_there_is_no_bar_where_nothing_is_told() -> None:
    assert gpucells.bar(5, 0) == ""
    nothing = host_pb2.GpuReading()
    shown = [gpucells.utilisation(nothing), gpucells.temperature(nothing), gpucells.power(nothing)]
    assert [*shown, gpucells.counters(nothing)] == [""] * 4
    assert gpucells.memory(host_pb2.Gpu(unified_memory=True), nothing) == "the host's"


def test_the_newest_reading_wins_over_the_facts() -> None:
    gpu = host_pb2.Gpu(memory_total_mib=24576, memory_used_mib=1024)
    assert gpucells.memory(gpu, host_pb2.GpuReading()).endswith("1.0/24GB")
    assert gpucells.memory(gpu, host_pb2.GpuReading(memory_used_mib=12288)) == "████░░░░ 12.0/24GB"


def test_numbers_have_their_units() -> None:
    reading = host_pb2.GpuReading(utilisation=0.875, temperature_c=61.4, power_w=209.6, power_limit_w=230)
    shown = (gpucells.utilisation(reading), gpucells.temperature(reading), gpucells.power(reading))
    assert shown == ("88%", "61°C", "210/230W")
    assert gpucells.power(host_pb2.GpuReading(power_w=9)) == "9W"


def test_counters_say_what_has_gone_wrong_and_leave_out_what_is_not_told() -> None:
    reading = host_pb2.GpuReading(
        sm_clock_mhz=1410, memory_clock_mhz=5001, throttled=["sw-power-cap"], ecc_volatile_corrected=2,
        ecc_volatile_uncorrected=1, retired_pages_corrected=0, retired_pages_pending=True,
        remapped_rows_uncorrected=1, remapped_rows_failed=True, pcie_replays=7, nvlinks_active=4, nvlink_errors=0,
    )  # fmt: skip
    assert gpucells.counters(reading) == (
        "1410/5001 MHz; slowed by sw-power-cap; 3 ECC errors, 1 uncorrected; no retired pages, one more pending; "
        "1 remapped row, 1 uncorrected, a remapping failed; 7 PCIe replays; 4 NVLinks; 0 NVLink errors"
    )


def test_who_holds_it_are_replicas_and_then_strangers() -> None:
    mine = host_pb2.GpuProcess(pid=7, name="python3", replica_id="r1")
    gpu = host_pb2.Gpu(uuid="GPU-1", processes=[mine, host_pb2.GpuProcess(pid=3123, name="jupyter")])
    host = api_pb2.Host(gpus=[api_pb2.GpuUse(uuid="GPU-1", holders=["web/0"], health="warning")])
    assert gpucells.holders(host, gpu) == "web/0, pid 3123 jupyter"
    assert gpucells.health(host, gpu) == "warning"
