"""agent/envoy/standby: an Envoy is given what it holds nothing of, and nothing that it holds is changed or taken away."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import grpc
from homeport_agent.envoy.last_keeper import CLUSTERS, LISTENERS, TYPES
from homeport_agent.envoy.last_world import LastWorld, Resource
from homeport_agent.envoy.standby import Standby, answers
from homeport_protos.agent.v1.discovery_pb2 import DeltaRequest, DeltaResponse, Refusal

SECRETS = TYPES[3]


def kept() -> LastWorld:
    made = LastWorld()
    for kind, names in ((CLUSTERS, ("a", "b")), (SECRETS, ("a.example", "b.example"))):
        made.take(DeltaResponse(type_url=kind, resources=[Resource(name=name, version="1") for name in names]))
    return made


async def said(*requests: DeltaRequest) -> tuple[list[tuple[str, list[str], list[str]]], list[str]]:
    async def each() -> AsyncIterator[DeltaRequest]:
        for request in requests:
            yield request

    notes: list[str] = []
    given = [
        (it.type_url, [resource.name for resource in it.resources], list(it.removed))
        async for it in answers(kept(), each(), notes.append)
    ]
    return given, notes


async def test_an_envoy_that_starts_gets_everything() -> None:
    given, notes = await said(DeltaRequest(type_url=CLUSTERS))
    assert given == [(CLUSTERS, ["a", "b"], [])]
    (note,) = notes
    assert note.startswith("the server is away: its Envoy starts with the configuration of 1970-01-01")


async def test_all_of_nothing_is_an_answer_too() -> None:
    assert (await said(DeltaRequest(type_url=LISTENERS)))[0] == [(LISTENERS, [], [])]


async def test_an_envoy_that_runs_keeps_what_it_has() -> None:
    assert await said(DeltaRequest(type_url=CLUSTERS, initial_versions={"c": "9"})) == ([], [])
    asked = DeltaRequest(type_url=SECRETS, subscribe=["a.example"], initial_versions={"a.example": "0"})
    assert await said(asked) == ([], [])


async def test_a_certificate_is_given_when_a_caller_asks_for_it_by_name_and_an_unknown_one_is_answered() -> None:
    asked = DeltaRequest(type_url=SECRETS, subscribe=["a.example"], initial_versions={"a.example": "0"})
    later = DeltaRequest(type_url=SECRETS, subscribe=["b.example", "c.example"])
    assert (await said(asked, later))[0] == [(SECRETS, ["b.example"], ["c.example"])]


async def test_an_acknowledgement_gets_no_answer_and_a_refusal_is_noted() -> None:
    given, notes = await said(
        DeltaRequest(type_url=CLUSTERS),
        DeltaRequest(type_url=CLUSTERS, nonce="1", error=Refusal(message="bad port")),
        DeltaRequest(type_url=CLUSTERS, nonce="1"),
    )
    assert len(given) == 1
    assert notes[1:] == ["Envoy refuses its last configuration: bad port"]


async def test_ended_in_any_moment_it_leaves_no_socket_that_is_served(tmp_path: Path) -> None:
    """As when its gateway goes just as it has come."""
    for turns in range(6):
        serving = asyncio.create_task(Standby(tmp_path, "local")._serve())
        for _ in range(turns):
            await asyncio.sleep(0)
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        gc.collect()
        running = [it for it in gc.get_objects() if type(it) is grpc.aio._server.Server and it._server.is_running()]
        assert running == [], f"ended after {turns} turns of the loop"
