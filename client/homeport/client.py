"""The client that waits: the operations as methods, done with gRPC in the thread that calls them.

What a method does stands in `operations`. Any thread may call, and Ctrl-C ends any of the waits. What it does not cover: the
same for asyncio (`aio`).
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
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


def done(operation: Callable[Given, Steps[Result]]) -> Callable[Concatenate["Client", Given], Result]:
    """A method that does all steps of the operation, and returns its result."""

    def method(self: "Client", /, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        return self._done(operation(*args, **kwargs))

    return as_method(method, operation)


def read(
    operation: Callable[Given, Stream[Item]],
) -> Callable[Concatenate["Client", Given], Generator[Item, None, None]]:
    """A method whose stream is opened when its first item is asked for."""

    def method(self: "Client", /, *args: Given.args, **kwargs: Given.kwargs) -> Generator[Item, None, None]:
        return self._read(operation(*args, **kwargs))

    return as_method(method, operation, Iterator)


class Client:
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
        try:
            self._channel = grpc.secure_channel(self._peer.server, self._peer.credentials, options=wire.OPTIONS)
        except ValueError:
            raise wire.bad_ca() from None

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

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _done(self, steps: Steps[Result]) -> Result:
        answer: Any = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                result: Result = end.value
                return result
            answer = self._do(step)

    def _do(self, step: Step) -> Any:
        match step:
            case Call(method, request):
                return self._call(method, request)
            case Upload(pieces, deadline_s):
                return self._upload(iter(pieces), deadline_s)
            case Blocking(work):
                return work()
            case Until(stream, look):
                with contextlib.closing(self._read(stream)) as items:
                    for item in items:
                        if (found := look(item)) is not None:
                            return found
                raise wire.ended_early(stream.method)

    def _call(self, method: Method[Any, Any], request: Any) -> Any:
        call = self._channel.unary_unary(method.path, method.ask.SerializeToString, method.answer.FromString)
        try:
            return call(request, timeout=self._deadline_s, metadata=self._peer.metadata)
        except grpc.RpcError as error:
            raise self._peer.failure(error, self._deadline_s) from None

    def _read(self, stream: Stream[Item]) -> Generator[Item, None, None]:
        patience = Patience(stream, self._peer.server)
        wait_s: float | None = 0.0
        while wait_s is not None:
            time.sleep(wait_s)
            end: Error | None = None
            opened = self._open(stream.method, stream.request(), patience.opening_s())
            try:
                for answer in opened:
                    patience.heard()
                    yield from stream.read(answer)
            except Error as error:
                end = error
            finally:
                opened.close()
            wait_s = patience.ended(end)

    def _open(self, method: Method[Any, Any], request: Any, deadline_s: float) -> Generator[Any, None, None]:
        open_stream = self._channel.unary_stream(method.path, method.ask.SerializeToString, method.answer.FromString)
        call = open_stream(request, timeout=deadline_s, metadata=self._peer.metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._peer.failure(error, deadline_s) from None
        except RuntimeError as error:
            # A Ctrl-C in the very moment in which gRPC takes its lock: leaving the lock fails over it.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        finally:
            call.cancel()

    def _upload(self, pieces: Iterator[UploadCodeRequest], deadline_s: float) -> None:
        """Send them as fast as the server takes them. What `pieces` raises ends the upload and is raised here."""
        trouble: list[Exception] = []
        is_open = threading.Event()

        def watched() -> Iterator[UploadCodeRequest]:
            """In a thread of gRPC's: an exception that left here would be printed by it, and an end would look whole."""
            try:
                yield from pieces
            except Exception as error:  # raised below, where the caller is
                trouble.append(error)
                if is_open.wait(wire.CALL_DEADLINE_S):
                    call.cancel()

        method = methods.UPLOAD_CODE
        open_stream = self._channel.stream_unary(method.path, method.ask.SerializeToString, method.answer.FromString)
        call = open_stream.future(watched(), timeout=deadline_s, metadata=self._peer.metadata)
        is_open.set()
        try:
            call.result()
        except grpc.RpcError as error:
            raise trouble[0] if trouble else self._peer.failure(error, deadline_s) from None
        except grpc.FutureCancelledError as error:  # by us
            raise trouble[0] if trouble else error from None
        finally:
            call.cancel()
