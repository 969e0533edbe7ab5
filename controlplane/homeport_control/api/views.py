"""What runs are there, for `ps`: read from the database, shown as messages, watched by topics."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.convert import put_run
from homeport_control.api.gpu_memory import MemoryOf
from homeport_control.api.kept_replicas import KeptReplicas
from homeport_control.api.readings import Readings
from homeport_control.decide.gateways import choose
from homeport_control.decide.scaling import count_of
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import Host
from homeport_control.domain.replicas import Replica
from homeport_control.domain.services import Run
from homeport_control.spec.service import ServiceSpec, spec_from_json
from homeport_control.store import gateways, hosts, replicas, runs
from homeport_control.store.connect import Database
from homeport_control.store.turns import Turns

KEEP_ALIVE_S = 15.0
PIECE = 100  # replicas
ScalingOf = Callable[[str], str]  # the last verdict on a run by its id; empty: there is none


@dataclass(frozen=True, slots=True)
class _Found:
    """A run that is shown."""

    run: Run
    spec: ServiceSpec
    count: int
    replicas: tuple[Replica, ...]


class Views:
    def __init__(self, database: Database, readings: Readings, scaling_of: ScalingOf = lambda run_id: "") -> None:
        self._database = database
        self._readings = readings
        self._scaling_of = scaling_of
        self._kept = KeptReplicas()

    async def runs(self, request: api_pb2.ListRunsRequest) -> api_pb2.ListRunsResponse:
        async with self._database.read() as connection:
            found = await runs.list_shown(connection, request.names, finished=request.all)
            specs = {run.id: spec_of(run) for run in found}
            present = await replicas.of_runs(connection, specs)
            # A run may have left thousands behind; shown are as many as it wanted.
            over = [run.id for run in found if run.ended_at_s is not None and run.id not in present]
            counts = {run.id: count_of(specs[run.id].replicas, run.scaled_to) for run in found}
            most = max((counts[run_id] for run_id in over), default=0)
            present |= await replicas.last_of(connection, over, most)
            there = {it.host_id for of_run in present.values() for it in of_run if it.host_id}
            by_id = await hosts.by_id(connection, there)
            known = await gateways.list_all(connection)
        found_there = [_Found(run, specs[run.id], counts[run.id], tuple(present.get(run.id, ()))) for run in found]
        return await self._answer(found_there, by_id, known)

    async def _answer(
        self, found: Sequence["_Found"], hosts_by_id: Mapping[str, Host], known: Sequence[Gateway]
    ) -> api_pb2.ListRunsResponse:
        """Not in a thread: that would wait for this one, and make it wait, at each change between them."""
        response, turns = api_pb2.ListRunsResponse(), Turns()
        for it in found:
            run, spec = it.run, it.spec
            gateway = choose(spec.gateway, known) if run.ended_at_s is None else None
            url = gateway.url_of(run.name, https=spec.https is not False) if gateway else ""
            memory = MemoryOf(run, hosts_by_id.get, self._readings)
            message = response.runs.add()
            shown = put_run(message, run, it.replicas, it.count, spec.replicas, url)
            for start in range(0, len(shown), PIECE):
                some = shown[start : start + PIECE]
                message.replicas.extend([self._kept.message(each, hosts_by_id, memory) for each in some])
                await turns.give()
            message.open = not spec.auth
            if run.ended_at_s is None:
                message.scaling = self._scaling_of(run.id)
            if spec.model is not None:
                message.model, message.model_type = spec.model.names[0], spec.model.type
                message.model_aliases.extend(spec.model.names[1:])
                message.model_url = gateway.models_url if gateway else ""
        return response

    async def watch(self, request: api_pb2.ListRunsRequest) -> AsyncGenerator[api_pb2.ListRunsResponse, None]:
        """The list now, and again after each change that a reader could see."""
        with self._database.changes.subscribe("runs", "replicas", "hosts", "gateways") as subscription:
            sent: api_pb2.ListRunsResponse | None = None
            while True:
                current = await self.runs(request)
                if current != sent:
                    sent = current
                    yield current
                await subscription.wait(KEEP_ALIVE_S)


def spec_of(run: Run) -> ServiceSpec:
    return spec_from_json((run.current or run.newest).spec_json)
