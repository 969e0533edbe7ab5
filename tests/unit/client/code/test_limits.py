import pytest
from homeport.code import limits
from homeport.code.survey import Item
from homeport.errors import Invalid
from homeport_protos.code import MAX_BYTES, MAX_ENTRIES


def test_as_much_as_is_allowed_passes() -> None:
    limits.check("/p", {str(number): Item("", str(number), size=4000) for number in range(MAX_ENTRIES)})


def test_too_much_lists_the_largest_with_their_sizes_and_says_what_to_do() -> None:
    items = {f"{number}": Item("", f"data/{number}.bin", size=number * 10_000_000) for number in range(8)}
    with pytest.raises(Invalid) as caught:
        limits.check("/p", items)
    said = "/p has 280MB in 8 files, the limit is 200MB: name what is not needed in .gitignore, or pass --no-repo"
    assert str(caught.value).startswith(said)
    assert [line.split() for line in caught.value.details] == [
        [f"{number}0MB", f"data/{number}.bin"] for number in (7, 6, 5, 4, 3)
    ]


def test_one_byte_too_much_is_too_much() -> None:
    with pytest.raises(Invalid):
        limits.check("/p", {"a": Item("", "a", size=MAX_BYTES), "b": Item("", "b", size=1)})


def test_too_many_files_lists_the_folders_that_have_most() -> None:
    paths = [f"web/node_modules/x/{number}" for number in range(MAX_ENTRIES)] + ["src/a", "src/b", "top"]
    with pytest.raises(Invalid, match=r"/p has 50003 files, the limit is 50000: .*\.gitignore.*--no-repo") as caught:
        limits.check("/p", {path: Item("", path) for path in paths})
    assert [line.split() for line in caught.value.details] == [
        ["50000", "web/node_modules/"], ["2", "src/"], ["1", "/p"],
    ]  # fmt: skip
