"""The room of code on this host: what the agent's work asks for, one fetch at a time, and the collection of what is old.

Covers turns, the words of a full disk, and when is looked for what may go. Does not cover the wire (fetch), the disk
(cache), the stream (lay), nor what may go (keep).
"""

import asyncio
import ctypes
import errno
import logging
import shutil
import time
from collections.abc import Callable, Set
from contextlib import suppress
from pathlib import Path

from homeport_protos import code

from homeport_agent.code import fetch, keep, lay
from homeport_agent.code.base import CodeError, CodeProgress, NoRoom
from homeport_agent.code.cache import CodeCache
from homeport_agent.engine.base import Engine
from homeport_agent.identity import Identity

log = logging.getLogger("homeport.agent")

COLLECT_EVERY_S = 3600.0
QUIET_AGAIN_S = 60.0


class CodeRoom:
    """identity: who asks the server, read anew for each fetch, since it is renewed daily."""

    def __init__(self, state_dir: Path, identity: Callable[[], Identity]) -> None:
        self._cache = CodeCache(state_dir)
        self._identity = identity
        self._turn = asyncio.Lock()  # two fetches of one link would only take the bytes from one another

    async def fetch(self, code_id: str, on_progress: CodeProgress) -> None:
        try:
            if await asyncio.to_thread(fetch.is_here, code_id, self._cache):
                return
            async with self._turn:
                await fetch.fetch(code_id, self._cache, self._identity, on_progress)
        except OSError as error:
            raise self.meant(error) from None
        finally:
            _give_back_memory()

    async def lay(self, engine: Engine, container: str, code_id: str) -> None:
        try:
            await lay.lay(engine, container, code_id, self._cache)
        except OSError as error:
            raise self.meant(error) from None
        finally:
            _give_back_memory()

    async def run(self, assigned: Callable[[], Set[str] | None], is_quiet: Callable[[], bool]) -> None:
        """Collect now and then, when nothing is being started.

        assigned: the ids of code that replicas of this host have; None while that is not known.
        """
        async with self._turn:
            await asyncio.to_thread(self._cache.remove_incoming)
        pause_s = COLLECT_EVERY_S
        while True:
            await asyncio.sleep(pause_s)
            used = assigned()
            if used is None or not is_quiet():
                pause_s = QUIET_AGAIN_S
                continue
            pause_s = COLLECT_EVERY_S
            try:
                await self.collect(used, time.time())
            except OSError as error:
                log.warning("old code could not be removed from %s: %s", self._cache.folder, error.strerror)

    async def collect(self, assigned: Set[str], unix_now_s: float) -> None:
        """Remove what no replica has and nobody used for a day. Raises OSError."""
        async with self._turn:
            count, freed = await asyncio.to_thread(self._collect, assigned, unix_now_s)
        if count:
            log.info("old code removed: %d files, %.1f MB", count, freed / 1e6)

    def _collect(self, assigned: Set[str], now_s: float) -> tuple[int, int]:
        cache = self._cache
        cache.remove_incoming()  # what a fetch that was called off may have left
        manifests = cache.manifests()
        gone = keep.stale_manifests(manifests, assigned, now_s)
        for code_id in gone:
            cache.remove_manifest(code_id)
        needed = set[str]()
        for code_id in manifests.keys() - set(gone):
            manifest = cache.manifest(code_id)
            needed |= code.contents(manifest).keys() if manifest is not None else set()
        stale = keep.stale_contents(cache.contents(), needed, now_s)
        return len(stale), sum(cache.remove_content(sha256) for sha256 in stale)

    def meant(self, error: OSError) -> CodeError:
        """What a disk that refuses means, in words for a user."""
        folder = self._cache.folder
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return CodeError(f"the code cannot be kept in {folder}: {error.strerror}")
        free_mib = shutil.disk_usage(folder.parent).free // 2**20
        return NoRoom(
            f"no space left on device while keeping the code ({free_mib} MiB free on {folder}); free some, for example "
            "with: docker system prune"
        )


def _give_back_memory() -> None:
    """A manifest of many files is gone by now; glibc keeps its pages for the threads that had it, unless it is told."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
