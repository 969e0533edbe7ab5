"""docs/reliability.md is what the generator makes of the promises and the committed results, and the matrix has no hole."""

import json
from dataclasses import replace

from faults import promises, table
from faults.measure import Measured, longest_gap_s
from faults.words import Fault, Promise, Struck

PROMISE = Promise("x", Struck.AGENT, Fault.KILL, may_fail=1, failing_s=2.0, times_s={"back": 3.0}, least=100)
HELD = Measured("x", "abc", "2026-01-01", 300, 200, 1, 0, 1.5, 0.5, {"back": 2.5})


def test_the_page_is_fresh() -> None:
    assert table.PAGE.read_text() == table.page(table.results()), "run: PYTHONPATH=tests python -m faults.table"


def test_every_pair_of_fault_and_part_has_promises_or_a_reason_for_none() -> None:
    assert promises.problems() == []


def test_every_result_is_of_a_promise_and_holds_it() -> None:
    breaches = {
        key: measured.breaches(promises.PROMISES[key]) if key in promises.PROMISES else ["there is no such promise"]
        for key, measured in table.results().items()
    }
    assert {key: found for key, found in breaches.items() if found} == {}


def test_a_promise_can_be_broken_in_each_of_its_numbers() -> None:
    assert HELD.breaches(PROMISE) == []
    for wrong in (
        replace(HELD, after_fault=99),
        replace(HELD, failed=2),
        replace(HELD, broken=1),
        replace(HELD, last_failure_s=2.1),
        replace(HELD, silent_s=PROMISE.silent_s + 0.1),
        replace(HELD, times_s={"back": 3.1}),
        replace(HELD, times_s={}),
    ):
        assert len(wrong.breaches(PROMISE)) == 1, json.dumps(wrong.times_s)


def test_the_longest_silence_begins_at_the_fault_and_ends_at_the_last_answer() -> None:
    assert longest_gap_s([1.0, 9.0, 5.0, 5.5], 4.5, 10.0) == 3.5
    assert longest_gap_s([5.5, 9.0], 3.0, 9.5) == 3.5
    assert longest_gap_s([], 3.0, 8.0) == 5.0
    assert longest_gap_s([4.0], 3.0, 8.0) == 4.0, "to the end nobody answered"
    assert longest_gap_s([4.0, 60.0], 3.0, 4.5) == 1.0, "those that had waited ended when no others began any more"
