"""Small reads that come together, as one: what is known as a data loader. A thousand sessions that begin at once ask for the
same few things of a thousand hosts, and a statement for dozens of them takes hardly longer than one for one.

Read together is what together.py takes: what is returned was always read after it was asked for.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from homeport_control.store.together import Together

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Loader(Generic[K, V]):
    """`load_all` reads several in a few statements; of what there is nothing it has no entry."""

    def __init__(self, load_all: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._load_all = load_all
        self._together: Together[tuple[K, ...], Mapping[K, V]] = Together(self._load)

    async def load(self, keys: Iterable[K]) -> Mapping[K, V]:
        """These, and what others asked for. Raises what reading them raises."""
        return await self._together.add(tuple(keys))

    async def _load(self) -> None:
        taken = self._together.take()
        if not taken:
            return
        try:
            found = await self._load_all(tuple(dict.fromkeys(key for it in taken for key in it.item)))
        except Exception as error:
            for it in taken:
                it.fail(error)
        else:
            for it in taken:
                it.succeed(found)
