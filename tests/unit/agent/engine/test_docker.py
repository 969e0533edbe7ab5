"""What Docker does only with a registry or a daemon that fails; the rest is tests/contract/test_engine.py."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes.daemon import FakeDaemon, fake_daemon
from homeport_agent.engine.base import (
    EngineDown,
    EngineError,
    EngineHung,
    ImageNotFound,
    NoSpace,
    PullDenied,
    RegistryUnreachable,
)
from homeport_agent.engine.docker import DockerEngine
from homeport_agent.model import RegistryAuth

PULL = "/images/create"


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FakeDaemon]:
    async with fake_daemon(tmp_path) as made:
        yield made


@pytest.fixture
async def engine(daemon: FakeDaemon) -> AsyncIterator[DockerEngine]:
    made = DockerEngine(str(daemon.socket))
    yield made
    await made.close()


async def pull(engine: DockerEngine, auth: RegistryAuth | None = None, stall_s: float = 5) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    async with asyncio.timeout(20):
        await engine.pull("reg.example/app:2", auth, lambda done, total: seen.append((done, total)), stall_s)
    return seen


def downloading(layer: str, current: int, total: int) -> object:
    return {"status": "Downloading", "id": layer, "progressDetail": {"current": current, "total": total}}


async def test_a_pull_tells_its_bytes(engine: DockerEngine, daemon: FakeDaemon) -> None:
    events = [downloading("a", 5, 10), downloading("b", 1, 4), {"status": "Download complete", "id": "a"}]
    daemon.stream(PULL, events)
    assert await pull(engine) == [(5, 10), (6, 14), (11, 14)]
    assert "fromImage=reg.example%2Fapp&tag=2" in daemon.requests[-1]


async def test_credentials_go_along_only_when_there_are_some(engine: DockerEngine, daemon: FakeDaemon) -> None:
    daemon.stream(PULL, [])
    await pull(engine)
    assert "x-registry-auth" not in daemon.requests[-1].lower()
    await pull(engine, RegistryAuth("me", "secret"))
    assert "x-registry-auth: " in daemon.requests[-1].lower()


async def test_an_error_event_inside_a_stream_that_began_well_is_a_failure(
    engine: DockerEngine, daemon: FakeDaemon
) -> None:
    daemon.stream(PULL, [downloading("a", 5, 10), {"error": "unexpected EOF"}])
    with pytest.raises(RegistryUnreachable, match="unexpected EOF"):
        await pull(engine)


@pytest.mark.parametrize(
    ("status", "text", "kind", "can_heal"),
    [
        (500, "Head https://reg.example/v2/app: no basic auth credentials", PullDenied, False),
        (500, "unauthorized: authentication required", PullDenied, False),
        (404, "manifest for reg.example/app:2 not found: manifest unknown", ImageNotFound, False),
        (
            404,
            "pull access denied for app, repository does not exist or may require 'docker login'",
            ImageNotFound,
            False,
        ),
        (
            500,
            "Get https://reg.example/v2/: dial tcp 10.0.0.9:443: connect: connection refused",
            RegistryUnreachable,
            True,
        ),
        (500, "lookup reg.example on 10.0.0.53:53: no such host", RegistryUnreachable, True),
        (500, "write /var/lib/docker/tmp/x: no space left on device", NoSpace, True),
        (500, "something new", EngineError, True),
    ],
)
async def test_a_refused_pull_says_what_to_do(
    engine: DockerEngine, daemon: FakeDaemon, status: int, text: str, kind: type[EngineError], can_heal: bool
) -> None:
    daemon.answer(PULL, status, {"message": text})
    with pytest.raises(kind) as caught:
        await pull(engine)
    assert type(caught.value) is kind
    assert caught.value.can_heal is can_heal
    assert "reg.example/app:2" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_full_disk_says_how_much_is_free_and_how_to_free_some(engine: DockerEngine, daemon: FakeDaemon) -> None:
    daemon.stream(PULL, [{"error": "failed to register layer: write /x: no space left on device"}])
    with pytest.raises(NoSpace, match=r"MiB free on .*docker system prune"):
        await pull(engine)


async def test_a_pull_that_stalls_is_given_up_and_its_connection_closed(
    engine: DockerEngine, daemon: FakeDaemon
) -> None:
    daemon.stream(PULL, [downloading("a", 1, 10)], until_hung_up=True)
    with pytest.raises(RegistryUnreachable, match=r"stalled: nothing came for 0\.2 s"):
        await pull(engine, stall_s=0.2)
    async with asyncio.timeout(5):
        await daemon.hung_up.wait()


async def test_a_cancelled_pull_ends_the_download(engine: DockerEngine, daemon: FakeDaemon) -> None:
    begun = asyncio.Event()
    daemon.stream(PULL, [downloading("a", 1, 10)], until_hung_up=True)
    work = asyncio.ensure_future(engine.pull("reg.example/app:2", None, lambda done, total: begun.set(), 60))
    async with asyncio.timeout(5):
        await begun.wait()
        work.cancel()
        await asyncio.wait([work])
        await daemon.hung_up.wait()
    assert work.cancelled()


async def test_a_daemon_that_is_not_there_is_named_with_how_to_start_it(tmp_path: Path) -> None:
    engine = DockerEngine(str(tmp_path / "nosuch.sock"))
    with pytest.raises(EngineDown, match=r"Docker does not answer at .*nosuch\.sock: .*; start it with: \w+"):
        await engine.info()
    with pytest.raises(EngineDown):
        async with engine.events(()):
            pass
    with pytest.raises(EngineDown):
        await pull(engine)
    await engine.close()


async def test_a_daemon_that_ends_is_seen_and_found_again_when_it_is_back(tmp_path: Path) -> None:
    engine = DockerEngine(str(tmp_path / "docker.sock"))
    for _ in range(2):
        async with fake_daemon(tmp_path) as daemon:
            daemon.answer("/info", 200, {"ServerVersion": "20.10.24", "DockerRootDir": "/data"})
            assert (await engine.info()).data_root == "/data"
            daemon.answers["/info"] = _hang_up
            with pytest.raises(EngineDown, match="closed the connection"):
                await engine.info()
    await engine.close()


async def test_a_daemon_that_hangs_is_not_waited_for(daemon: FakeDaemon) -> None:
    engine = DockerEngine(str(daemon.socket), info_s=0.2)
    daemon.stream("/info", [], until_hung_up=True)
    async with asyncio.timeout(5):
        with pytest.raises(EngineHung, match=r"did not answer within 0\.2 s"):
            await engine.info()
        daemon.answer("/containers/x/json", 404, {"message": "No such container: x"})
        assert await engine.inspect("x") is None  # the others go on
    await engine.close()


async def _hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()
