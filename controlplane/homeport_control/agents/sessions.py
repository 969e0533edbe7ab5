"""Who is connected: one session per host, and what is asked through it: logs and numbers.

Covers what goes out to a connected agent. Does not read from it (server.py does) and decides nothing.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.versions import ACCESS_PROTOCOL, PROTOCOL, UPGRADE_PROTOCOL

from homeport_control.agents import bounds
from homeport_control.agents.convert import usage_from
from homeport_control.domain.errors import NotFound, NotReady
from homeport_control.domain.logs import LogLine, LogQuery
from homeport_control.domain.metrics import ReplicaUsage

OUTGOING_BOUND = 256
PUT_S = 10.0
MAX_GENERATION = 1 << 62  # a column of the database holds one more
MOST_AT_ONCE = 300  # sessions that look at the database, as a net, as often as each would alone
MOST_RARER = 10.0
LOG_CREDIT = 1000  # lines that an agent may send ahead of the reader; then it waits
LOG_LINE_BYTES = 65 * 1024  # an agent cuts them to 64 KiB and says so in the line
LOG_BYTES = 32 << 20  # of lines that wait for the reader; an agent's own are far below, since it sends pieces


class Absent(str):
    """The end of a request for logs that a host does not have."""


@dataclass(slots=True)
class LogStream:
    """Lines of one request. Its bound is the credit that was given; an agent that sends more ends it."""

    queue: asyncio.Queue[list[LogLine] | str] = field(default_factory=asyncio.Queue)  # a str ends it: "" or an error
    credit: int = LOG_CREDIT  # lines that may still come
    waiting_bytes: int = 0  # of lines in the queue


class AgentSession:
    """One connected agent. `outgoing` is drained by the stream's writer."""

    def __init__(self, host_id: str, protocol: int = PROTOCOL) -> None:
        self.host_id = host_id
        self.protocol = protocol  # of its agent
        self.outgoing: asyncio.Queue[agent_pb2.ToAgent] = asyncio.Queue(OUTGOING_BOUND)
        self.replaced = asyncio.Event()  # it is to end: a newer one of the same host took over, or the host was removed
        self.sent_generation = 0  # of the newest assignment; 0: none was sent yet
        self.accepted_generation = 0  # as its agent says
        self.logs: dict[int, LogStream] = {}
        self.usage: dict[int, asyncio.Future[agent_pb2.UsageBatch]] = {}  # asked for, one for each gateway
        self._usage_ids = itertools.count(1)
        # Asked for and not answered yet; None answers that the connection broke.
        self.stats: dict[int, asyncio.Future[tuple[ReplicaUsage, ...] | None]] = {}

    @property
    def is_ahead(self) -> bool:
        """Its agent works by an assignment that this server has not made, and takes none of a lower generation: the
        database is one of before."""
        return 0 < self.sent_generation < self.accepted_generation < MAX_GENERATION

    def log_lines(self, message: agent_pb2.LogLines) -> bool:
        """Whether somebody waits for them, within what was asked for."""
        stream = self.logs.get(message.request_id)
        if stream is None or stream.credit < 0 or not message.lines:
            return False
        stream.credit -= len(message.lines)
        lines = [
            LogLine(line.text[:LOG_LINE_BYTES], bounds.name(line.stream), bounds.name(line.timestamp))
            for line in message.lines
        ]
        stream.waiting_bytes += sum(len(line.text) for line in lines)
        if stream.credit < 0 or stream.waiting_bytes > LOG_BYTES:
            stream.credit = -1
            stream.queue.put_nowait("the host sent more lines than it was asked for; run the command again")
            return False
        stream.queue.put_nowait(lines)
        return True

    def log_end(self, message: agent_pb2.LogEnd) -> None:
        stream = self.logs.get(message.request_id)
        if stream is not None:
            error = bounds.sentence(message.error)
            stream.queue.put_nowait(Absent(error) if message.absent else error)

    def stats_answer(self, message: agent_pb2.Stats) -> None:
        asked = self.stats.get(message.request_id)
        if asked is not None and not asked.done():
            asked.set_result(tuple(map(usage_from, bounds.first(message.replicas, bounds.MOST_REPLICAS))))

    def usage_batch(self, message: agent_pb2.UsageBatch) -> None:
        asked = self.usage.get(message.request_id)
        if asked is not None and not asked.done():
            asked.set_result(message)

    async def usage_after(self, gateway: str, place: str) -> agent_pb2.UsageBatch:
        """What its gateway counted after this place, as soon as there is something. Ends with the session's task."""
        request_id = next(self._usage_ids)
        answer: asyncio.Future[agent_pb2.UsageBatch] = asyncio.get_running_loop().create_future()
        self.usage[request_id] = answer
        request = agent_pb2.UsageRequest(request_id=request_id, after=place, gateway=gateway)
        try:
            await _put(self, agent_pb2.ToAgent(usage_request=request))
            return await answer
        finally:
            del self.usage[request_id]


class Sessions:
    def __init__(self) -> None:
        self._by_host: dict[str, AgentSession] = {}
        self._request_ids = itertools.count(1)

    def open(self, host_id: str, protocol: int = PROTOCOL) -> AgentSession:
        """Register a new session; an older one of the same host is told to go."""
        older = self._by_host.get(host_id)
        if older is not None:
            older.replaced.set()
        session = AgentSession(host_id, protocol)
        self._by_host[host_id] = session
        return session

    def close(self, session: AgentSession) -> bool:
        """Take it out and end its log streams. True when it was the host's newest, so that the host is away now."""
        for stream in session.logs.values():
            stream.queue.put_nowait("the connection to the host broke; run the command again")
        for asked in session.stats.values():
            if not asked.done():
                asked.set_result(None)
        if self._by_host.get(session.host_id) is not session:
            return False
        del self._by_host[session.host_id]
        return True

    def end(self, host_id: str) -> None:
        """Its host was removed: the session ends, and the agent that comes back is told so."""
        if (session := self._by_host.get(host_id)) is not None:
            session.replaced.set()

    def is_connected(self, host_id: str) -> bool:
        return host_id in self._by_host

    def rarer(self) -> float:
        """How many times as long as alone a session waits until it looks, as a net under what it was told, at what it knows
        already: so that all of them together look no more often in a large fleet. 1 to `MOST_RARER`."""
        return min(max(1.0, len(self._by_host) / MOST_AT_ONCE), MOST_RARER)

    def is_newest(self, session: AgentSession) -> bool:
        return self._by_host.get(session.host_id) is session

    async def clear_findings(self, host_id: str, gpu_uuids: Sequence[str], deadline_s: float) -> bool:
        """Have a host look anew at what it found. False: it is not connected, or takes nothing within the deadline."""
        message = agent_pb2.ToAgent(clear_findings=agent_pb2.ClearFindings(gpu_uuids=gpu_uuids))
        return await self._send(host_id, message, deadline_s)

    async def upgrade(self, host_id: str, build: str) -> bool:
        """Have an agent become another build. False: it is not connected, takes nothing, or is too old to hear it."""
        session = self._by_host.get(host_id)
        if session is None or session.protocol < UPGRADE_PROTOCOL:
            return False
        return await self._send(host_id, agent_pb2.ToAgent(upgrade=agent_pb2.Upgrade(build=build)), PUT_S)

    async def _send(self, host_id: str, message: agent_pb2.ToAgent, deadline_s: float) -> bool:
        session = self._by_host.get(host_id)
        if session is None:
            return False
        try:
            async with asyncio.timeout(deadline_s):
                await session.outgoing.put(message)
        except TimeoutError:
            return False
        return True

    async def logs(self, host_id: str, host_name: str, query: LogQuery) -> AsyncGenerator[list[LogLine], None]:
        """Lines as they come, with back-pressure by credit.

        Raises NotReady when the host cannot be asked, NotFound when it has neither a container nor kept logs.
        """
        session = self._by_host.get(host_id)
        if session is None:
            raise NotReady(f"host {host_name} is not connected now, so its logs cannot be read; they stay on the host")
        if query.access and session.protocol < ACCESS_PROTOCOL:
            raise NotReady(
                f"the agent of host {host_name} is too old to read it; `homeport fleet upgrade` brings it up"
            )
        request_id = next(self._request_ids)
        stream = session.logs[request_id] = LogStream()
        request = agent_pb2.LogRequest(
            request_id=request_id,
            replica_id=query.replica_id,
            follow=query.follow,
            tail=query.tail,
            since_s=query.since_s,
            credit=LOG_CREDIT,
            after=query.after,
            access=query.access,
            gateway=query.gateway,
        )
        ended = False
        try:
            await _put(session, agent_pb2.ToAgent(log_request=request))
            while True:
                item = await stream.queue.get()
                if isinstance(item, str):
                    ended = True
                    if item:
                        raise NotFound(item) if isinstance(item, Absent) else NotReady(item)
                    return
                yield item
                stream.credit += len(item) if stream.credit >= 0 else 0
                stream.waiting_bytes -= sum(len(line.text) for line in item)
                credit = agent_pb2.LogCredit(request_id=request_id, lines=len(item))
                await _put(session, agent_pb2.ToAgent(log_credit=credit))
        finally:
            session.logs.pop(request_id, None)
            if not ended:
                with suppress(asyncio.QueueFull):
                    cancel = agent_pb2.LogCancel(request_id=request_id)
                    session.outgoing.put_nowait(agent_pb2.ToAgent(log_cancel=cancel))

    async def stats(
        self, host_id: str, host_name: str, replica_ids: Sequence[str], deadline_s: float
    ) -> tuple[ReplicaUsage, ...]:
        """What these replicas use now, measured by their host. Raises NotReady when it cannot be asked or is late."""
        session = self._by_host.get(host_id)
        if session is None:
            raise NotReady(f"host {host_name} is not connected now")
        request_id = next(self._request_ids)
        asked: asyncio.Future[tuple[ReplicaUsage, ...] | None] = asyncio.get_running_loop().create_future()
        session.stats[request_id] = asked
        request = agent_pb2.StatsRequest(request_id=request_id, replica_ids=replica_ids)
        try:
            async with asyncio.timeout(deadline_s):
                await session.outgoing.put(agent_pb2.ToAgent(stats_request=request))
                answer = await asked
        except TimeoutError:
            raise NotReady(f"host {host_name} did not answer within {deadline_s:g} s") from None
        finally:
            del session.stats[request_id]
        if answer is None:
            raise NotReady(f"the connection to host {host_name} broke")
        return answer


async def _put(session: AgentSession, message: agent_pb2.ToAgent) -> None:
    """Raises NotReady when the host takes nothing: its session died while its queue was full."""
    try:
        async with asyncio.timeout(PUT_S):
            await session.outgoing.put(message)
    except TimeoutError:
        raise NotReady(f"the host has taken nothing for {PUT_S:g} s; run the command again") from None
