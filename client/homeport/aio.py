"""The client for asyncio: the operations as coroutines and asynchronous iterators, done with grpc.aio.

What a method does stands in `operations`. What it does not cover: the same for threads (`client`).
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self

import grpc
from homeport_protos.api.v1.api_pb2 import UploadCodeRequest

from homeport import methods, wire
from homeport.errors import Error
from homeport.methods import Method
from homeport.operations import access, as_method, deploy, machines, output, publishing, running
from homeport.patience import Patience
from homeport.steps import Blocking, Call, Item, Result, Step, Steps, Stream, Until, Upload

Given = ParamSpec("Given")
Awaited = Coroutine[Any, Any, Result]


def done(operation: Callable[Given, Steps[Result]]) -> Callable[Concatenate["AsyncClient", Given], Awaited[Result]]:
    """A method that does all steps of the operation, and returns its result."""

    async def method(self: "AsyncClient", /, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        return await self._done(operation(*args, **kwargs))

    return as_method(method, operation)


def read(
    operation: Callable[Given, Stream[Item]],
) -> Callable[Concatenate["AsyncClient", Given], AsyncGenerator[Item, None]]:
    """A method whose stream is opened when its first item is asked for."""

    def method(self: "AsyncClient", /, *args: Given.args, **kwargs: Given.kwargs) -> AsyncGenerator[Item, None]:
        return self._read(operation(*args, **kwargs))

    return as_method(method, operation, AsyncIterator)


class AsyncClient:
    """A Homeport server. Use it as a context manager, or `close` it; each method raises homeport.Error."""

    def __init__(
        self,
        server: str | None = None,
        *,
        token: str | None = None,
        ca: str | os.PathLike[str] | None = None,
        deadline_s: float = wire.CALL_DEADLINE_S,
    ) -> None:
        """`server`: HOST or HOST:PORT. `ca`: a file, or the PEM itself. What is not given is that of `homeport login`.

        `deadline_s`: of each call that is no stream. Nothing is sent yet. Raises Unauthenticated: there is no login.
        """
        self._peer = wire.Peer(server, token, ca)
        self._deadline_s = deadline_s
        self._made: grpc.aio.Channel | None = None  # with the first call: it belongs to the loop that is running then

    server = done(machines.server)

    prepare = done(deploy.prepare)
    plan = done(deploy.plan)
    upload = done(deploy.upload)
    submit = done(deploy.submit)
    apply = done(deploy.apply)

    runs = done(running.runs)
    run = done(running.run)
    watch_runs = read(running.watch_runs)
    stop = done(running.stop)
    plan_rollback = done(running.plan_rollback)
    rollback = done(running.rollback)
    scale = done(running.scale)
    offers = done(running.offers)
    list_offers = done(running.list_offers)

    logs = read(output.logs)
    read_logs = read(output.read_logs)
    events = read(output.events)
    read_events = read(output.read_events)
    metrics = done(output.metrics)
    watch_metrics = read(output.watch_metrics)
    usage = done(output.usage)

    hosts = done(machines.hosts)
    watch_hosts = read(machines.watch_hosts)
    drain = done(machines.drain)
    undrain = done(machines.undrain)
    delete_host = done(machines.delete_host)
    upgrade_hosts = done(machines.upgrade_hosts)
    create_join_token = done(machines.create_join_token)
    plan_fleet = done(machines.plan_fleet)
    apply_fleet = done(machines.apply_fleet)
    report_registration = done(machines.report_registration)
    delete_fleet = done(machines.delete_fleet)

    gateways = done(publishing.gateways)
    watch_gateways = read(publishing.watch_gateways)
    plan_gateway = done(publishing.plan_gateway)
    apply_gateway = done(publishing.apply_gateway)
    delete_gateway = done(publishing.delete_gateway)
    gateway_ca = done(publishing.gateway_ca)
    set_default_gateway = done(publishing.set_default_gateway)

    tokens = done(access.tokens)
    create_token = done(access.create_token)
    revoke_token = done(access.revoke_token)
    users = done(access.users)
    create_user = done(access.create_user)
    delete_user = done(access.delete_user)

    async def close(self) -> None:
        if self._made is not None:
            await self._made.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def _channel(self) -> grpc.aio.Channel:
        if self._made is None:
            try:
                self._made = grpc.aio.secure_channel(self._peer.server, self._peer.credentials, options=wire.OPTIONS)
            except ValueError:
                raise wire.bad_ca() from None
        return self._made

    async def _done(self, steps: Steps[Result]) -> Result:
        answer: Any = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                result: Result = end.value
                return result
            answer = await self._do(step)

    async def _do(self, step: Step) -> Any:
        match step:
            case Call(method, request):
                return await self._call(method, request)
            case Upload(pieces, deadline_s):
                return await self._upload(iter(pieces), deadline_s)
            case Blocking(work):
                return await asyncio.to_thread(work)
            case Until(stream, look):
                async with contextlib.aclosing(self._read(stream)) as items:
                    async for item in items:
                        if (found := look(item)) is not None:
                            return found
                raise wire.ended_early(stream.method)

    async def _call(self, method: Method[Any, Any], request: Any) -> Any:
        call = self._channel.unary_unary(method.path, method.ask.SerializeToString, method.answer.FromString)
        try:
            return await call(request, timeout=self._deadline_s, metadata=self._peer.metadata)
        except grpc.RpcError as error:
            raise self._peer.failure(error, self._deadline_s) from None

    async def _read(self, stream: Stream[Item]) -> AsyncGenerator[Item, None]:
        patience = Patience(stream, self._peer.server)
        method = stream.method
        wait_s: float | None = 0.0
        while wait_s is not None:
            await asyncio.sleep(wait_s)
            end: Error | None = None
            deadline_s = patience.opening_s()
            open_stream = self._channel.unary_stream(
                method.path, method.ask.SerializeToString, method.answer.FromString
            )
            call = open_stream(stream.request(), timeout=deadline_s, metadata=self._peer.metadata)
            try:
                async for answer in call:
                    patience.heard()
                    for item in stream.read(answer):
                        yield item
            except grpc.RpcError as error:
                end = self._peer.failure(error, deadline_s)
            finally:
                call.cancel()
            wait_s = patience.ended(end)

    async def _upload(self, pieces: Iterator[UploadCodeRequest], deadline_s: float) -> None:
        """Send them as fast as the server takes them. What `pieces` raises ends the upload and is raised here."""
        method = methods.UPLOAD_CODE
        open_stream = self._channel.stream_unary(method.path, method.ask.SerializeToString, method.answer.FromString)
        call = open_stream(timeout=deadline_s, metadata=self._peer.metadata)
        try:
            async with asyncio.timeout(deadline_s):  # of reading too: the call's own is of sending
                while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                    try:
                        await call.write(piece)
                    except asyncio.InvalidStateError:  # the server ended it: why stands in the status
                        break
                await call.done_writing()
                await call
        except TimeoutError:
            raise self._peer.too_slow(deadline_s) from None
        except grpc.RpcError as error:
            raise self._peer.failure(error, deadline_s) from None
        finally:
            call.cancel()
