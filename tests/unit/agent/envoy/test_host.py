"""agent/envoy/host: what is said when Envoy cannot run. What it does with a real one: tests/envoy/test_lifecycle.py."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.host import EnvoyHost
from homeport_agent.model import GatewayObserved, GatewayRole
from rig.ports import free_port


@contextlib.asynccontextmanager
async def running(state_dir: Path) -> AsyncIterator[tuple[EnvoyHost, Callable[[Callable[[], bool]], object]]]:
    changed = asyncio.Event()
    identity = Identity("h1", state_dir / "host.pem", state_dir / "host.key", state_dir / "ca.pem")
    host = EnvoyHost(state_dir, "local", lambda: identity, lambda: "127.0.0.1", changed.set)

    async def until(met: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not met():
                changed.clear()
                await changed.wait()

    task = asyncio.create_task(host.run())
    try:
        yield host, until
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_without_a_role_there_is_nothing_to_say(tmp_path: Path) -> None:
    async with running(tmp_path) as (host, _):
        assert host.observed() is None
        await host.apply(None)
        assert host.observed() is None
    assert not (tmp_path / "envoy").exists()


async def test_a_binary_that_is_missing_is_said_and_the_role_can_be_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEPORT_ENVOY_BINARY", "/nowhere")
    async with running(tmp_path) as (host, until):
        await host.apply(GatewayRole("local", 7401, "127.0.0.1", free_port()))
        await until(lambda: host.observed() is not None)  # type: ignore[misc]
        message = "HOMEPORT_ENVOY_BINARY=/nowhere is not an executable file"
        assert host.observed() == GatewayObserved("local", running=False, message=message)
        await host.apply(None)
        await until(lambda: host.observed() is None)  # type: ignore[misc]


async def test_a_state_directory_that_is_too_deep_for_a_socket_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEPORT_ENVOY_BINARY", "/bin/true")
    deep = tmp_path / ("x" * 100)
    async with running(deep) as (host, until):
        await host.apply(GatewayRole("local", 7401, "127.0.0.1", free_port()))
        await until(lambda: host.observed() is not None)  # type: ignore[misc]
        observed = host.observed()
        assert observed is not None
        assert observed.message.endswith("is too long a path for a Unix socket; use a shorter state directory")
