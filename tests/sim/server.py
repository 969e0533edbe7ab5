"""One server process of a simulated world: the real parts, joined as `app` joins them, without sockets and threads.

A new one is made for each start; what it knows comes from the database. Loops that reach outside the house (certificates,
ACME, SSH errands, upgrades) are left out.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from homeport_control.agents.assignments import Assignments
from homeport_control.agents.code import CodeOut
from homeport_control.agents.peaks import Peaks
from homeport_control.agents.server import LinkServicer
from homeport_control.agents.sessions import Sessions
from homeport_control.agents.telemetry import Telemetry
from homeport_control.agents.usage import UsageIn
from homeport_control.api.plans import Plans
from homeport_control.data_plane import DataPlane
from homeport_control.leading import own_gateway
from homeport_control.loops.liveness import LivenessLoop, forget_sessions
from homeport_control.loops.loop import Loop
from homeport_control.loops.placement import PlacementLoop
from homeport_control.loops.pruning import PruningLoop
from homeport_control.loops.runs import RunsLoop
from homeport_control.settings import ServerSettings
from homeport_control.store import gateways
from homeport_control.store.code import CodeStore
from homeport_control.trust.ca import CertificateAuthority
from homeport_control.trust.sealing import Sealer
from homeport_protos.agent.v1 import agent_pb2_grpc

from sim.clock import Process
from sim.database import Power, open_inline
from sim.network import Listener, Network

SERVER_ID = "server1"


@dataclass(frozen=True)
class Trust:
    """What a server has on disk beside its database; made once for all worlds."""

    directory: Path
    ca: CertificateAuthority
    sealer: Sealer


class Server:
    def __init__(self, trust: Trust, file: Path, power: Power, network: Network, owner: Process) -> None:
        self.owner, self.power = owner, power
        self._network = network
        self._trust = trust
        self.settings = ServerSettings(state_dir=trust.directory)
        self.database = open_inline(file, power)
        self.sessions = Sessions()
        self.is_serving = asyncio.Event()
        self.plans: Plans
        self.plane: DataPlane
        self.loops: list[Loop] = []

    async def run(self) -> None:
        """As `app.run`: until it is killed."""
        database, settings, trust = self.database, self.settings, self._trust
        async with database.write() as write:
            await gateways.put_own(write, own_gateway(settings))
        await forget_sessions(database, time.time())
        peaks = Peaks(database)
        telemetry = Telemetry(peaks.heard)
        code = CodeStore(settings.code)
        self.plane = plane = DataPlane(database, trust.sealer.open)
        gateway = plane.gateway
        loops = self.loops = [
            *plane.loops,
            Loop("runs", database.changes, RunsLoop.topics, RunsLoop(database, gateway.in_flight).turn),
            Loop("placement", database.changes, PlacementLoop.topics, PlacementLoop(database).turn),
            Loop("pruning", database.changes, PruningLoop.topics, PruningLoop(database).turn),
            Loop("liveness", database.changes, LivenessLoop.topics, LivenessLoop(database, settings.lost_after_s).turn),
        ]
        link = Listener(self.owner)
        silence_s = settings.report_interval_s * settings.missed_reports
        servicer = LinkServicer(
            database, trust.ca, self.sessions, Assignments(database, trust.sealer, settings), SERVER_ID,
            settings.report_interval_s, silence_s, CodeOut(database, code), telemetry, UsageIn(database),
        )  # fmt: skip
        agent_pb2_grpc.add_AgentLinkServicer_to_server(servicer, link)  # type: ignore[arg-type]
        plane.register(link)  # type: ignore[arg-type]
        self.plans = Plans(database, trust.sealer, code, _at_once)
        await plane.start()
        async with asyncio.TaskGroup() as group:
            self._network.listener = link
            self.is_serving.set()
            for loop in loops:
                group.create_task(loop.run(), name=loop.name)
            group.create_task(peaks.run(), name="peaks")


async def _at_once(_gateway: str) -> None:
    """An apply waits for its gateway for a while; here users do not."""
