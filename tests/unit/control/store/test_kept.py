"""store/kept: one value per row that stays the same, another for one that differs."""

import pytest
from homeport_control.store import kept
from homeport_control.store.kept import Kept


def test_the_same_row_gives_the_very_same_value_and_another_row_another() -> None:
    made: list[tuple[object, ...]] = []

    def make(row: tuple[object, ...]) -> list[object]:
        made.append(row)
        return list(row)

    known = Kept(make)
    first = known.of("a", ("a", 1))
    assert known.of("a", ("a", 1)) is first
    assert known.of("b", ("b", 1)) == ["b", 1]
    assert known.of("a", ("a", 2)) == ["a", 2]
    assert known.of("a", ("a", 1)) == ["a", 1]
    assert len(made) == 4


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST", 3)
    known = Kept(list)
    for number in range(10):
        assert known.of(number, (number,)) == [number]
        assert len(known._known) <= 3
