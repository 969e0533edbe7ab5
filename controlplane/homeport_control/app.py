"""Composition root of the server: what every server runs, whether it leads or not. One TaskGroup, stops in order.

Covers the listeners, the lease and its terms, the way to the leader. What the leader runs: leading.py.
"""

import asyncio
import fcntl
import signal
import socket
import sys
import time
import uuid
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.api.v1 import api_pb2

from homeport_control import __version__, garbage
from homeport_control.api.auth import Callers
from homeport_control.api.gate import Gate
from homeport_control.api.tokens import create_join
from homeport_control.api.users import first_admin, new_admin_token
from homeport_control.dashboard.site import Site
from homeport_control.domain.errors import Conflict, HomeportError, NotLeading, NotReady
from homeport_control.domain.leadership import Standing
from homeport_control.lag import Lag
from homeport_control.leading import Leading, Premises
from homeport_control.listeners import MAX_API_MESSAGE_BYTES, grpc_server, kept_key, web_server
from homeport_control.logs import configure_logs
from homeport_control.loops.lease import LeaseKeeper
from homeport_control.metrics.page import CONTENT_TYPE
from homeport_control.metrics.process import ApiCalls, Counting
from homeport_control.opening import Opened, opened
from homeport_control.relay.door import Door
from homeport_control.relay.forward import Forward
from homeport_control.relay.inside import Inside
from homeport_control.relay.leader import LeaderChannel
from homeport_control.rest.endpoint import Rest
from homeport_control.settings import ServerSettings
from homeport_control.store import meta
from homeport_control.store.code import CodeStore
from homeport_control.store.code_copies import CodeCopies
from homeport_control.store.leadership import fence
from homeport_control.web.downloads import add_bundle as keep_bundle
from homeport_control.web.downloads import collect
from homeport_control.web.metrics import Metrics
from homeport_control.web.server import web_app

STOP_GRACE_S = 2.0
# After which a thread that works lets the event loop go on, which waits for it each time that it has been asleep. With
# Python's 5 ms a read of the database takes twice as long (p95 16 to 24 ms, 9 to 13 now) while a thread plans for 1,000 hosts.
SWITCH_S = 0.001
COPY_EVERY_S = 5.0
LEAD_AGAIN_S = 0.5  # after a term whose beginning failed: the database went away in it
# What comes in at the API's port. Other servers pass it on to the link port of the leader, and nobody else may there.
API_METHODS = tuple(
    f"/{service.full_name}/"
    for service in (api_pb2.DESCRIPTOR.services_by_name["Api"], agent_pb2.DESCRIPTOR.services_by_name["Enrollment"])
)
log = structlog.get_logger()


async def initialise(settings: ServerSettings) -> dict[str, str]:
    """Everything that a server needs before its first start. The admin token is in the answer of the first time only."""
    async with opened(settings) as state:
        answer = {
            "server": f"{settings.bind}:{settings.api_port}",
            "ca": str(settings.state_dir / "ca.pem"),
            "ca_sha256": state.ca.sha256,
        }
        async with state.database.write() as write:
            first = uuid.uuid4().hex[:12]
            if await meta.put_once(write, "first_admin_token", first) == first:
                answer["token"] = await first_admin(write, time.time())
        return answer


async def join_token(settings: ServerSettings, fleet: str, ttl_s: float, *, one_use: bool) -> str:
    async with opened(settings) as state:
        return (await create_join(state.database, state.ca.sha256, fleet, ttl_s, one_use=one_use)).token


async def add_bundle(settings: ServerSettings, file: Path) -> str:
    """Serve a bundle of `homeport bundle` to all hosts; a running server does so at once. Returns its build."""
    downloads = await asyncio.to_thread(collect, __version__, settings.state_dir, settings.link_port)
    await asyncio.to_thread(keep_bundle, file, settings.state_dir, downloads.build)
    return downloads.build


async def admin_token(settings: ServerSettings) -> str:
    """A new token of an admin, when all were lost. Whoever may read the state directory may do this."""
    async with opened(settings) as state:
        return await new_admin_token(state.database)


async def run(settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises HomeportError when a port or the state directory is taken."""
    configure_logs()
    sys.setswitchinterval(SWITCH_S)
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with only_server(settings.state_dir):
        async with opened(settings) as state:
            try:
                await _serve(settings, state)
            except ExceptionGroup as group:  # of the TaskGroup: a user reads one line
                if (ours := group.subgroup(HomeportError)) is not None and len(group.exceptions) == 1:
                    raise _first(ours) from None
                raise


async def _serve(settings: ServerSettings, state: Opened) -> None:
    downloads = await asyncio.to_thread(collect, __version__, settings.state_dir, settings.link_port)
    addresses = () if settings.bind in {"0.0.0.0", "::"} else (settings.bind,)  # noqa: S104
    pair = state.ca.server_pair(addresses, kept_key(settings.state_dir))
    leader = LeaderChannel(state.ca.pem, pair)
    name = settings.name or socket.gethostname()
    forward = Forward(leader, name)
    api_door, link_door = Door(forward, _is_api), Door(forward, lambda method: not _is_api(method), _is_api)
    callers, calls = Callers(state.database), ApiCalls()
    api = grpc_server(
        settings.bind,
        settings.api_port,
        pair,
        max_message_bytes=MAX_API_MESSAGE_BYTES,
        interceptors=[calls, Gate(callers)],
    )
    api.add_generic_rpc_handlers((api_door,))
    passed_on = Counting(calls, _is_api)  # what other servers, REST and pages ask
    link = grpc_server(settings.bind, settings.link_port, pair, client_ca=state.ca.pem, interceptors=[passed_on])
    link.add_generic_rpc_handlers((link_door,))
    late = Lag()
    numbers = Metrics(callers.check_metrics_reader, CONTENT_TYPE)
    premises = Premises(settings, state, downloads, pair, link_door, api_door, callers, calls, late, numbers)
    terms = Terms(premises, leader)
    inside = Inside(leader, name)
    rest = Rest(inside, callers, __version__, most_bytes=MAX_API_MESSAGE_BYTES)
    site = Site(inside, state.sealer)
    pages = web_app(state.ca.pem, downloads, terms.why_not, [numbers.route, *rest.routes, *site.routes])
    web = web_server(pages, settings.bind, settings.web_port, pair, settings.state_dir)
    stopping = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stopping.set)
    async with asyncio.TaskGroup() as group:
        hearing = group.create_task(state.database.listen(), name="changes")
        leading = group.create_task(terms.run(), name="terms")
        await _first_of(terms.known.wait(), stopping.wait())
        await api.start()
        await link.start()
        beside = [
            group.create_task(late.run(), name="lag"),
            group.create_task(garbage.run(), name="garbage"),
            group.create_task(site.run(), name="dashboard"),
        ]
        serving = group.create_task(web.serve(), name="web")
        log.info("serving", api=settings.api_port, link=settings.link_port, gateway=settings.gateway_port)
        await stopping.wait()
        log.info("stopping: replicas and gateways go on without the server")
        web.should_exit = True
        await asyncio.gather(api.stop(STOP_GRACE_S), link.stop(STOP_GRACE_S), serving)
        terms.end()
        await leading
        hearing.cancel()
        for task in beside:
            task.cancel()
        await leader.close()


class Terms:
    """Follows what the lease says: leads while it may. `run` until `end`."""

    def __init__(self, premises: Premises, leader: LeaderChannel) -> None:
        settings, database = premises.settings, premises.state.database
        self.known = asyncio.Event()  # who leads is, and when it is this server, it does
        self._premises = premises
        self._leader = leader
        self._copies = CodeCopies(database, CodeStore(settings.code))
        self._over = asyncio.Event()
        self._changed = asyncio.Event()
        self._ending = False
        name = settings.name or socket.gethostname()
        self._keeper = LeaseKeeper(database.lease(), name, settings.advertised, self._on_change)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._keeper.run(), name="lease")
            while not self._ending:
                standing = self._keeper.standing
                if standing.leads:
                    await self._lead(standing)
                    continue
                if standing.term:
                    self.known.set()
                await self._follow()
                self._changed.clear()
            self._keeper.end()
            await keeping
        await self._keeper.let_go()

    def why_not(self) -> str:
        """Why calls cannot be answered now; empty: they can."""
        return "" if self._keeper.standing.term else "it is not known who leads"

    def end(self) -> None:
        self._ending = True
        self._over.set()
        self._changed.set()

    async def _follow(self) -> None:
        """Until who leads changes; meanwhile fetch the code that came in elsewhere, so that a change of leader is quick."""
        while not self._changed.is_set():
            with suppress(HomeportError):  # the database is away, or the disk full: it says so when it is to lead
                await _first_of(self._copies.pull(), self._changed.wait())
            await _first_of(self._changed.wait(), asyncio.sleep(COPY_EVERY_S))

    async def _lead(self, standing: Standing) -> None:
        self._over = over = asyncio.Event()
        state = self._premises.state
        if standing.since_s:  # among several
            state = replace(state, database=state.database.fenced(fence(standing.term, self._keeper.lost)))
        try:
            leading = Leading(replace(self._premises, state=state), standing)
            await leading.run(over, self.known.set)
        except NotLeading as error:
            log.warning("the term is over", because=str(error))
        except NotReady as error:
            if not standing.since_s:
                raise  # the only one: whoever started it reads why
            log.error("cannot lead now", because=str(error))
            await asyncio.sleep(LEAD_AGAIN_S)
        if not self._ending and self._keeper.standing == standing:  # seen at a write before the next look
            await _first_of(self._changed.wait(), asyncio.sleep(LEAD_AGAIN_S))

    def _on_change(self, standing: Standing) -> None:
        address = self._premises.settings.own_link if standing.leads else standing.address
        self._leader.is_at(address, standing.term, standing.because)
        self._over.set()
        self._changed.set()


def _is_api(method: str) -> bool:
    return method.startswith(API_METHODS)


def _first(group: "BaseExceptionGroup[HomeportError]") -> HomeportError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _first_of(*waiting: Coroutine[Any, Any, Any]) -> None:
    """Until one of them has ended; raises what it raised. The others are cancelled."""
    tasks = [asyncio.ensure_future(it) for it in waiting]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


@contextmanager
def only_server(state_dir: Path) -> Iterator[None]:
    """Hold the state directory's lock; the kernel lets it go with the process. Raises Conflict when it is held."""
    with (state_dir / "server.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(f"another server runs on {state_dir} already; stop it first or choose --state-dir") from None
        yield
