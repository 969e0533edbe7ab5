"""What any container engine must do for the agent: one suite for the fake and for the real Docker.

The real one fails when there is no Docker, rather than being skipped in silence; HOMEPORT_TEST_NO_DOCKER=1 leaves it
out. Containers carry a server label of this very run and are removed by it.
"""

import asyncio
import io
import os
import subprocess
import sys
import tarfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from fakes.engine import FakeEngine, Program
from homeport_agent.engine.base import (
    LABEL_PORT,
    LABEL_REPLICA,
    LABEL_RUN,
    LABEL_SERVER,
    BadContainer,
    ContainerSpec,
    Engine,
    EngineError,
    EngineEvent,
    Ground,
    ImageNotFound,
    NoSuchContainer,
    PathKind,
    RegistryUnreachable,
)
from homeport_agent.engine.docker import DockerEngine
from homeport_agent.model import Container, LogLine
from homeport_protos.logs import unix_ns

IMAGE = "homeport-test/busybox:1"
BUILD = Path(__file__).parents[1] / "rig" / "images" / "build.py"
SERVER = f"contract-{uuid.uuid4().hex[:12]}"
DEADLINE_S = 20.0


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


SLEEP = shell("exec sleep 60")  # does not catch SIGTERM: as the first process it is deaf to it
CATCHES = shell("trap 'exit 7' TERM; sleep 60 & echo up; wait")
IGNORES = shell("trap 'true' TERM; echo up; while true; do sleep 60 & wait $!; done")
EXIT_3 = shell("echo out; echo err >&2; exit 3")
LINES = shell("for i in 1 2 3 4 5; do echo line $i; done; exec sleep 60")
PRINTS = shell("echo one; sleep 0.3; echo two; exit 0")
ENV = shell("echo $GREETING; exit 0")
GREETS = shell("cat /opt/a/greeting /opt/link; exit 0")
PROGRAMS = {
    GREETS: Program(stdout=("hello", "hello"), exits=0),
    SLEEP: Program(on_term=137),
    CATCHES: Program(stdout=("up",), on_term=7),
    IGNORES: Program(stdout=("up",), on_term=None),
    EXIT_3: Program(stdout=("out",), stderr=("err",), exits=3),
    LINES: Program(stdout=tuple(f"line {i}" for i in range(1, 6)), on_term=137),
    PRINTS: Program(stdout=("one", "two"), exits=0),
    ENV: Program(prints_env="GREETING", exits=0),
}

REAL = pytest.param(
    "docker",
    marks=[
        pytest.mark.docker,
        pytest.mark.skipif(os.environ.get("HOMEPORT_TEST_NO_DOCKER") == "1", reason="HOMEPORT_TEST_NO_DOCKER=1"),
    ],
)


@pytest.fixture(params=["fake", REAL])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    if request.param == "fake":
        yield FakeEngine({IMAGE}, PROGRAMS)
        return
    await asyncio.to_thread(subprocess.run, [sys.executable, str(BUILD)], check=True, timeout=120)
    made = DockerEngine()
    try:
        yield made
        for left in await made.list(((LABEL_SERVER, SERVER),)):
            await made.remove(left.id)
    finally:
        await made.close()


def spec(command: tuple[str, ...] = SLEEP, replica: str = "a", server: str = SERVER, **values: object) -> ContainerSpec:
    labels = ((LABEL_SERVER, server), (LABEL_REPLICA, replica), (LABEL_RUN, "contract"), (LABEL_PORT, "8000"))
    defaults = {"name": f"homeport-{server}-{replica}", "image": IMAGE, "command": command, "port": 8000}
    return ContainerSpec(labels=labels, **(defaults | values))  # type: ignore[arg-type]


async def started(engine: Engine, **values: object) -> Container:
    return await engine.start(await engine.create(spec(**values)))  # type: ignore[arg-type]


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await look():  # noqa: ASYNC110 - Docker sends no event for what is looked for here
            await asyncio.sleep(0.02)


async def until_ended(engine: Engine, container: str) -> Container:
    async def has_ended() -> bool:
        shown = await engine.inspect(container)
        return shown is None or not shown.is_running

    await until(has_ended)
    shown = await engine.inspect(container)
    assert shown is not None
    return shown


async def until_prints(engine: Engine, container: str, text: bytes) -> None:
    async def has_printed() -> bool:
        return text in [line.text for line in await read_logs(engine, container)]

    await until(has_printed)


async def read_logs(engine: Engine, container: str, tail: int = -1, follow: bool = False) -> list[LogLine]:
    async with asyncio.timeout(DEADLINE_S), engine.logs(container, tail=tail, since_s=0, follow=follow) as lines:
        return [line async for line in lines]


async def test_it_tells_its_version_and_where_its_data_lies(engine: Engine) -> None:
    info = await engine.info()
    assert info.version
    assert info.data_root.startswith("/")


async def test_it_knows_which_images_are_here(engine: Engine) -> None:
    assert await engine.has_image(IMAGE)
    listed = await engine.images()
    assert IMAGE in listed
    assert list(listed) == sorted(set(listed))
    assert not await engine.has_image("homeport-test/nosuch:1")


async def test_a_started_container_runs_on_a_port_that_the_engine_picked(engine: Engine) -> None:
    shown = await started(engine)
    assert shown.is_running
    assert shown.host_port > 0
    assert shown.ip
    assert shown.exit_code is None
    assert (shown.replica_id, shown.run_name) == ("a", "contract")
    assert await engine.inspect(shown.id) == shown


async def test_a_container_that_was_never_started_says_so(engine: Engine) -> None:
    container = await engine.create(spec())
    shown = await engine.inspect(container)
    assert shown is not None
    assert (shown.is_running, shown.was_started, shown.exit_code) == (False, False, None)


async def test_the_end_of_a_program_is_seen_with_its_exit_code(engine: Engine) -> None:
    shown = await started(engine, command=EXIT_3)
    ended = await until_ended(engine, shown.id)
    assert (ended.exit_code, ended.was_started, ended.oom_killed) == (3, True, False)


async def test_the_same_container_starts_again_in_place(engine: Engine) -> None:
    first = await started(engine)
    await engine.stop(first.id, 0)
    again = await engine.start(first.id)
    assert (again.id, again.is_running) == (first.id, True)
    assert again.host_port > 0


async def test_a_program_that_catches_the_stop_signal_ends_by_itself(engine: Engine) -> None:
    shown = await started(engine, command=CATCHES)
    await until_prints(engine, shown.id, b"up")
    ended = await engine.stop(shown.id, 30)
    assert ended is not None
    assert (ended.is_running, ended.exit_code) == (False, 7)


async def test_a_program_that_goes_on_is_killed_after_the_grace(engine: Engine) -> None:
    shown = await started(engine, command=IGNORES)
    await until_prints(engine, shown.id, b"up")
    ended = await engine.stop(shown.id, 0.5)
    assert ended is not None
    assert (ended.is_running, ended.exit_code) == (False, 137)


async def test_a_program_that_is_deaf_to_the_stop_signal_is_not_waited_for(engine: Engine) -> None:
    shown = await started(engine, command=SLEEP)
    async with asyncio.timeout(10):
        ended = await engine.stop(shown.id, 300)
    assert ended is not None
    assert (ended.is_running, ended.exit_code) == (False, 137)


async def test_without_a_grace_it_is_killed_at_once(engine: Engine) -> None:
    shown = await started(engine, command=CATCHES)
    ended = await engine.stop(shown.id, 0)
    assert ended is not None
    assert ended.exit_code == 137


async def test_stopping_what_does_not_run_is_fine(engine: Engine) -> None:
    assert await engine.stop("homeport-nosuch", 5) is None
    shown = await started(engine, command=EXIT_3)
    await until_ended(engine, shown.id)
    ended = await engine.stop(shown.id, 5)
    assert ended is not None
    assert ended.exit_code == 3


async def test_a_removed_container_is_gone_and_removing_it_again_is_fine(engine: Engine) -> None:
    shown = await started(engine)
    await engine.remove(shown.id)
    assert await engine.inspect(shown.id) is None
    await engine.remove(shown.id)


async def test_the_list_holds_only_containers_with_the_labels(engine: Engine) -> None:
    other = f"{SERVER}-other"
    mine = await started(engine, replica="a")
    stopped = await engine.create(spec(replica="b"))
    foreign = await engine.create(spec(replica="c", server=other))
    try:
        found = await engine.list(((LABEL_SERVER, SERVER),))
        assert {it.id for it in found} == {mine.id, stopped}
        assert {it.replica_id for it in found} == {"a", "b"}
    finally:
        await engine.remove(foreign)


async def test_two_containers_never_have_one_name(engine: Engine) -> None:
    await engine.create(spec())
    with pytest.raises(EngineError, match="already in use"):
        await engine.create(spec())


async def test_logs_come_in_order_with_stream_and_time(engine: Engine) -> None:
    shown = await started(engine, command=LINES)
    await until_prints(engine, shown.id, b"line 5")
    lines = await read_logs(engine, shown.id)
    assert [line.text for line in lines] == [f"line {i}".encode() for i in range(1, 6)]
    assert {line.stream for line in lines} == {"stdout"}
    assert all(line.timestamp.startswith("20") and line.timestamp.endswith("Z") for line in lines)
    assert [line.text for line in await read_logs(engine, shown.id, tail=2)] == [b"line 4", b"line 5"]
    assert await read_logs(engine, shown.id, tail=0) == []


async def test_both_streams_of_a_program_that_ended_can_be_read(engine: Engine) -> None:
    shown = await started(engine, command=EXIT_3)
    await until_ended(engine, shown.id)
    lines = await read_logs(engine, shown.id)
    assert {(line.text, line.stream) for line in lines} == {(b"out", "stdout"), (b"err", "stderr")}


async def test_followed_logs_end_with_the_program(engine: Engine) -> None:
    shown = await started(engine, command=PRINTS)
    lines = await read_logs(engine, shown.id, follow=True)
    assert [line.text for line in lines] == [b"one", b"two"]


async def test_a_followed_log_can_be_left_while_nothing_comes(engine: Engine) -> None:
    shown = await started(engine, command=LINES)
    async with asyncio.timeout(DEADLINE_S), engine.logs(shown.id, tail=1, since_s=0, follow=True) as lines:
        assert (await anext(lines)).text.startswith(b"line")
    assert (await engine.inspect(shown.id)) == shown


async def test_logs_of_no_container_are_an_error(engine: Engine) -> None:
    with pytest.raises(NoSuchContainer):
        await read_logs(engine, "homeport-nosuch")


async def test_the_environment_reaches_the_program(engine: Engine) -> None:
    shown = await started(engine, command=ENV, env=(("GREETING", "good day=yes"),))
    await until_ended(engine, shown.id)
    assert [line.text for line in await read_logs(engine, shown.id)] == [b"good day=yes"]


async def test_events_tell_start_and_end_of_ours_only(engine: Engine) -> None:
    async with asyncio.timeout(DEADLINE_S), engine.events(((LABEL_SERVER, SERVER),)) as happened:
        assert await anext(happened) == EngineEvent("watching")
        foreign = await engine.create(spec(replica="foreign", server=f"{SERVER}-other", command=EXIT_3))
        try:
            await engine.start(foreign)
            await started(engine, replica="mine", command=EXIT_3)
            seen = [await anext(happened), await anext(happened)]
        finally:
            await engine.remove(foreign)
    assert seen == [EngineEvent("start", "mine"), EngineEvent("die", "mine")]


def tar(*entries: tuple[str, bytes, bytes, str]) -> bytes:
    """Of (name, type, content, where a symlink points)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind, data, link in entries:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mode, info.linkname = kind, len(data), 0o755, link
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


GREETING = tar(
    ("opt", tarfile.DIRTYPE, b"", ""),
    ("opt/a", tarfile.DIRTYPE, b"", ""),
    ("opt/a/greeting", tarfile.REGTYPE, b"hello\n", ""),
    ("opt/link", tarfile.SYMTYPE, b"", "a/greeting"),
)


async def test_what_is_put_in_a_container_before_its_start_is_there_for_its_program(engine: Engine) -> None:
    container = await engine.create(spec(command=GREETS))
    await engine.put(container, [GREETING[:700], GREETING[700:]])
    assert await engine.read_file(container, "/opt/link") == b"hello\n"
    await engine.start(container)
    await until_ended(engine, container)
    assert [line.text for line in await read_logs(engine, container)] == [b"hello", b"hello"]


async def test_what_lies_at_a_path_is_told_without_following_a_symlink(engine: Engine) -> None:
    container = await engine.create(spec())
    await engine.put(container, [GREETING])
    paths = ("/opt/a", "/opt/a/greeting", "/opt/link", "/nosuch", "/nosuch/file")
    kinds = [await engine.path_kind(container, path) for path in paths]
    assert kinds == [PathKind.FOLDER, PathKind.FILE, PathKind.SYMLINK, PathKind.NOTHING, PathKind.NOTHING]
    assert await engine.read_file(container, "/nosuch") is None
    assert await engine.read_file(container, "/opt/a") is None
    assert b"root:x:0:0" in (await engine.read_file(container, "/etc/passwd") or b"")


async def test_an_archive_that_fails_on_its_way_is_told_as_it_failed(engine: Engine) -> None:
    class Broken(Exception):
        pass

    def pieces() -> Iterator[bytes]:
        yield GREETING[:1000]
        raise Broken("half-way")

    container = await engine.create(spec())
    with pytest.raises(Broken, match="half-way"):
        await engine.put(container, pieces())


async def test_a_container_tells_its_user_and_where_its_binds_lie(engine: Engine, tmp_path: Path) -> None:
    container = await engine.create(spec(user="nobody", binds=((str(tmp_path), "/data"),)))
    assert await engine.ground(container) == Ground("nobody", ("/data",))
    plain = await engine.create(spec(replica="b"))
    assert await engine.ground(plain) == Ground("", ())


async def test_nothing_can_be_put_in_no_container(engine: Engine) -> None:
    with pytest.raises(NoSuchContainer):
        await engine.put("homeport-nosuch", [GREETING])
    with pytest.raises(NoSuchContainer):
        await engine.path_kind("homeport-nosuch", "/etc")
    with pytest.raises(NoSuchContainer):
        await engine.ground("homeport-nosuch")
    with pytest.raises(NoSuchContainer):
        await engine.usage("homeport-nosuch")


async def test_a_running_container_has_numbers_and_one_that_ended_has_none(engine: Engine) -> None:
    shown = await started(engine, memory_limit_mib=256)
    used = await engine.usage(shown.id)
    assert used.memory_mib < used.memory_limit_mib
    assert used.cpu_s > 0
    await engine.stop(shown.id, 0)
    with pytest.raises(EngineError, match="does not run"):
        await engine.usage(shown.id)


async def test_a_container_of_an_image_that_is_not_here_is_refused(engine: Engine) -> None:
    with pytest.raises(ImageNotFound, match="nosuch"):
        await engine.create(spec(image="homeport-test/nosuch:1"))


async def test_a_program_that_the_image_has_not_is_named(engine: Engine) -> None:
    container = await engine.create(spec(command=("nosuchprogram",)))
    with pytest.raises(BadContainer, match="has no program 'nosuchprogram'") as caught:
        await engine.start(container)
    assert not caught.value.can_heal


async def test_a_user_that_the_image_does_not_know_is_named(engine: Engine) -> None:
    container = await engine.create(spec(user="ghost"))
    with pytest.raises(BadContainer, match="ghost"):
        await engine.start(container)


async def test_starting_what_is_not_there_is_an_error(engine: Engine) -> None:
    with pytest.raises(NoSuchContainer):
        await engine.start("homeport-nosuch")


async def test_a_registry_that_nobody_runs_is_unreachable(engine: Engine) -> None:
    with pytest.raises(RegistryUnreachable, match=r"127\.0\.0\.1:9/x:1"):
        await engine.pull("127.0.0.1:9/x:1", None, lambda done, total: None, 30)


async def test_lines_since_a_time_are_those_that_are_not_older(engine: Engine) -> None:
    made = await started(engine, command=EXIT_3)
    await until_ended(engine, made.id)
    lines = sorted(await read_logs(engine, made.id), key=lambda line: line.timestamp)
    assert {len(line.timestamp) for line in lines} == {len("2026-01-01T00:00:00.000000000Z")}  # so they sort as text
    since_ns = unix_ns(lines[1].timestamp)
    async with engine.logs(made.id, tail=-1, since_s=0, follow=False, since_ns=since_ns) as found:
        assert [line async for line in found] == lines[1:]
