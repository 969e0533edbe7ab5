"""agent/envoy/gateways: which Envoys a host keeps, over changes of its roles and restarts of its agent.

A shell script stands in for the binary, so every supervisor is a real one. A real Envoy: tests/envoy.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest
from homeport_agent.envoy import supervisor
from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.gateways import EnvoyGateways, run_dirs, stop_all
from homeport_agent.envoy.host import EnvoyHost, run_dir
from homeport_agent.model import GatewayRole
from rig.ports import free_port


class Rig:
    def __init__(self, state_dir: Path, counted_s: float) -> None:
        self.state_dir = state_dir
        self.changed = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.gateways = EnvoyGateways(state_dir, self._host, self._spawn, self._counted, counted_s)
        self.is_counted = asyncio.Event()
        self.is_counted.set()
        self.asked: asyncio.Queue[str] = asyncio.Queue()

    def _host(self, name: str) -> EnvoyHost:
        identity = Identity("h1", self.state_dir / "host.pem", self.state_dir / "host.key", self.state_dir / "ca.pem")
        return EnvoyHost(self.state_dir, name, lambda: identity, lambda: "127.0.0.1", self.changed.set)

    async def _counted(self, name: str) -> None:
        self.asked.put_nowait(name)
        await self.is_counted.wait()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.add(asyncio.create_task(work))

    async def until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not met():
                self.changed.clear()
                await self.changed.wait()

    async def envoys(self, *names: str) -> list[int]:
        """Once all of them run: a supervisor tells nobody that it has started its own."""
        async with asyncio.timeout(10):
            while None in (found := envoys(self.state_dir, *names)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return [pid for pid in found if pid]

    async def until_gone(self, name: str) -> None:
        """A folder that goes tells nobody."""
        async with asyncio.timeout(10):
            while run_dir(self.state_dir, name).exists():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(it.name, it.message) for it in self.gateways.observed()]


@contextlib.asynccontextmanager
async def agent(state_dir: Path, counted_s: float = 30.0) -> AsyncIterator[Rig]:
    """One life of an agent; what it started goes on after it."""
    rig = Rig(state_dir, counted_s)
    rig._spawn(rig.gateways.run())
    try:
        yield rig
    finally:
        for task in rig.tasks:
            task.cancel()
        await asyncio.gather(*rig.tasks, return_exceptions=True)


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    binary = tmp_path / "program"
    binary.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    binary.chmod(0o755)
    monkeypatch.setenv("HOMEPORT_ENVOY_BINARY", str(binary))
    return tmp_path


def role(name: str) -> GatewayRole:
    return GatewayRole(name, 7401, "127.0.0.1", free_port())


def envoys(state_dir: Path, *names: str) -> list[int | None]:
    return [supervisor.envoy_pid(run_dir(state_dir, name)) for name in names]


async def test_each_gateway_has_an_envoy_of_its_own_and_one_that_goes_leaves_the_others_alone(state_dir: Path) -> None:
    local, main = role("local"), role("main")
    try:
        async with agent(state_dir) as rig:
            await rig.gateways.apply((local, main))
            starting = [("local", "Envoy is starting"), ("main", "Envoy is starting")]
            await rig.until(lambda: rig.said == starting)
            first, second = await rig.envoys("local", "main")
            await rig.gateways.apply((local,))
            await rig.until_gone("main")
            assert rig.said == starting[:1]
            assert not psutil.pid_exists(second)
            assert envoys(state_dir, "local") == [first]
            await rig.gateways.apply((local, main))
            await rig.until(lambda: rig.said == starting)
    finally:
        assert await asyncio.to_thread(stop_all, state_dir)
    assert envoys(state_dir, "local", "main") == [None, None]
    assert not stop_all(state_dir)


async def test_a_gateway_that_was_taken_away_while_no_agent_ran_is_stopped_by_the_next(state_dir: Path) -> None:
    local, main = role("local"), role("main")
    try:
        async with agent(state_dir) as rig:
            await rig.gateways.apply((local, main))
            await rig.until(lambda: len(rig.said) == 2)
            await rig.until(lambda: {message for _, message in rig.said} == {"Envoy is starting"})
            (kept,) = await rig.envoys("local")
        async with agent(state_dir) as rig:
            await rig.gateways.apply((local,))
            await rig.until_gone("main")
            await rig.until(lambda: rig.said == [("local", "Envoy is starting")])
        assert envoys(state_dir, "local") == [kept]
        assert run_dirs(state_dir) == (run_dir(state_dir, "local"),)
    finally:
        await asyncio.to_thread(stop_all, state_dir)


async def test_before_the_server_has_spoken_nothing_is_stopped(state_dir: Path) -> None:
    try:
        async with agent(state_dir) as rig:
            await rig.gateways.apply((role("local"),))
            await rig.until(lambda: rig.said == [("local", "Envoy is starting")])
            before = await rig.envoys("local")
        async with agent(state_dir) as rig:
            assert rig.said == []
        assert envoys(state_dir, "local") == before
    finally:
        await asyncio.to_thread(stop_all, state_dir)


async def test_the_log_of_one_that_goes_stays_until_it_is_counted(state_dir: Path) -> None:
    async with agent(state_dir) as rig:
        rig.is_counted.clear()
        await rig.gateways.apply((role("local"),))
        await rig.until(lambda: rig.said == [("local", "Envoy is starting")])
        (run_dir(state_dir, "local") / "access.log").write_text("one\n")
        await rig.gateways.apply(())
        assert await asyncio.wait_for(rig.asked.get(), 10) == "local"
        assert envoys(state_dir, "local") == [None]
        assert (run_dir(state_dir, "local") / "access.log").exists()
        rig.is_counted.set()
        await rig.until_gone("local")
    assert list((state_dir / "envoy").glob("*.going")) == []


async def test_one_that_is_wanted_again_before_that_goes_on_with_its_log(state_dir: Path) -> None:
    local = role("local")
    try:
        async with agent(state_dir) as rig:
            rig.is_counted.clear()
            await rig.gateways.apply((local,))
            await rig.until(lambda: rig.said == [("local", "Envoy is starting")])
            (run_dir(state_dir, "local") / "access.log").write_text("one\n")
            await rig.gateways.apply(())
            await asyncio.wait_for(rig.asked.get(), 10)
            await rig.gateways.apply((local,))
            await rig.until(lambda: rig.said == [("local", "Envoy is starting")])
            assert (run_dir(state_dir, "local") / "access.log").read_text() == "one\n"
            assert await rig.envoys("local")
    finally:
        await asyncio.to_thread(stop_all, state_dir)


async def test_a_server_that_does_not_ask_holds_nothing_up(state_dir: Path) -> None:
    async with agent(state_dir, counted_s=0.05) as rig:
        rig.is_counted.clear()
        await rig.gateways.apply((role("local"),))
        await rig.until(lambda: rig.said == [("local", "Envoy is starting")])
        await rig.gateways.apply(())
        await rig.until_gone("local")
