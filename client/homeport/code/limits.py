"""Too much code: said before any of it is read, with what takes the room and what to do."""

from collections import Counter
from collections.abc import Mapping

from homeport_protos.code import MAX_BYTES, MAX_ENTRIES

from homeport.code.survey import Item
from homeport.code.words import NO_CODE, SHOWN, shown, size
from homeport.errors import Invalid

WAY_OUT = f"name what is not needed in .gitignore, or {NO_CODE} to send none"


def check(root: str, items: Mapping[str, Item]) -> None:
    """Raises Invalid. `items` by their place in the container, `root` is what to call the folder."""
    if len(items) > MAX_ENTRIES:
        folders = Counter(_folder(root, item) for item in items.values())
        raise Invalid(
            f"{shown(root)} has {len(items)} files, the limit is {MAX_ENTRIES}: {WAY_OUT}. Most of them are in",
            [f"  {count:>8}  {shown(folder)}" for folder, count in folders.most_common(SHOWN)],
        )
    total = sum(item.size for item in items.values())
    if total > MAX_BYTES:
        largest = sorted(items.values(), key=lambda item: (-item.size, item.path))[:SHOWN]
        raise Invalid(
            f"{shown(root)} has {size(total)} in {len(items)} files, the limit is {size(MAX_BYTES)}: {WAY_OUT}. "
            "The largest are",
            [f"  {size(item.size):>8}  {shown(item.path)}" for item in largest],
        )


def _folder(root: str, item: Item) -> str:
    """The first two folders on its way: fine enough to tell `a/node_modules`, coarse enough to count."""
    parts = item.path.split("/")[:-1]
    return "/".join(parts[:2]) + "/" if parts else root
