"""Where an Envoy that cannot reach the server gets what it lacks: the last configuration, over a Unix socket of its own.

Envoy dials the server first and comes here only when that fails (bootstrap). The one rule: it gets what it holds nothing of,
and nothing that it holds is ever changed or taken away. An Envoy that starts gets everything; one that runs gets a
certificate that a caller asks for by name; then whatever the server says when it is back differs from what is held only
where something changed. While the server is there nobody is served here.

Does not cover how the last configuration comes to this host (last_keeper).
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
from homeport_protos.agent.v1 import discovery_pb2

from homeport_agent.envoy import last_world
from homeport_agent.envoy.bootstrap import STANDBY_SOCKET, Identity, Server
from homeport_agent.envoy.last_keeper import CLUSTERS, LISTENERS, METHOD, LastKeeper
from homeport_agent.envoy.last_world import LastWorld

_ALL_AT_ONCE = frozenset({LISTENERS, CLUSTERS})  # Envoy asks for all of them; for others by name
LOOK_AGAIN_S = 10.0  # a stream's life: then Envoy dials the server again, whatever is known of it here

log = logging.getLogger("homeport.agent")


class Standby:
    """`run` until cancelled: keeps the last configuration, and gives it away when it is needed."""

    def __init__(self, run_dir: Path, gateway: str) -> None:
        self._run_dir = run_dir
        self._gateway = gateway
        self._keeper = LastKeeper(run_dir, gateway, self._on_server)
        self._server_is_there = asyncio.Event()

    async def run(self, identity: Callable[[], Identity], server: Callable[[], Server]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keeper.run(identity, server))
            await self._serve()

    def _on_server(self, there: bool) -> None:
        if there:
            self._server_is_there.set()
        else:
            self._server_is_there.clear()

    async def _serve(self) -> None:
        self._run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        socket = self._run_dir / STANDBY_SOCKET
        socket.unlink(missing_ok=True)
        service, _, method = METHOD[1:].partition("/")
        handler = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=discovery_pb2.DeltaRequest.FromString,
            response_serializer=discovery_pb2.DeltaResponse.SerializeToString,
        )
        serving = grpc.aio.server()
        serving.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        try:
            serving.add_insecure_port(f"unix:{socket}")
        except RuntimeError:  # its path is too long, which keeps Envoy from running too (host)
            log.warning("gateway %s: %s cannot be opened", self._gateway, socket)
            await asyncio.Event().wait()
        starting = asyncio.ensure_future(serving.start())  # cut short it would serve on, and could not be stopped
        try:
            await asyncio.shield(starting)
            await serving.wait_for_termination()
        finally:
            await starting
            await serving.stop(None)

    async def _stream(self, requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if self._server_is_there.is_set():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is there: ask it")
        world, wrong = await asyncio.to_thread(last_world.read, self._run_dir)
        for sentence in wrong:
            log.warning("gateway %s: %s", self._gateway, sentence)
        if not world:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no last configuration is kept")
        async with asyncio.TaskGroup() as tasks:
            answering = tasks.create_task(self._answer(world, requests, context))
            back = tasks.create_task(self._server_is_there.wait())
            await asyncio.wait((answering, back), timeout=LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
            answering.cancel()
            back.cancel()

    async def _answer(self, world: LastWorld, requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        async for response in answers(world, requests, self._note):
            await context.write(response)

    def _note(self, sentence: str) -> None:
        log.warning("gateway %s: %s", self._gateway, sentence)


async def answers(
    world: LastWorld, requests: Any, note: Callable[[str], None]
) -> AsyncIterator[discovery_pb2.DeltaResponse]:
    """What one Envoy is given on one stream."""
    seen: set[str] = set()  # types
    count = 0
    async for request in requests:
        first = request.type_url not in seen
        seen.add(request.type_url)
        if request.HasField("error"):
            note(f"Envoy refuses its last configuration: {request.error.message}")
        held = request.initial_versions
        kept = world.of(request.type_url)
        if first and request.type_url in _ALL_AT_ONCE and not request.subscribe:
            if held:
                continue
            if request.type_url == CLUSTERS:
                note(f"the server is away: its Envoy starts with the configuration of {_when(world)}")
            names = tuple(kept)
        else:
            names = tuple(name for name in request.subscribe if not (first and name in held))
        if not names and not (first and request.type_url in _ALL_AT_ONCE):
            continue
        count += 1
        yield discovery_pb2.DeltaResponse(
            type_url=request.type_url,
            nonce=str(count),
            resources=[kept[name] for name in names if name in kept],
            removed=[name for name in names if name not in kept],
        )


def _when(world: LastWorld) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(world.saved_at_s))
