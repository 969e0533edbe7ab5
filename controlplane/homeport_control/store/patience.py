"""Connections whose statements are waited for to their end, also when who waits is cancelled meanwhile.

A client that goes away cancels its call at any await. SQLAlchemy answers a cancelled statement by throwing the connection
away while aiosqlite's thread still runs it: the transaction that it had begun would hold the one write lock for as long
as the process lives. So the cancellation waits until the statement is done, and goes on then.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import CursorResult
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """The result of the work. Raises CancelledError only after the work is done; its own error is lost then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():  # bounded by the statement, which is bounded by the busy or the command timeout
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, so that it is not reported as forgotten
        raise


class PatientConnection(AsyncConnection):
    """`scalar` and `scalars` go through `execute`. Results are whole: reading them does not wait."""

    __slots__ = ()

    async def start(self, is_ctxmanager: bool = False) -> AsyncConnection:
        try:
            return await finished(super().start(is_ctxmanager))
        except asyncio.CancelledError:
            if self.sync_connection is not None:  # it was opened meanwhile, and nobody else will give it back
                await finished(self.close())
            raise

    async def execute(self, *arguments: Any, **named: Any) -> CursorResult[Any]:
        return await finished(super().execute(*arguments, **named))

    async def exec_driver_sql(self, *arguments: Any, **named: Any) -> CursorResult[Any]:
        return await finished(super().exec_driver_sql(*arguments, **named))

    async def commit(self) -> None:
        await finished(super().commit())

    async def rollback(self) -> None:
        await finished(super().rollback())
