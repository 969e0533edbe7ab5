import pytest
from homeport_protos.logs import LogPosition, unix_ns


def stamp(second: int, nanoseconds: int = 0) -> str:
    return f"2026-11-23T10:00:{second:02d}.{nanoseconds:09d}Z"


def test_nothing_is_had_at_first() -> None:
    position = LogPosition()
    assert not position
    assert not position.has("stdout", stamp(0))
    assert position.oldest_ns == 0


def test_a_line_that_was_read_is_had_and_the_next_is_not() -> None:
    position = LogPosition()
    position.note("stdout", stamp(1, 5))
    assert position.has("stdout", stamp(1, 5))
    assert not position.has("stdout", stamp(1, 6))


def test_the_streams_have_places_of_their_own() -> None:
    position = LogPosition()
    position.note("stdout", stamp(1))
    position.note("stdout", stamp(2, 9))
    assert not position.has("stderr", stamp(2, 8))  # stamped before, written after
    assert position.has("stderr", stamp(1))  # before all that was asked for


def test_a_position_travels_as_text() -> None:
    position = LogPosition()
    for stream, second in (("stdout", 1), ("stderr", 2), ("stdout", 3)):
        position.note(stream, stamp(second))
    again = LogPosition(str(position))
    assert str(again) == str(position)
    assert (again.has("stdout", stamp(3)), again.has("stderr", stamp(3))) == (True, False)


def test_a_bare_time_stands_for_both_streams() -> None:
    position = LogPosition(stamp(5))
    assert position.has("stdout", stamp(5))
    assert position.has("stderr", stamp(4))
    assert not position.has("stderr", stamp(6))


def test_what_is_new_is_at_most_a_second_older_than_the_newest() -> None:
    position = LogPosition()
    position.note("stdout", stamp(1))
    assert position.oldest_ns == unix_ns(stamp(1))
    position.note("stdout", stamp(9))
    assert position.oldest_ns == unix_ns(stamp(8))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01.000000002Z", 1_000_000_002),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("yesterday", 0),
        ("", 0),
    ],
)
def test_times_are_read_to_the_nanosecond(text: str, expected: int) -> None:
    assert unix_ns(text) == expected
