"""The table of XID codes."""

import pytest
from homeport_agent.gpus.model import Severity
from homeport_agent.health.xids import BUILT_IN, OFTEN_LINKS, ROWS, UNKNOWN, meaning


@pytest.mark.parametrize("code", [46, 48, 62, 64, 79, 95, 109, 110, 119, 120, 136, 140, 143, 150, 156, 158])
def test_what_nvidia_wants_reset_or_rebooted_is_failing(code: int) -> None:
    assert BUILT_IN[code].severity is Severity.FAILING
    assert "re" in BUILT_IN[code].action


@pytest.mark.parametrize("code", [8, 13, 31, 43, 45, 68, 69, 137])
def test_what_a_program_did_is_not_the_gpus_sickness(code: int) -> None:
    assert BUILT_IN[code].severity is None
    assert BUILT_IN[code].often is Severity.WARNING


@pytest.mark.parametrize("code", [32, 61, 63, 74, 92, 94, 122, 125, 144, 149])
def test_what_somebody_should_look_at_is_a_warning(code: int) -> None:
    assert BUILT_IN[code].severity is Severity.WARNING


@pytest.mark.parametrize("code", [74, 144, 145, 146, 147, 148, 149])
def test_links_that_fail_often_fail_the_gpu(code: int) -> None:
    assert (BUILT_IN[code].often, BUILT_IN[code].often_count) == (Severity.FAILING, OFTEN_LINKS)


def test_no_code_has_two_rows_and_each_says_what_to_do() -> None:
    codes = [code for first, last, _ in ROWS for code in range(first, last + 1)]
    assert len(codes) == len(set(codes))
    assert codes == sorted(codes)
    assert all(row.title and row.action for row in BUILT_IN.values())


def test_a_code_that_is_not_listed_is_a_warning() -> None:
    assert meaning(BUILT_IN, 4711, "") == UNKNOWN
    assert UNKNOWN.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("detail", "severity"),
    [
        ("", Severity.WARNING),
        ("GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)", Severity.FAILING),
        ("GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)", Severity.FAILING),
        ("GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)", Severity.FAILING),
        ("GPU recovery action changed from 0x0 (None) to 0x3 (Drain P2P)", Severity.WARNING),
        ("GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)", None),
    ],
)
def test_a_154_means_what_its_line_asks_for(detail: str, severity: Severity | None) -> None:
    assert meaning(BUILT_IN, 154, detail).severity is severity
