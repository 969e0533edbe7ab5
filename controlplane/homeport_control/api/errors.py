"""Errors as gRPC statuses: one place, so that every method answers alike. A bug is INTERNAL and logged, never shown."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import grpc
import structlog

from homeport_control.api.auth import Caller, Unauthenticated, caller_of
from homeport_control.domain.errors import BadRequest, Conflict, Denied, HomeportError, NotFound, NotReady
from homeport_control.store.connect import Database

log = structlog.get_logger()
Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Any, Any]

_CODES: tuple[tuple[type[HomeportError], grpc.StatusCode], ...] = (
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (Denied, grpc.StatusCode.PERMISSION_DENIED),
    (BadRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Conflict, grpc.StatusCode.ABORTED),
    (NotReady, grpc.StatusCode.FAILED_PRECONDITION),
)


def code_of(error: HomeportError) -> grpc.StatusCode:
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.FAILED_PRECONDITION)


async def answer(database: Database, context: Context, method: Callable[[Caller], Awaitable[Response]]) -> Response:
    """Authenticate, run a unary method, turn its errors into statuses."""
    try:
        return await method(await caller_of(database, context.invocation_metadata()))
    except HomeportError as error:
        await context.abort(code_of(error), str(error))
    except Exception:
        log.exception("the API failed")
        await context.abort(grpc.StatusCode.INTERNAL, "the server failed at this; its log says why")


async def stream(
    database: Database, context: Context, method: Callable[[Caller], AsyncGenerator[Response, None]]
) -> AsyncIterator[Response]:
    """The same for a server stream."""
    try:
        async with aclosing(method(await caller_of(database, context.invocation_metadata()))) as responses:
            async for response in responses:
                yield response
    except HomeportError as error:
        await context.abort(code_of(error), str(error))
    except Exception:
        log.exception("the API failed")
        await context.abort(grpc.StatusCode.INTERNAL, "the server failed at this; its log says why")
