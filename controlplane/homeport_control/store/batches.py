"""Small writes that come together, in one transaction: a commit waits for the disk, and a thousand agents report at once.

Written together is what together.py takes, in the order in which it came. Each call returns when its own part is committed.
When one part of a batch fails, nothing of the batch is kept and each is tried again in a transaction of its own: so nobody
fails for another.

Parts must not rest on each other, nor on what is not in the database: one may run twice, the first time for nothing.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from homeport_control.store.connect import Database, Write
from homeport_control.store.together import Together, Waiting

T = TypeVar("T")


def once_each(items: Iterable[T], of: Callable[[T], Hashable]) -> Iterator[list[T]]:
    """All of them in order, in rounds in which each object (`of` an item) has one at the most: for `Batches` whose statements
    say one thing of each."""
    left = list(items)
    while left:
        some: dict[Hashable, T] = {}
        rest = [it for it in left if some.setdefault(of(it), it) is not it]
        yield list(some.values())
        left = rest


class Batches(Generic[T]):
    """`add` from any task. Its bound is that of its callers: each waits for its part.

    `write_all` writes several parts in a transaction.
    """

    def __init__(self, database: Database, write_all: Callable[[Write, Sequence[T]], Awaitable[None]]) -> None:
        self._database = database
        self._write_all = write_all
        self._together: Together[T, None] = Together(self._batch)

    async def add(self, item: T) -> None:
        """Returns when it is committed. Raises what writing it raises, and NotReady."""
        await self._together.add(item)

    async def _batch(self) -> None:
        taken: list[Waiting[T, None]] = []
        try:
            async with self._database.write() as write:
                taken = self._together.take()
                await self._write_all(write, [it.item for it in taken])
        except Exception as error:
            if not taken:  # the database cannot be used at all
                for it in self._together.take():
                    it.fail(error)
            elif len(taken) == 1:
                taken[0].fail(error)
            else:
                await self._singly(taken)
        else:
            for it in taken:
                it.succeed(None)

    async def _singly(self, taken: list[Waiting[T, None]]) -> None:
        for it in taken:
            try:
                async with self._database.write() as write:
                    await self._write_all(write, [it.item])
            except Exception as error:
                it.fail(error)
            else:
                it.succeed(None)
