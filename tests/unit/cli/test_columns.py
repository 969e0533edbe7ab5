from homeport_cli.columns import kept
from rich.text import Text

HEADS = ("NAME", "HOST", "AGE")
ROWS = [[Text("web"), Text("gpu-1"), Text("3 mins ago")], [Text("embeddings"), Text("a"), Text("now")]]
WHOLE = 10 + 2 + 5 + 2 + 10


def test_all_columns_stay_while_they_fit() -> None:
    assert kept(HEADS, ROWS, WHOLE, spare=("AGE", "HOST")) == [0, 1, 2]


def test_spare_columns_go_one_by_one_in_their_order() -> None:
    assert kept(HEADS, ROWS, WHOLE - 1, spare=("AGE", "HOST")) == [0, 1]
    assert kept(HEADS, ROWS, WHOLE - 1, spare=("HOST", "AGE")) == [0, 2]
    assert kept(HEADS, ROWS, 16, spare=("AGE", "HOST")) == [0]


def test_what_is_not_spare_is_never_dropped() -> None:
    assert kept(HEADS, ROWS, 3, spare=("AGE",)) == [0, 1]


def test_a_head_may_be_wider_than_what_stands_under_it() -> None:
    assert kept(("N", "SUBMITTED"), [[Text("a"), Text("b")]], 11, spare=("SUBMITTED",)) == [0]
    assert kept(("N", "SUBMITTED"), [], 12, spare=("SUBMITTED",)) == [0, 1]
