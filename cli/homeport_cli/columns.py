"""Which columns of a table a narrow terminal gets: whole columns go before words are cut in two. Pure."""

from collections.abc import Sequence

from rich.text import Text

GAP = 2  # between two columns


def kept(heads: Sequence[str], rows: Sequence[Sequence[Text]], width: int, spare: Sequence[str]) -> list[int]:
    """The places of the columns to show; those of `spare` go in its order until the rest fits `width`, or none is left."""
    places = list(range(len(heads)))
    for head in (*spare, ""):
        needed = sum(max([len(heads[place]), *(row[place].cell_len for row in rows)]) for place in places)
        if needed + GAP * (len(places) - 1) <= width:
            break
        places = [place for place in places if heads[place] != head or not head]
    return places
