from homeport_cli.code.words import counted, listed, shown


def test_a_name_is_one_line_that_no_terminal_obeys() -> None:
    assert shown("src/ä b.py") == "src/ä b.py"
    assert shown("a\nb\x1b[2J\u202e") == "a\\nb\\x1b[2J\\u202e"
    assert shown("caf\udce9") == "caf\\udce9"


def test_counts_have_their_plural() -> None:
    assert [counted(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_a_long_list_is_cut_and_says_so() -> None:
    assert listed(["a"]) == ["  a"]
    assert listed(map(str, range(7))) == ["  0", "  1", "  2", "  3", "  4", "  and 2 more"]
