import pytest
from homeport.code.words import counted, listed, shown, size


def test_a_name_is_one_line_that_no_terminal_obeys() -> None:
    assert shown("src/ä b.py") == "src/ä b.py"
    assert shown("a\nb\x1b[2J\u202e") == "a\\nb\\x1b[2J\\u202e"
    assert shown("caf\udce9") == "caf\\udce9"


def test_counts_have_their_plural() -> None:
    assert [counted(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_a_long_list_is_cut_and_says_so() -> None:
    assert listed(["a"]) == ["  a"]
    assert listed(map(str, range(7))) == ["  0", "  1", "  2", "  3", "  4", "  and 2 more"]


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (123_456_789, "123MB"),
        (999_700_000, "1.0GB"),
        (123_400_000_000, "123GB"),
    ],
)
def test_a_size_is_decimal_and_short(count: int, words: str) -> None:
    assert size(count) == words
