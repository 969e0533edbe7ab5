"""What users do in a simulated world, at random: apply, change, scale, stop, drain and give back hosts, remove one.

Each act goes through the API's own functions; what was answered is noted as acknowledged, and when the answer did not come,
that nobody can tell.
"""

import asyncio
import json
from typing import Any

from homeport_control.api.drains import drain, undrain
from homeport_control.api.removals import remove_host
from homeport_control.api.stops import stop_runs
from homeport_control.domain.errors import HomeportError
from homeport_protos.api.v1 import api_pb2

from sim.server import Server
from sim.world import ANN, World

NAMES = ("web", "chat", "api")


class User:
    def __init__(self, world: World) -> None:
        self.world, self.rng = world, world.rng
        self.documents: dict[str, dict[str, Any]] = {}  # as they were sent last, by name

    async def act(self, *, may_remove: bool) -> None:
        """One thing, drawn."""
        acts = [(self.change, 6), (self.stop, 2), (self.drain, 2), (self.undrain, 2), (self.remove, may_remove * 0.3)]
        act = self.rng.choices([it for it, _ in acts], [weight for _, weight in acts])[0]
        await self.attempt(act())

    async def attempt(self, work: Any) -> bool:
        """Whether there was an answer."""
        try:
            await work
        except ConnectionError as error:
            self.world.tell("user", f"hears nothing: {error}")
        except HomeportError as error:
            self.world.tell("user", f"is refused: {error}")
            return True
        else:
            return True
        return False

    def document(self, name: str) -> dict[str, Any]:
        rng = self.rng
        resources: dict[str, Any] = {}
        kind = rng.random()
        if kind < 0.2:
            resources = {"gpu": {"count": 1}}
        elif kind < 0.35:
            resources = {"gpu": {"memory": f"{rng.choice((20, 50))}GB", "shared": True}}
        surge, unavailable = rng.choice(((1, 0), (1, 0), (0, 1), (2, 0), (1, 1)))
        return {
            "type": "service",
            "name": name,
            "image": rng.choice(("hello:1", "hello:1", "hello:2", "hello:3", "hello:4", "crash:1")),
            "port": 8000,
            "auth": False,
            "replicas": rng.choice((1, 1, 2, 3)),
            "resources": resources,
            "stop_duration": f"{rng.choice((2, 10, 30))}s",
            "rollout": {"max_surge": surge, "max_unavailable": unavailable},
        }

    async def change(self) -> None:
        name = self.rng.choice(NAMES)
        before = self.documents.get(name)
        made = self.document(name)
        if before is not None and self.rng.random() < 0.7:  # one thing of it
            key = self.rng.choice(("replicas", "image", "stop_duration", "rollout"))
            made = {**before, key: made[key]}
        await self.apply(made)

    async def apply(self, document: dict[str, Any]) -> None:
        name = document["name"]
        self.documents[name] = document
        request = api_pb2.ApplyRequest(document=api_pb2.Document(json=json.dumps(document)))
        self.world.tell("user", f"applies {name}: {_short(document)}")
        answer = await self.world.call(lambda server: server.plans.apply(ANN, request))
        if answer.problems:
            self.world.tell("user", f"is refused: {[(it.path, it.message) for it in answer.problems]}")
            return
        self.world.acked.revisions.add((answer.run_id, answer.revision))
        self.world.tell("user", f"has applied {name}: {answer.action}, revision {answer.revision} of {answer.run_id}")

    async def stop(self, name: str = "", *, abort: bool | None = None) -> None:
        name = name or self.rng.choice(NAMES)
        is_abort = self.rng.random() < 0.3 if abort is None else abort
        request = api_pb2.StopRunsRequest(names=[name], abort=is_abort)
        self.world.tell("user", f"{'aborts' if is_abort else 'stops'} {name}")
        await self.world.call(lambda server: stop_runs(server.database, ANN, request))
        self.world.tell("user", f"has stopped {name}")

    def _host(self) -> Any:
        there = [it for it in self.world.machines.values() if not it.is_removed]
        return self.rng.choice(there)

    async def drain(self) -> None:
        await self._cordon(self._host(), True)

    async def undrain(self) -> None:
        await self._cordon(self._host(), False)

    async def _cordon(self, machine: Any, cordoned: bool) -> None:
        world, request = self.world, api_pb2.DrainRequest(host=machine.name)
        world.tell("user", f"{'drains' if cordoned else 'gives back'} {machine.name}")
        world.acked.cordoned.pop(machine.host_id, None)

        async def call(server: Server) -> api_pb2.DrainResponse:
            if cordoned:
                return await drain(server.database, ANN, request)
            return await undrain(server.database, server.sessions.clear_findings, ANN, request)

        await world.call(call)
        world.acked.cordoned[machine.host_id] = cordoned
        world.tell("user", f"has {'drained' if cordoned else 'given back'} {machine.name}")

    async def remove(self) -> None:
        machine = self._host()
        if machine.name == "h1":
            return
        request = api_pb2.DeleteHostRequest(host=machine.name, force=True)
        self.world.tell("user", f"removes {machine.name}")
        self.world.acked.cordoned.pop(machine.host_id, None)
        await self.world.call(lambda server: remove_host(server.database, server.sessions.end, ANN, request))
        self.world.tell("user", f"has removed {machine.name}")

    async def surely(self, act: Any) -> None:
        """Until it was answered: the server comes back."""
        for _ in range(200):
            if await self.attempt(act()):
                return
            await asyncio.sleep(0.5)
        self.world.fail("a user's call was never answered")


def _short(document: dict[str, Any]) -> str:
    rollout = document["rollout"]
    return (
        f"{document['replicas']} of {document['image']} {document['resources'] or ''} stop_duration "
        f"{document['stop_duration']} surge {rollout['max_surge']} unavailable {rollout['max_unavailable']}"
    )
