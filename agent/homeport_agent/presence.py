"""A file that says whether the server has welcomed this agent: what the install script, and an upgrade, wait for.

Covers the file alone, STATE/connected: there while a session is held, JSON with the build, the server and since when.
"""

import asyncio
import json
import logging
import time
from pathlib import Path

from homeport_agent.files import write_atomically

NAME = "connected"
log = logging.getLogger("homeport.agent")


class Presence:
    def __init__(self, state_dir: Path, build: str) -> None:
        self._path = state_dir / NAME
        self._build = build
        self._server = ""
        self._changed = asyncio.Event()
        self._changed.set()  # what an earlier process left behind is not true any more

    def changed(self, server: str) -> None:
        """Connected with this server; empty: with none."""
        self._server = server
        self._changed.set()

    async def run(self) -> None:
        """Keep the file true, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await asyncio.to_thread(self._write, self._server)
            except OSError as error:
                log.error("%s: %s", error.filename or self._path, error.strerror)

    def _write(self, server: str) -> None:
        if not server:
            self._path.unlink(missing_ok=True)
            return
        content = {"server": server, "build": self._build, "since_s": time.time()}
        write_atomically(self._path, json.dumps(content).encode(), 0o600)
