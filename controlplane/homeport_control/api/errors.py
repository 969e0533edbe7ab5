"""Errors as gRPC statuses: one place, so that every method answers alike. A bug is INTERNAL and logged, never shown."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import structlog
from homeport_protos.text import one_line

from homeport_control.api.auth import Caller, Callers, Metadata, Unauthenticated, caller_of
from homeport_control.domain.errors import BadRequest, Conflict, Denied, HomeportError, NotFound, NotLeading, NotReady
from homeport_control.store.changes import Subscription
from homeport_control.store.connect import Database
from homeport_control.trust.guesses import TooManyGuesses

CHECK_AGAIN_S = 15.0

log = structlog.get_logger()
Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Any, Any]

_CODES: tuple[tuple[type[HomeportError], grpc.StatusCode], ...] = (
    (TooManyGuesses, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (Denied, grpc.StatusCode.PERMISSION_DENIED),
    (BadRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Conflict, grpc.StatusCode.ABORTED),
    (NotReady, grpc.StatusCode.FAILED_PRECONDITION),
    (NotLeading, grpc.StatusCode.UNAVAILABLE),
)


def code_of(error: HomeportError) -> grpc.StatusCode:
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.FAILED_PRECONDITION)


async def answer(callers: Callers, context: Context, method: Callable[[Caller], Awaitable[Response]]) -> Response:
    """Authenticate, run a unary method, turn its errors into statuses."""
    try:
        return await method(await callers.of(context))
    except HomeportError as error:
        await context.abort(code_of(error), one_line(str(error)))
    except Exception:
        log.exception("the API failed")
        await context.abort(grpc.StatusCode.INTERNAL, "the server failed at this; its log says why")


async def stream(
    callers: Callers, context: Context, method: Callable[[Caller], AsyncGenerator[Response, None]]
) -> AsyncIterator[Response]:
    """The same for a server stream, which ends when its token is not valid any more."""
    database, metadata = callers.database, context.invocation_metadata()
    queue: asyncio.Queue[Response | _Ended] = asyncio.Queue(1)  # a slow reader holds the method back

    async def pump() -> None:
        try:
            async with aclosing(method(caller)) as responses:
                async for response in responses:
                    await queue.put(response)
        except Exception as error:  # raised again where the reader is
            await queue.put(_Ended(error))
        else:
            await queue.put(_Ended(None))

    try:
        with database.changes.subscribe("tokens") as subscription:  # before the look, so that no revocation is missed
            caller = await callers.of(context)
            tasks = [
                asyncio.create_task(pump()),
                asyncio.create_task(_until_invalid(database, metadata, subscription, queue)),
            ]
            try:
                while not isinstance(item := await queue.get(), _Ended):
                    yield item
            finally:  # no TaskGroup: it would wrap the GeneratorExit of a reader that goes away
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if item.error is not None:
            raise item.error
    except HomeportError as error:
        await context.abort(code_of(error), one_line(str(error)))
    except Exception:
        log.exception("the API failed")
        await context.abort(grpc.StatusCode.INTERNAL, "the server failed at this; its log says why")


@dataclass(frozen=True, slots=True)
class _Ended:
    error: Exception | None


async def _until_invalid(
    database: Database, metadata: Metadata, subscription: Subscription, queue: "asyncio.Queue[Any]"
) -> None:
    """Look again after each change of tokens, and now and then: they expire, and another process may revoke them."""
    while True:
        await subscription.wait(CHECK_AGAIN_S)
        try:
            await caller_of(database, metadata)
        except NotReady:
            continue  # the database is away; that says nothing of the token
        except Denied as error:
            await queue.put(_Ended(error))
            return
