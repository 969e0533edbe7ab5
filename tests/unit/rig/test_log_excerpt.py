"""Lines of a log around a moment."""

from datetime import UTC, datetime

from rig.log_excerpt import LONGEST, around

NOON_S = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()
LOG = """\
timestamp=2026-11-28T11:59:58.900000Z level=info event="before"
timestamp=2026-11-28T11:59:59.500000Z level=info event="first"
Traceback of the first
2026-11-28T12:00:00.250Z level=info second
2026-11-28T12:00:03.000Z level=info after
"""


def test_lines_of_both_processes_and_what_belongs_to_them() -> None:
    found = around(LOG, NOON_S - 1, NOON_S + 1)
    assert [line.split()[-1] for line in found] == ['event="first"', "first", "second"]


def test_no_more_than_is_asked_for() -> None:
    assert around(LOG, NOON_S - 2, NOON_S + 9, most=1) == [LOG.splitlines()[0], "… 4 lines more"]


def test_a_long_line_is_cut() -> None:
    [line] = around("2026-11-28T12:00:00.250Z " + "x" * 1000, NOON_S, NOON_S + 1)
    assert len(line) == LONGEST


def test_a_log_without_times_has_no_moment() -> None:
    assert around("one\ntwo", NOON_S, NOON_S + 1) == []
