"""board: what a viewer lacks and no more; hub and streams use nothing else of it."""

from collections.abc import Callable

import pytest
from homeport_control.dashboard.board import Board, Item, Tail


class Drawn:
    """Counts what is drawn."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, kind: str, key: str, cell: object) -> str:
        self.keys.append(key)
        return f"<{kind} id={key}>{cell}</{kind}>"


def put(board: Board, **cells: object) -> bool:
    def compose(html: Callable[[str], str]) -> str:
        return "".join(html(key) for key in cells if not key.startswith("top"))

    return board.put(
        tuple(cells), [Item(key.replace("top_", "top-"), "p", cell) for key, cell in cells.items()], compose
    )


@pytest.fixture
def drawn() -> Drawn:
    return Drawn()


@pytest.fixture
def board(drawn: Drawn) -> Board:
    made = Board("hosts", drawn)
    put(made, top_sum=1, a=1, b=1)
    return made


def test_a_viewer_gets_the_parts_that_changed_since(board: Board, drawn: Drawn) -> None:
    seen = board.version
    assert put(board, top_sum=1, a=2, b=1)
    assert board.since(seen) == "<p id=a>2</p>"
    later = board.version
    assert put(board, top_sum=2, a=2, b=3)
    assert board.since(later) == "<p id=top-sum>2</p><p id=b>3</p>"
    assert board.since(seen) == "<p id=top-sum>2</p><p id=a>2</p><p id=b>3</p>"
    assert drawn.keys == ["top-sum", "a", "b", "a", "top-sum", "b"], "nothing is drawn twice"


def test_what_looks_the_same_is_nothing_new(board: Board) -> None:
    seen = board.version
    assert not put(board, top_sum=1, a=1, b=1)
    assert not put(board, top_sum=1, a=True, b=1)
    assert (board.version, board.since(seen)) == (seen, "")


def test_who_saw_other_parts_gets_all(board: Board) -> None:
    seen = board.version
    assert put(board, top_sum=1, a=1, c=1)
    whole = '<div id="hosts" hx-swap-oob="innerHTML"><p id=a>1</p><p id=c>1</p></div><p id=top-sum>1</p>'
    assert board.since(seen) == board.since(-1) == whole
    assert board.inside() == "<p id=a>1</p><p id=c>1</p>"


def test_a_board_is_filled_when_it_was_put_to_even_if_that_was_nothing(drawn: Drawn) -> None:
    board = Board("hosts", drawn)
    assert not board.is_filled
    put(board)
    assert (board.is_filled, board.version) == (True, 1)


def test_a_tail_gives_what_came_since() -> None:
    tail = Tail("lines", 3)
    tail.add(["1", "2"])
    seen = tail.version
    tail.add(["3"])
    assert tail.since(seen) == '<div hx-swap-oob="beforeend:#lines">3</div>'
    assert tail.since(tail.version) == ""
    tail.add(["4", "5", "6"])
    assert tail.inside() == "456"
    assert tail.since(-1) == '<div id="lines" hx-swap-oob="innerHTML">456</div>'
    tail.add(["7"])
    assert tail.since(seen) == '<div id="lines" hx-swap-oob="innerHTML">567</div>', "some were lost: all that is left"


def test_the_newest_may_stand_first() -> None:
    tail = Tail("events", 9, at_begin=True)
    tail.add(["1", "2"])
    seen = tail.version
    tail.add(["3", "4"])
    assert tail.inside() == "4321"
    assert tail.since(seen) == '<div hx-swap-oob="afterbegin:#events">43</div>'


def test_a_tail_that_is_read_anew_is_given_whole() -> None:
    tail = Tail("lines", 9)
    tail.add(["1"])
    seen = tail.version
    tail.reset()
    tail.add(["a"])
    assert tail.since(seen) == '<div id="lines" hx-swap-oob="innerHTML">a</div>'
