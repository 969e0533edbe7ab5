"""gpus/counters: slow counters in one batch, by the field numbers of NVIDIA's header."""

import pytest
from homeport_agent.gpus import counters
from rig.nvml.gpus import FakeGpus
from rig.nvml.header import constants
from rig.nvml.inside import inside

READ = """
from homeport_agent.gpus.calls import Calls
from homeport_agent.gpus.counters import CounterReader
calls = Calls(pynvml)
reader = CounterReader(calls, pynvml, handles[0])
def read():
    told = reader.read()
    return [told.values, list(told.active_links), calls.faults]
"""
FIELDS = {
    "ecc_volatile_corrected": "ECC_SBE_VOL_TOTAL", "ecc_volatile_uncorrected": "ECC_DBE_VOL_TOTAL",
    "ecc_aggregate_corrected": "ECC_SBE_AGG_TOTAL", "ecc_aggregate_uncorrected": "ECC_DBE_AGG_TOTAL",
    "retired_pages_corrected": "RETIRED_SBE", "retired_pages_uncorrected": "RETIRED_DBE",
    "retired_pages_pending": "RETIRED_PENDING", "pcie_replays": "PCIE_REPLAY_COUNTER",
    "remapped_rows_corrected": "REMAPPED_COR", "remapped_rows_uncorrected": "REMAPPED_UNC",
    "remapped_rows_pending": "REMAPPED_PENDING", "remapped_rows_failed": "REMAPPED_FAILURE",
}  # fmt: skip


def test_every_field_has_the_number_of_nvidias_header() -> None:
    known = constants()
    ours = {name: number for name, (number, _) in counters._FIELDS.items()}
    assert ours == {name: known[f"NVML_FI_DEV_{field}"] for name, field in FIELDS.items()}
    links = [f"NVLINK_{it}_ERROR_COUNT_TOTAL" for it in ("CRC_FLIT", "CRC_DATA", "REPLAY", "RECOVERY", "ECC_DATA")]
    assert list(counters._NVLINK_TOTALS) == [known[f"NVML_FI_DEV_{it}"] for it in links]
    each = ("DL_REPLAY", "DL_RECOVERY", "DL_CRC")
    assert list(counters._NVLINK_EACH) == [known[f"NVML_FI_DEV_NVLINK_ERROR_{it}"] for it in each]


def test_each_counter_has_its_own_value(gpus: FakeGpus) -> None:
    gpus.set(
        gpu0__ecc_corr_vol=1, gpu0__ecc_uncorr_vol=2, gpu0__ecc_corr_agg=3, gpu0__ecc_uncorr_agg=4, gpu0__retired_sbe=5,
        gpu0__retired_dbe=6, gpu0__retired_pending=1, gpu0__remap_corr=7, gpu0__remap_uncorr=8, gpu0__remap_pending=1,
        gpu0__remap_failed=1, gpu0__pcie_replays=9,
    )  # fmt: skip
    ((values, links, faults),) = inside(gpus, READ + "said.append(read())")
    assert {name: values[name] for name in FIELDS} == {
        "ecc_volatile_corrected": 1, "ecc_volatile_uncorrected": 2, "ecc_aggregate_corrected": 3,
        "ecc_aggregate_uncorrected": 4, "retired_pages_corrected": 5, "retired_pages_uncorrected": 6,
        "retired_pages_pending": True, "pcie_replays": 9, "remapped_rows_corrected": 7, "remapped_rows_uncorrected": 8,
        "remapped_rows_pending": True, "remapped_rows_failed": True,
    }  # fmt: skip
    assert (values["nvlinks_active"], values["nvlink_errors"], links, faults) == (None, None, [], {}), "it has none"


def test_links_that_are_up_are_counted_and_their_errors_summed(gpus: FakeGpus) -> None:
    gpus.set(gpu0__nvlinks=4, gpu0__nvlink_down="1,3", gpu0__nvlink_errors=5)
    said = inside(gpus, READ + "said.append(read()); gpus.set(gpu0__nvlink_down='1'); said.append(read())")
    assert [links for _, links, _ in said] == [[0, 2], [0, 2, 3]]
    assert said[0][0]["nvlinks_active"] == 2
    assert said[0][0]["nvlink_errors"] > 0
    assert said[0][2] == {}, "the first link too many is no fault"


@pytest.mark.parametrize("code", [3, 13])
def test_a_driver_without_fields_tells_nothing_and_is_not_at_fault(gpus: FakeGpus, code: int) -> None:
    ((values, _, faults),) = inside(gpus, READ + f"gpus.set(error__FieldValues={code}); said.append(read())")
    assert {values[name] for name in FIELDS} == {None}
    assert faults == {}
