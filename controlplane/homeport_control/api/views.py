"""What runs are there, for `ps`: read from the database, shown as messages, watched by topics."""

from collections.abc import AsyncGenerator, Callable

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.convert import run_message
from homeport_control.api.gpu_memory import memory_of
from homeport_control.api.readings import Readings
from homeport_control.decide.gateways import choose
from homeport_control.decide.scaling import count_of
from homeport_control.domain.services import Run
from homeport_control.spec.service import ServiceSpec, spec_from_json
from homeport_control.store import gateways, hosts, replicas, runs
from homeport_control.store.connect import Database

KEEP_ALIVE_S = 15.0
ScalingOf = Callable[[str], str]  # the last verdict on a run by its id; empty: there is none


class Views:
    def __init__(self, database: Database, readings: Readings, scaling_of: ScalingOf = lambda run_id: "") -> None:
        self._database = database
        self._readings = readings
        self._scaling_of = scaling_of

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
            by_id = {host.id: host for host in await hosts.list_all(connection)}
            known = await gateways.list_all(connection)
        messages = []
        for run in found:
            spec = specs[run.id]
            gateway = choose(spec.gateway, known) if run.ended_at_s is None else None
            url = gateway.url_of(run.name, https=spec.https is not False) if gateway else ""
            memory = memory_of(run, by_id.get, self._readings)
            message = run_message(run, present.get(run.id, ()), by_id, counts[run.id], spec.replicas, url, memory)
            message.open = not spec.auth
            if run.ended_at_s is None:
                message.scaling = self._scaling_of(run.id)
            if spec.model is not None:
                message.model, message.model_type = spec.model.names[0], spec.model.type
                message.model_aliases.extend(spec.model.names[1:])
                message.model_url = gateway.models_url if gateway else ""
            messages.append(message)
        return api_pb2.ListRunsResponse(runs=messages)

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
