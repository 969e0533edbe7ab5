"""Becoming another build: the agent cannot change what it runs, so it asks root by a file and tells what came of it.

STATE/upgrade/wanted: the build; a systemd path unit sees it and runs the install script. STATE/upgrade/result: "BUILD ok" or
"BUILD failed: REASON", written by the script. That folder is there only where the script installed the agent.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from homeport_protos.agent.v1 import agent_pb2

from homeport_agent.files import write_atomically
from homeport_agent.outbox import Outbox, SessionClosed

LOOK_S = 1.0
RESULT_S = 1200.0  # the script has 15 minutes
MAX_RESULT_BYTES = 4096
log = logging.getLogger("homeport.agent")


class Upgrading:
    def __init__(
        self, state_dir: Path, spawn: Callable[[Coroutine[Any, Any, None]], object], look_s: float = LOOK_S
    ) -> None:
        self._folder = state_dir / "upgrade"
        self._spawn = spawn
        self._look_s = look_s
        self._outbox = Outbox()
        self._waits_for = ""

    def opened(self, outbox: Outbox) -> None:
        """A session began: what came of an upgrade that ended this process is told on it."""
        self._outbox = outbox
        self._spawn(self._tell(outbox))

    def requested(self, request: agent_pb2.Upgrade) -> None:
        if request.build != self._waits_for:
            self._waits_for = request.build
            self._spawn(self._ask(request.build))

    async def _ask(self, build: str) -> None:
        log.info("asking to become build %s", build)
        try:
            await asyncio.to_thread(self._write_wish, build)
        except OSError as error:
            self._waits_for = ""
            why = (
                "this agent was not installed by the server's script, so it cannot upgrade itself; run the line of "
                "`homeport fleet join-command` on the host"
                if isinstance(error, FileNotFoundError)
                else f"{self._folder}: {error.strerror}"
            )
            await self._send(self._outbox, build, why)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(RESULT_S):
                while not await asyncio.to_thread(self._has_result):  # noqa: ASYNC110 - a file tells nobody
                    await asyncio.sleep(self._look_s)
        self._waits_for = ""
        await self._tell(self._outbox)

    async def _tell(self, outbox: Outbox) -> None:
        build, error = await asyncio.to_thread(self._result)
        if error:
            await self._send(outbox, build, error)

    async def _send(self, outbox: Outbox, build: str, error: str) -> None:
        log.error("no upgrade to build %s: %s", build, error)
        with suppress(SessionClosed):
            await outbox.put(agent_pb2.FromAgent(upgrade_result=agent_pb2.UpgradeResult(build=build, error=error)))

    def _write_wish(self, build: str) -> None:
        self._folder.stat()  # made by the script, never here: nobody would look into it
        (self._folder / "result").unlink(missing_ok=True)
        write_atomically(self._folder / "wanted", build.encode(), 0o600)

    def _has_result(self) -> bool:
        return (self._folder / "result").exists()

    def _result(self) -> tuple[str, str]:
        """The build, and why it failed; empty: it did not."""
        try:
            with (self._folder / "result").open("rb") as file:
                text = file.read(MAX_RESULT_BYTES).decode(errors="replace").strip()
        except OSError:
            return "", ""
        build, _, rest = text.partition(" ")
        return build, rest.removeprefix("failed: ") if rest != "ok" else ""
