"""Code goes out: to a host that has a replica of it, and of that code only. Covers AgentLink's two fetching methods."""

from collections.abc import AsyncGenerator

from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.common.v1 import code_pb2

from homeport_control.domain.errors import BadRequest, Denied, NotFound
from homeport_control.store import replicas
from homeport_control.store.code import CodeStore, KeptManifest
from homeport_control.store.connect import Database


class CodeOut:
    def __init__(self, database: Database, store: CodeStore) -> None:
        self._database = database
        self._store = store

    async def manifest(self, host_id: str, code_id: str) -> code_pb2.CodeManifest:
        """Raises Denied: no replica of it is assigned to this host. NotFound: the server has lost it."""
        return code_pb2.CodeManifest.FromString((await self._allowed(host_id, code_id)).manifest)

    async def contents(
        self, host_id: str, request: agent_pb2.FetchContentsRequest
    ) -> AsyncGenerator[agent_pb2.ContentChunk, None]:
        """Pieces of at most 256 KiB, in the order in which they were asked for. Raises also BadRequest, NotReady."""
        kept = await self._allowed(host_id, request.code_id)
        for sha256 in request.sha256:
            if sha256 not in kept.contents:
                raise BadRequest(f"the content {sha256[:12]!r} is none of this code's")
        async for piece in self._store.pieces(request.sha256):
            yield agent_pb2.ContentChunk(sha256=piece.sha256, data=piece.data, last=piece.last)

    async def _allowed(self, host_id: str, code_id: str) -> KeptManifest:
        async with self._database.read() as connection:
            if not await replicas.has_code(connection, host_id, code_id):
                raise Denied(f"no replica with the code {code_id[:12]!r} is assigned to this host")
        kept = await self._store.get(code_id)
        if kept is None:
            raise NotFound(f"the server has lost the code {code_id[:12]}; apply the service again")
        return kept
