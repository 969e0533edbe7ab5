"""Looking at the Envoy of a gateway under test from outside: its process, its port, what it has counted."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from homeport_agent.envoy import admin, supervisor
from rig.gateway import Gateway


async def eventually(met: Callable[[], bool], timeout_s: float = 20) -> None:
    """For what tells nobody when it happens (a file, a process): look until the deadline."""
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(met):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def until_envoy_is_another(gateway: Gateway, old: int | None) -> None:
    await eventually(lambda: supervisor.envoy_pid(gateway.run_dir) not in (None, old))


async def updates(gateway: Gateway, listeners: int = 1) -> dict[str, str]:
    names = "listener_(added|modified|removed)|cluster_(added|modified|removed)"
    text = await asyncio.to_thread(admin.get, gateway.run_dir, f"/stats?filter={names}")
    counts = dict(line.split(": ") for line in text.decode().splitlines())
    assert counts["listener_manager.listener_added"] == str(listeners)
    return counts


def listens(gateway: Gateway) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", gateway.port)):
        return True
    return False
