import math

import pytest
from homeport_control.spec.problems import Mistake
from homeport_control.spec.scalars import (
    duration_or_off_s,
    duration_s,
    duration_text,
    memory_text,
    number,
    parse_memory_mib,
    whole,
    yes_or_no,
)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (90, 90),
        ("90", 90),
        ("30s", 30),
        ("5m", 300),
        ("5min", 300),
        ("2h", 7200),
        ("3d", 259200),
        ("1w", 604800),
        ("2 H", 7200),
        (0, 0),
    ],
)
def test_a_duration_is_read(written: object, seconds: int) -> None:
    assert duration_s(written) == seconds


@pytest.mark.parametrize("written", [True, None, 1.5, -1, "-1", "5x", "m", "", "1h30m", [], 10**30, "999999999999w"])
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(Mistake):
        duration_s(written)


@pytest.mark.parametrize("written", [False, "off", "OFF", "False"])
def test_off_is_taken_where_it_has_a_meaning(written: object) -> None:
    assert duration_or_off_s(written) is None
    with pytest.raises(Mistake, match="cannot be off"):
        duration_s(written)


def test_a_duration_is_shown_in_its_largest_unit() -> None:
    assert [duration_text(value) for value in (None, 0, 90, 300, 7200, 259200, 604800)] == [
        "off",
        "0s",
        "90s",
        "5m",
        "2h",
        "3d",
        "1w",
    ]


@pytest.mark.parametrize(
    ("written", "mib"),
    [
        ("512MB", 512),
        ("16GB", 16384),
        ("16 gb", 16384),
        ("1TB", 1024 * 1024),
        (24, 24576),
        ("24", 24576),
        (0.5, 512),
        ("11.2GB", 11469),
    ],
)
def test_memory_is_read(written: object, mib: int) -> None:
    assert parse_memory_mib(written) == mib


@pytest.mark.parametrize(
    "written", [0, "0GB", -1, "16G", "16GiB", "GB", "", True, None, [], math.inf, math.nan, 10**400]
)
def test_what_is_no_memory_is_refused(written: object) -> None:
    with pytest.raises(Mistake):
        parse_memory_mib(written)


def test_memory_is_shown_in_its_largest_unit() -> None:
    assert [memory_text(value) for value in (512, 1024, 24576, 1025, 1024 * 1024)] == [
        "512MB",
        "1GB",
        "24GB",
        "1025MB",
        "1TB",
    ]


@pytest.mark.parametrize("written", [True, 1.0, "1.0", "0755", "1_000", None, "", 10**30, -1])
def test_what_is_no_whole_number_is_refused(written: object) -> None:
    with pytest.raises(Mistake):
        whole(written)


@pytest.mark.parametrize(("written", "read"), [(1, 1.0), (0.5, 0.5), ("0.50", 0.5), (".5", 0.5)])
def test_a_number_is_read(written: object, read: float) -> None:
    assert number(written) == read


@pytest.mark.parametrize("written", [True, "x", None, math.nan, math.inf, -math.inf, -1, 10**400, "."])
def test_what_is_no_number_is_refused(written: object) -> None:
    with pytest.raises(Mistake):
        number(written)


def test_yes_or_no_takes_the_words_of_yaml() -> None:
    assert [yes_or_no(value) for value in (True, "on", "True", "yes", False, "off", "No")] == [True] * 4 + [False] * 3
    for wrong in (1, 0, "maybe", None):
        with pytest.raises(Mistake):
            yes_or_no(wrong)
