"""Code comes in: a manifest is checked and kept, then the contents that are missing are taken, each for what it says.

Covers what a sender may send: only contents of the manifest, none longer than it says, each with its hash, in bounded
memory and time. Does not cover where they lie (store.code) or who may fetch them (agents.code).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from homeport_protos import code
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import code_pb2

from homeport_control.domain.errors import BadRequest, Conflict, NotReady
from homeport_control.spec.codediff import CodeFile
from homeport_control.store.code import CodeStore
from homeport_control.store.incoming import Incoming

SILENCE_S = 60.0  # between two pieces
UPLOAD_S = 2 * 3600.0  # all of it
UPLOADS_AT_ONCE = 16


Push = Callable[[str], Awaitable[None]]


async def _nowhere(code_id: str) -> None:
    pass


class CodeApi:
    def __init__(
        self,
        store: CodeStore,
        push: Push = _nowhere,
        *,
        silence_s: float = SILENCE_S,
        upload_s: float = UPLOAD_S,
    ) -> None:
        """`push` is called with a code's id before its sender hears that all of it is here."""
        self._store = store
        self._push = push
        self._silence_s = silence_s
        self._upload_s = upload_s
        self._uploads = 0

    async def check(self, request: api_pb2.CheckCodeRequest) -> api_pb2.CheckCodeResponse:
        """Keep the manifest when it is in order, and say which contents are missing. Raises NotReady: no room."""
        manifest = request.manifest
        problems = await asyncio.to_thread(code.problems, manifest)
        if problems:
            return api_pb2.CheckCodeResponse(problems=problems)
        code_id = await asyncio.to_thread(code.code_id, manifest)
        missing = await self._store.keep(
            code_id, manifest.SerializeToString(deterministic=True), code.contents(manifest)
        )
        if not missing:
            await self._push(code_id)
        return api_pb2.CheckCodeResponse(code_id=code_id, missing_sha256=missing)

    async def upload(self, messages: AsyncIterator[api_pb2.UploadCodeRequest]) -> api_pb2.UploadCodeResponse:
        """Take contents until the sender is done. What came whole is kept, also when a later one is refused.

        Raises BadRequest for what is not what it says, Conflict when the manifest is not known, NotReady.
        """
        if self._uploads >= UPLOADS_AT_ONCE:
            raise NotReady(f"{self._uploads} uploads are under way; try again in a moment")
        self._uploads += 1
        try:
            async with asyncio.timeout(self._upload_s):
                await self._take_all(messages)
        except TimeoutError:
            raise NotReady(
                f"the upload took more than {self._upload_s:g} s; run the command again, it goes on"
            ) from None
        finally:
            self._uploads -= 1
        return api_pb2.UploadCodeResponse()

    async def _take_all(self, messages: AsyncIterator[api_pb2.UploadCodeRequest]) -> None:
        first = await self._next(messages)
        if first is None:
            return
        kept = await self._store.get(first.code_id)
        if kept is None:
            raise Conflict("this code is not known to the server (any more); run the command again")
        left = dict(kept.contents)
        message: api_pb2.UploadCodeRequest | None = first
        while message is not None:
            async with self._incoming(message, left) as incoming:
                message = await self._take_one(incoming, message, messages)
        if await self._store.missing(first.code_id) == 0:
            await self._push(first.code_id)

    def _incoming(self, message: api_pb2.UploadCodeRequest, left: dict[str, int]) -> Incoming:
        """A content may come once. Raises BadRequest."""
        size = left.pop(message.sha256, None)
        if size is None:
            raise BadRequest(f"the content {message.sha256[:12]!r} is none of this code's, or it came before")
        return self._store.incoming(message.sha256, size)

    async def _take_one(
        self,
        incoming: Incoming,
        message: api_pb2.UploadCodeRequest,
        messages: AsyncIterator[api_pb2.UploadCodeRequest],
    ) -> api_pb2.UploadCodeRequest | None:
        """One content to its last piece; the message after it."""
        while True:
            if message.sha256 != incoming.sha256:
                raise BadRequest(f"the content {incoming.sha256[:12]} was broken off by another one")
            if len(message.data) > code.CHUNK_BYTES:
                raise BadRequest(f"a piece has {len(message.data)} bytes, the limit is {code.CHUNK_BYTES}")
            if not message.data and not message.last:
                raise BadRequest(f"the content {incoming.sha256[:12]} came with an empty piece that is not its last")
            await incoming.take(message.data, last=message.last)
            following = await self._next(messages)
            if message.last:
                return following
            if following is None:
                raise BadRequest(f"the upload ended within the content {incoming.sha256[:12]}; run the command again")
            message = following

    async def _next(self, messages: AsyncIterator[api_pb2.UploadCodeRequest]) -> api_pb2.UploadCodeRequest | None:
        """None: the sender is done. Raises NotReady when it says nothing for too long."""
        waiting = asyncio.timeout(self._silence_s)
        try:
            async with waiting:
                return await anext(messages)
        except StopAsyncIteration:
            return None
        except TimeoutError:
            if not waiting.expired():
                raise  # the end of all the time that there was
            raise NotReady(f"nothing came for {self._silence_s:g} s; run the command again, it goes on") from None


UNKNOWN = "the code of this configuration is not known to the server (any more); run the command again"


async def code_size(store: CodeStore, code_id: str) -> int:
    """Bytes of a code that can be applied: all of it is there. 0 without code. Raises Conflict in words."""
    if not code_id:
        return 0
    missing = await store.missing(code_id)
    if missing is None:
        raise Conflict(UNKNOWN)
    if missing:
        raise Conflict(f"{missing} files of the code have not arrived yet; run the command again")
    return sum(file.size for file in (await files_of(store, code_id) or {}).values())


async def files_of(store: CodeStore, code_id: str) -> Mapping[str, CodeFile] | None:
    """The files of a code by their place in the container; none without code. None: it is not known (any more)."""
    if not code_id:
        return {}
    kept = await store.get(code_id)
    return None if kept is None else await asyncio.to_thread(_files, kept.manifest)


def _files(manifest: bytes) -> dict[str, CodeFile]:
    return {
        f"{tree.target}/{entry.path}": CodeFile(entry.size, entry.mode, entry.sha256, entry.symlink)
        for tree in code_pb2.CodeManifest.FromString(manifest).trees
        for entry in tree.entries
    }
