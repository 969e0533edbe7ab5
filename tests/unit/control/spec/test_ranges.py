import pytest
from homeport_control.spec.problems import Mistake
from homeport_control.spec.ranges import Range, parse_range, range_text
from homeport_control.spec.scalars import whole


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (2, Range(2, 2)),
        ("2", Range(2, 2)),
        ("2..8", Range(2, 8)),
        ("2..", Range(2, None)),
        ("..8", Range(None, 8)),
        (" 2 .. 8 ", Range(2, 8)),
        ({"min": 2, "max": 8}, Range(2, 8)),
        ({"min": 2}, Range(2, None)),
        ({"min": None, "max": 8}, Range(None, 8)),
    ],
)
def test_a_range_is_read(written: object, read: Range[int]) -> None:
    assert parse_range(written, whole) == read


@pytest.mark.parametrize(
    "written", ["..", "3..1", "1...3", "1....3", "1..2..3", {}, {"mn": 1}, {"min": 3, "max": 1}, True]
)
def test_what_is_no_range_is_refused(written: object) -> None:
    with pytest.raises(Mistake):
        parse_range(written, whole)


def test_both_ends_are_inside() -> None:
    assert [value in Range(2, 4) for value in (1, 2, 4, 5)] == [False, True, True, False]
    assert 10**9 in Range(2, None)
    assert 0 in Range(None, 4)


def test_only_a_range_of_one_value_is_exact() -> None:
    assert Range(2, 2).is_exact
    assert not Range(2, None).is_exact
    assert not Range[int](None, None).is_exact


def test_a_range_is_shown_as_it_is_written() -> None:
    shown = [range_text(value, str) for value in (Range(2, 2), Range(2, 8), Range(2, None), Range(None, 8))]
    assert shown == ["2", "2..8", "2..", "..8"]
