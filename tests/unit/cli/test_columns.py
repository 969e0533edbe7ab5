import pytest
from fakes.text import lines
from homeport_cli.columns import Quick, kept
from rich.table import Table
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


def tables(show_header: bool = True) -> tuple[Quick, Table]:
    """The same table of ours and of rich's own."""
    settings = {"box": None, "padding": (0, 2, 0, 0), "pad_edge": False, "show_header": show_header}
    quick, plain = Quick("NAME", "AGE", show_header=show_header), Table(**settings)  # type: ignore[arg-type]
    for table in (quick, plain):
        for head in ("NAME", "AGE"):
            table.add_column(head, overflow="fold")
        for row in (("web", "3 mins ago"), ("日本", ""), ("embeddings", "now")):
            table.add_row(*map(Text, row))
    return quick, plain


@pytest.mark.parametrize("width", [1000, 22, 21, 12])
@pytest.mark.parametrize("show_header", [True, False])
def test_the_quick_way_draws_what_the_slow_one_draws(width: int, show_header: bool) -> None:
    quick, plain = tables(show_header)
    assert lines(quick, width) == lines(plain, width)


def test_cells_of_several_lines_are_left_to_the_slow_way() -> None:
    quick, plain = tables()
    for table in (quick, plain):
        table.add_row(Text("a\nb"), Text("c"))
    assert lines(quick) == lines(plain)
    assert len(lines(quick)) == 6
