"""Both clients against a real server in this process: every kind of call, its errors, and a follow over a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from fixtures.clients import aclient
from fixtures.control import DEADLINE_S, State, add_host, add_replica, add_run, add_token, migrated, opened, service
from fixtures.plane import Plane, WireAgent, first, serving
from homeport import AsyncClient, Denied, Invalid, LogLine, NotFound, Refused, Unauthenticated
from homeport_control.domain.services import RunState
from homeport_control.store import events, runs
from homeport_protos.agent.v1 import agent_pb2
from rig.ports import free_port

ADMIN, USER = "hp_admin", "hp_user"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("template") / "homeport.db"


@pytest.fixture
async def state(template: Path, tmp_path: Path) -> AsyncIterator[State]:
    async with opened(migrated(template, tmp_path / "server").parent) as state:
        await add_host(state, "h1", gateway="local", gateway_ready=True)
        await add_token(state, ADMIN, "admin")
        await add_token(state, USER, "user")
        yield state


@pytest.fixture
async def plane(state: State) -> AsyncIterator[Plane]:
    async with serving(state, gateway_start_s=0.05) as plane:
        yield plane


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def given(plane: Plane, token: str = USER) -> dict[str, str]:
    return {"server": f"127.0.0.1:{plane.settings.api_port}", "token": token, "ca": plane.state.ca.pem.decode()}


@pytest.fixture
async def calls(plane: Plane, kind: str) -> AsyncIterator[AsyncClient]:
    async with aclient(kind, **given(plane)) as made:
        yield made


async def test_a_service_is_planned_applied_listed_and_stopped(calls: AsyncClient) -> None:
    document = service("web", env={"SECRET": "hunter2"})
    planned = await calls.plan(document)
    assert (planned.action, planned.run_name) == ("create", "web")
    assert [offer.host for offer in planned.offers] == ["h1"]
    run = await calls.apply(document, plan=planned, wait=False)
    assert (run.name, run.revision) == ("web", 1)
    assert [it.name for it in await calls.runs()] == ["web"]
    assert (await calls.plan(document)).action == "unchanged"
    changed = {**document, "replicas": 2}
    assert [change.path for change in (await calls.plan(changed)).changes] == ["replicas"]
    assert (await calls.apply(changed, wait=False)).newest_revision == 2
    assert list((await calls.stop("web", wait=False)).stopping) == ["web"]
    with pytest.raises(NotFound, match="nobody"):
        await calls.stop("nobody")


async def test_a_plan_that_is_old_is_refused(calls: AsyncClient) -> None:
    planned = await calls.plan(service("web"))
    await calls.apply(service("web", port=9000), wait=False)
    with pytest.raises(Refused):
        await calls.apply(service("web"), plan=planned, wait=False)


async def test_what_the_language_does_not_know_is_invalid_with_its_line(calls: AsyncClient, tmp_path: Path) -> None:
    file = tmp_path / "p" / "web.homeport.yml"
    file.parent.mkdir()
    file.write_text("type: service\nname: web\nimage: hello:1\nport: 8000\nreplica: 3\n")
    with pytest.raises(Invalid) as caught:
        await calls.plan(file)
    assert caught.value.details[0].startswith(f"{file}:5: replica: ")


async def test_the_folder_of_a_file_is_uploaded_once(calls: AsyncClient, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "web.homeport.yml").write_text(
        "type: service\nname: web\nimage: hello:1\nport: 8000\ncommands: [./run]\n"
    )
    (folder / "run").write_bytes(bytes(range(256)) * 4096)
    prepared = await calls.prepare(folder)
    assert prepared.code is not None
    assert prepared.code.missing_bytes == 1 << 20
    await calls.apply(prepared, wait=False)
    again = await calls.prepare(folder)
    assert again.code is not None
    assert again.code.missing == ()


async def test_a_watch_tells_the_list_at_once_and_after_a_change(calls: AsyncClient, state: State) -> None:
    async with aclosing(calls.watch_runs()) as watch:
        assert await first(watch) == []
        await add_run(state, "web")
        assert [run.name for run in await first(watch)] == ["web"]


async def test_a_task_that_is_cancelled_leaves_its_stream(state: State) -> None:
    reached = asyncio.Event()

    async def reader(client: AsyncClient) -> None:
        async for _ in client.watch_runs():
            reached.set()

    async with serving(state) as plane, AsyncClient(**given(plane)) as client:
        reading = asyncio.create_task(reader(client))
        await asyncio.wait_for(reached.wait(), DEADLINE_S)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert (await client.server()).role == "user"


async def test_what_may_not_be_done_is_denied_and_strangers_are_not_known(plane: Plane, kind: str) -> None:
    async with aclient(kind, **given(plane)) as user:
        with pytest.raises(Denied):
            await user.drain("h1")
    async with aclient(kind, **given(plane, ADMIN)) as admin:
        assert "h1" in await admin.drain("h1")
        assert [host.cordoned for host in await admin.hosts()] == [True]
        await admin.undrain("h1")
        created = await admin.create_token("ci", role="service", services=["web"])
        assert created.token.startswith("hp_")
        await admin.revoke_token("ci")
    async with aclient(kind, **given(plane, "hp_stranger")) as stranger:
        with pytest.raises(Unauthenticated):
            await stranger.server()


async def test_lines_come_from_the_host_of_the_replica(calls: AsyncClient, plane: Plane, state: State) -> None:
    agent = await plane.joined("box")
    await agent.connect()
    await add_replica(state, await add_run(state), "r1", host_id=agent.host_id)
    async with aclosing(calls.logs("hello", tail=5)) as lines:
        line = await written(agent, lines)
    assert line == ("one", "stderr", 0)
    await agent.close()


async def written(agent: WireAgent, lines: AsyncIterator[LogLine]) -> tuple[str, str, int]:
    """The first line, which the host writes when it is asked."""
    reading = asyncio.create_task(first(lines))
    while (message := await agent.hear()).WhichOneof("message") != "log_request":
        pass
    one = agent_pb2.LogLine(text=b"one", stream="stderr", timestamp="2026-01-01T00:00:00Z")
    await agent.say(agent_pb2.LogLines(request_id=message.log_request.request_id, lines=[one]))
    found = await reading
    return found.text, found.stream, found.replica


async def test_a_follow_goes_on_over_a_restart_and_tells_each_event_once(state: State, kind: str) -> None:
    port = free_port()
    notices: list[str] = []

    async def record(sentence: str) -> None:
        async with state.database.write() as write:
            events.record(write, kind="run", object_id="", name="story", sentence=sentence)

    async with serving(state, api_port=port) as plane:
        made = aclient(kind, **given(plane))
        calls = await made.__aenter__()
        await record("one")
        following = calls.events(follow=True, name="story", on_notice=notices.append)
        assert (await first(following)).sentence == "one"
    await record("two")
    async with serving(state, api_port=port):
        assert (await first(following)).sentence == "two"
        await record("three")
        assert (await first(following)).sentence == "three"
        await following.aclose()
        await made.__aexit__(None, None, None)
    assert len(notices) == 1


async def test_a_run_that_ends_meanwhile_ends_a_follow_of_its_logs(calls: AsyncClient, state: State) -> None:
    run_id = await add_run(state)
    async with state.database.write() as write:
        await runs.update(write, run_id, state=RunState.TERMINATED, ended_at_s=2000.0)
    assert [line async for line in calls.logs("hello", follow=True, on_notice=lambda line: None)] == []
