"""agents/code: a host fetches the code of its own replicas over mTLS, and no other's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from fixtures.code import manifest, sha256
from fixtures.control import DEADLINE_S, State, add_replica, add_run, revision, service
from fixtures.plane import Plane, WireAgent, refusal, serving
from homeport_control.store import replicas, runs
from homeport_control.store.code import CodeStore
from homeport_protos.agent.v1 import agent_pb2, agent_pb2_grpc
from homeport_protos.code import CHUNK_BYTES, code_id, contents

APP, LARGE, EMPTY = b"print('hello')\n", b"\1" * (2 * CHUNK_BYTES + 5), b""
MANIFEST = manifest({"app.py": APP, "large": LARGE, "empty": EMPTY})
CODE = code_id(MANIFEST)


@pytest.fixture
async def plane(state: State) -> AsyncIterator[Plane]:
    async with serving(state) as plane:
        store = CodeStore(plane.settings.code, keep_free_bytes=0)
        await store.keep(CODE, MANIFEST.SerializeToString(), contents(MANIFEST))
        for data in (APP, LARGE, EMPTY):
            async with store.incoming(sha256(data), len(data)) as incoming:
                await incoming.take(data, last=True)
        yield plane


@asynccontextmanager
async def link(agent: WireAgent) -> AsyncIterator[Any]:
    async with agent.channel() as channel:
        yield agent_pb2_grpc.AgentLinkStub(channel)


async def fetch(stub: Any, *hashes: str, code: str = CODE) -> list[agent_pb2.ContentChunk]:
    call = stub.FetchContents(agent_pb2.FetchContentsRequest(code_id=code, sha256=hashes), timeout=DEADLINE_S)
    return [chunk async for chunk in call]


async def with_code(state: State, host_id: str) -> str:
    run_id = await add_run(state)
    new = revision(state, service())
    async with state.database.write() as write:
        await runs.add_revision(
            write, run_id, 2, runs.NewRevision(new.spec_json, new.sealed_secrets, "alice", CODE, 7), 1001.0
        )
    await add_replica(state, run_id, "r1", host_id=host_id, revision=2)
    return run_id


async def test_the_host_of_a_replica_gets_its_code(plane: Plane, state: State) -> None:
    agent = await plane.joined()
    await with_code(state, agent.host_id)
    async with link(agent) as stub:
        got = await stub.FetchManifest(agent_pb2.FetchManifestRequest(code_id=CODE), timeout=DEADLINE_S)
        assert got == MANIFEST
        chunks = await fetch(stub, sha256(LARGE), sha256(EMPTY), sha256(APP))
    assert max(len(chunk.data) for chunk in chunks) == CHUNK_BYTES
    assert b"".join(chunk.data for chunk in chunks if chunk.sha256 == sha256(LARGE)) == LARGE
    assert [chunk.sha256 for chunk in chunks if chunk.last] == [sha256(LARGE), sha256(EMPTY), sha256(APP)]


async def test_another_host_is_denied_and_so_is_everybody_once_the_replica_has_ended(
    plane: Plane, state: State
) -> None:
    agent, other = await plane.joined("box"), await plane.joined("other")
    await with_code(state, agent.host_id)
    async with link(other) as stub:
        code, words = await refusal(fetch(stub, sha256(APP)))
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert words == f"no replica with the code '{CODE[:12]}' is assigned to this host"
        code, _ = await refusal(stub.FetchManifest(agent_pb2.FetchManifestRequest(code_id=CODE), timeout=DEADLINE_S))
        assert code is grpc.StatusCode.PERMISSION_DENIED
    async with state.database.write() as write:
        await replicas.end(write, "r1", 2000.0)
    async with link(agent) as stub:
        code, _ = await refusal(fetch(stub, sha256(APP)))
        assert code is grpc.StatusCode.PERMISSION_DENIED


async def test_without_code_there_is_nothing_to_fetch(plane: Plane, state: State) -> None:
    agent = await plane.joined()
    await add_replica(state, await add_run(state), "r1", host_id=agent.host_id)
    async with link(agent) as stub:
        code, _ = await refusal(fetch(stub, code=""))
    assert code is grpc.StatusCode.PERMISSION_DENIED


async def test_a_content_of_another_code_is_refused(plane: Plane, state: State) -> None:
    agent = await plane.joined()
    await with_code(state, agent.host_id)
    async with link(agent) as stub:
        code, words = await refusal(fetch(stub, sha256(APP), sha256(b"another's")))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "is none of this code's" in words


async def test_code_that_the_server_has_lost_is_told_in_words(plane: Plane, state: State) -> None:
    agent = await plane.joined()
    await with_code(state, agent.host_id)
    (plane.settings.code / "contents" / sha256(APP)).unlink()
    async with link(agent) as stub:
        code, words = await refusal(fetch(stub, sha256(APP)))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "the server cannot read the content" in words
        (plane.settings.code / "manifests" / CODE).unlink()
        code, words = await refusal(
            stub.FetchManifest(agent_pb2.FetchManifestRequest(code_id=CODE), timeout=DEADLINE_S)
        )
    assert code is grpc.StatusCode.NOT_FOUND
    assert "apply the service again" in words


async def test_without_a_certificate_nothing_is_told(plane: Plane, state: State) -> None:
    agent = await plane.joined()
    await with_code(state, agent.host_id)
    async with agent.channel(certificate=False) as channel:
        stub = agent_pb2_grpc.AgentLinkStub(channel)
        code, _ = await refusal(stub.FetchManifest(agent_pb2.FetchManifestRequest(code_id=CODE), timeout=DEADLINE_S))
    assert code is grpc.StatusCode.UNAVAILABLE
