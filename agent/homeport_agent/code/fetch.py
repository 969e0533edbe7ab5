"""Code from the server: its manifest, then the contents that this host lacks, over mTLS as the session.

The server is not trusted with this host's disk: the manifest is held to the same rules here, no content may be longer
than the manifest says, and each is taken only when its hash is right. A fetch that breaks off goes on where it was:
contents that came whole stay. Does not cover where they lie (cache).
"""

import asyncio
import re
from collections.abc import Callable, Mapping

import grpc
from grpc.aio import AioRpcError
from homeport_protos import code
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.agent.v1.agent_pb2_grpc import AgentLinkStub
from homeport_protos.common.v1.code_pb2 import CodeManifest

from homeport_agent.channel import FETCH_OPTIONS, mtls_channel, why
from homeport_agent.code.base import CodeDamaged, CodeError, CodeProgress, CodeRefused, ServerAway
from homeport_agent.code.cache import CodeCache, Incoming
from homeport_agent.identity import Identity

MESSAGE_S = 30.0  # between two messages
BATCH = 1000  # contents that are asked for at once
_CODE_ID = re.compile(r"[0-9a-f]{64}")
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


async def fetch(
    code_id: str,
    cache: CodeCache,
    identity: Callable[[], Identity],
    on_progress: CodeProgress,
    message_s: float = MESSAGE_S,
) -> None:
    """Returns once all of it is here. Raises CodeError; OSError of the disk."""
    if await asyncio.to_thread(is_here, code_id, cache):
        return
    who = identity()
    try:
        async with mtls_channel(who, FETCH_OPTIONS) as channel:
            stub = AgentLinkStub(channel)
            lacking = await _lacking(stub, code_id, cache, message_s)
            await _contents(stub, code_id, lacking, cache, on_progress, message_s)
    except AioRpcError as error:
        said = f"the code cannot be fetched: {why(error, who.link_target)}"
        raise (ServerAway if error.code() in _AWAY else CodeError)(said) from None
    except TimeoutError:
        raise ServerAway(
            f"the code cannot be fetched: the server at {who.link_target} said nothing for {message_s:g} s"
        ) from None


def is_here(code_id: str, cache: CodeCache) -> bool:
    """Whether all of it is on this host; blocking. Raises CodeRefused, OSError."""
    if not _CODE_ID.fullmatch(code_id):  # it will be a file's name
        raise CodeRefused(f"{code_id[:80]!r} is no id of code")
    manifest = cache.manifest(code_id)
    if manifest is None or cache.missing(manifest):
        return False
    cache.used(code_id)
    return True


async def _lacking(stub: AgentLinkStub, code_id: str, cache: CodeCache, message_s: float) -> Mapping[str, int]:
    kept = await asyncio.to_thread(cache.manifest, code_id)
    if kept is None:
        request = agent_pb2.FetchManifestRequest(code_id=code_id)
        kept = await stub.FetchManifest(request, timeout=message_s)
        await asyncio.to_thread(_accept, code_id, kept, cache)
    return await asyncio.to_thread(cache.missing, kept)


def _accept(code_id: str, manifest: CodeManifest, cache: CodeCache) -> None:
    """Keep a manifest that is in order. Raises CodeRefused."""
    if found := code.problems(manifest):
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise CodeRefused(f"the code is refused by this host: {found[0]}{more}")
    if code.code_id(manifest) != code_id:
        raise CodeRefused(f"the server gave other code than {code_id[:12]}, which was asked for")
    cache.keep_manifest(code_id, manifest)


async def _contents(
    stub: AgentLinkStub,
    code_id: str,
    lacking: Mapping[str, int],
    cache: CodeCache,
    on_progress: CodeProgress,
    message_s: float,
) -> None:
    names, total, done = list(lacking), sum(lacking.values()), 0
    on_progress(0, total)
    for start in range(0, len(names), BATCH):
        wanted = iter(names[start : start + BATCH])
        call = stub.FetchContents(agent_pb2.FetchContentsRequest(code_id=code_id, sha256=names[start : start + BATCH]))
        incoming: Incoming | None = None
        try:
            while True:
                async with asyncio.timeout(message_s):
                    chunk = await call.read()
                if not isinstance(chunk, agent_pb2.ContentChunk):  # grpc.aio.EOF
                    break
                if incoming is None:
                    sha256 = next(wanted, "")
                    incoming = cache.receive(sha256, lacking.get(sha256, 0))
                _check(chunk, incoming.sha256)
                await asyncio.to_thread(incoming.add, chunk.data, is_last=chunk.last)
                done += len(chunk.data)
                on_progress(done, total)
                if chunk.last:
                    incoming = None
        finally:
            call.cancel()
            if incoming is not None:
                incoming.drop()
        if incoming is not None or next(wanted, None) is not None:
            raise CodeDamaged("the server ended before it had sent all of the code")


def _check(chunk: agent_pb2.ContentChunk, expected: str) -> None:
    if chunk.sha256 != expected:
        raise CodeDamaged(f"the server sent content {chunk.sha256[:12]!r} where {expected[:12]!r} was due")
    if not chunk.data and not chunk.last:  # such a stream could go on for ever
        raise CodeDamaged(f"the server sent nothing of content {expected[:12]}")
