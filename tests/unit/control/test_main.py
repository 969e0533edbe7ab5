"""`homeport server …` as a process: what it prints, how it ends, and what it says when it cannot start."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from fixtures.plane import CLIENT_OPTIONS
from homeport_control.__main__ import _parser, _settings
from homeport_control.store import place
from homeport_protos.api.v1 import api_pb2, api_pb2_grpc
from rig.ports import free_port
from rig.postgres import ESCAPED, Postgres

DEADLINE_S = 40.0  # a process start on a busy machine


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Server:
    """How to start one: its directory and its ports."""

    directory: Path
    api: int
    link: int
    web: int

    @property
    def flags(self) -> list[str]:
        return [
            "--state-dir", str(self.directory), "--api-port", str(self.api), "--link-port", str(self.link),
            "--web-port", str(self.web),
        ]  # fmt: skip

    async def start(self, command: str, *more: str, **environment: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "homeport_control", command, *self.flags, *more,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **environment},
        )  # fmt: skip

    async def ended(self, command: str, *more: str, **environment: str) -> Ended:
        process = await self.start(command, *more, **environment)
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await self.start("run")
        assert process.stderr is not None
        seen = []
        try:
            async with asyncio.timeout(DEADLINE_S):
                while b"event=serving" not in (line := await process.stderr.readline()):
                    seen.append(line)
                    assert line, seen
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def call(self, token: str) -> api_pb2.GetServerResponse:
        credentials = grpc.ssl_channel_credentials((self.directory / "ca.pem").read_bytes())
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.api}", credentials, CLIENT_OPTIONS) as channel:
            metadata = (("authorization", f"Bearer {token}"),)
            return await api_pb2_grpc.ApiStub(channel).GetServer(
                api_pb2.GetServerRequest(), metadata=metadata, timeout=DEADLINE_S
            )


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "state", free_port(), free_port(), free_port())


def one_line(ended: Ended, code: int = 1) -> str:
    assert ended.code == code, ended
    assert ended.out == ""
    assert ended.err.startswith("homeport server: "), ended.err
    assert ended.err.count("\n") == 1, ended.err
    return ended.err


async def test_init_gives_the_admin_token_the_first_time_only_and_it_works(server: Server) -> None:
    first, second = await server.ended("init"), await server.ended("init")
    made = json.loads(first.out)
    assert (first.code, first.err) == (0, "")
    assert made["server"] == f"127.0.0.1:{server.api}"
    assert set(json.loads(second.out)) == set(made) - {"token"}
    assert json.loads(second.out)["ca_sha256"] == made["ca_sha256"]
    directory_mode = stat.S_IMODE(server.directory.stat().st_mode)
    private = [name for name in ("ca.key", "secret.key", "homeport.db")
               if stat.S_IMODE((server.directory / name).stat().st_mode) != 0o600]  # fmt: skip
    assert (directory_mode, private) == (0o700, [])
    async with server.running() as process:
        answer = await server.call(made["token"])
        assert (answer.user, answer.role) == ("admin", "admin")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert not list(server.directory.glob("*.new"))


async def test_sigterm_ends_it_within_seconds_whoever_is_connected(server: Server) -> None:
    token = json.loads((await server.ended("init")).out)["token"]
    async with server.running() as process:
        credentials = grpc.ssl_channel_credentials((server.directory / "ca.pem").read_bytes())
        async with grpc.aio.secure_channel(f"127.0.0.1:{server.api}", credentials, CLIENT_OPTIONS) as channel:
            watch = api_pb2_grpc.ApiStub(channel).WatchRuns(
                api_pb2.ListRunsRequest(), metadata=(("authorization", f"Bearer {token}"),), timeout=DEADLINE_S
            )
            await asyncio.wait_for(anext(aiter(watch)), DEADLINE_S)
            with socket.create_connection(("127.0.0.1", server.web)):  # says nothing, not even a TLS hello
                process.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_second_server_on_one_directory_is_one_line(server: Server) -> None:
    async with server.running():
        other = Server(server.directory, free_port(), free_port(), free_port())
        assert "another server runs on" in one_line(await other.ended("run"))


@pytest.mark.parametrize("which", ["api", "link", "web"])
async def test_a_port_that_is_taken_is_one_line_with_the_port(server: Server, which: str) -> None:
    port = getattr(server, which)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        words = one_line(await server.ended("run"))
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in words
    assert "choose another port" in words


async def test_it_starts_again_after_kill_9(server: Server) -> None:
    token = json.loads((await server.ended("init")).out)["token"]
    async with server.running() as process:
        process.kill()
        await process.wait()
    async with server.running():
        assert (await server.call(token)).role == "admin"


async def test_a_join_token_carries_the_pin(server: Server) -> None:
    pin = json.loads((await server.ended("init")).out)["ca_sha256"]
    made = await server.ended("join-token", "--one-use", "--ttl-s", "60")
    assert (made.code, made.out.startswith(f"hpj_{pin}_"), made.out.count("\n")) == (0, True, 1)
    assert "negative" in one_line(await server.ended("join-token", "--ttl-s", "-1"), code=2)


async def test_who_has_lost_every_token_makes_one_on_the_machine_while_the_server_runs(server: Server) -> None:
    await server.ended("init")
    async with server.running():
        made = await server.ended("admin-token")
        assert (made.code, made.err, made.out.count("\n")) == (0, "", 1)
        answer = await server.call(made.out.strip())
    assert (answer.user, answer.role) == ("admin", "admin")


async def test_a_setting_that_is_wrong_ends_it_with_2_before_anything_begins(server: Server) -> None:
    wrong = await server.ended("init", HOMEPORT_GATEWAY_PORT="seven")
    assert (wrong.code, "'seven' is not a port" in wrong.err) == (2, True)
    assert "Traceback" not in wrong.err
    assert not server.directory.exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("run --api-port 70000", "'70000' is not a port (1 to 65535)"),
        ("run --web-port 0", "'0' is not a port"),
        ("run --lost-after-s -1", "'-1' is not a time in seconds"),
        ("run --base-image base:{pyton}", "unknown placeholder `{pyton}`. Did you mean `{python}`?"),
        ("init --ready-timeout-s nan", "'nan' is not a time in seconds"),
        ("run --no-such-flag", "unrecognized arguments"),
        ("fly", "invalid choice: 'fly'"),
        ("", "required: command"),
    ],
)
def test_flags_that_are_wrong_are_named(arguments: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        _parser().parse_args(arguments.split())
    assert caught.value.code == 2
    assert word in capsys.readouterr().err


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_API_PORT", "7001")
    monkeypatch.setenv("HOMEPORT_LINK_PORT", "7002")
    settings = _settings(_parser().parse_args(["run", "--link-port", "7003", "--lost-after-s", "2.5"]))
    assert (settings.api_port, settings.link_port, settings.web_port, settings.lost_after_s) == (7001, 7003, 7402, 2.5)
    assert settings.database == settings.state_dir / "homeport.db"


async def test_a_state_directory_that_cannot_be_one_is_one_line(server: Server) -> None:
    server.directory.write_text("a file")
    for command in ("init", "run"):
        words = one_line(await server.ended(command))
        assert str(server.directory) in words
    elsewhere = Server(Path("/proc/nothing/here"), server.api, server.link, server.web)
    assert "/proc/nothing" in one_line(await elsewhere.ended("init"))


async def test_what_is_damaged_in_the_state_directory_is_one_line(server: Server) -> None:
    await server.ended("init")
    kept = {path.name: path.read_bytes() for path in server.directory.iterdir()}
    for name, word in (
        ("homeport.db", "the database is damaged"),
        ("ca.key", "ca.key or ca.pem is damaged"),
        ("secret.key", "it holds no key"),
    ):
        (server.directory / name).write_bytes(b"garbage " * 100)
        assert word in one_line(await server.ended("run"))
        (server.directory / name).write_bytes(kept[name])


async def test_a_database_that_is_locked_is_one_line(server: Server) -> None:
    await server.ended("init")
    holder = sqlite3.connect(server.directory / "homeport.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert "database is locked" in one_line(await server.ended("run"))
    finally:
        holder.close()


async def test_a_backup_of_a_running_server_starts_elsewhere_as_the_same_one(server: Server, tmp_path: Path) -> None:
    made = json.loads((await server.ended("init")).out)
    file = tmp_path / "one.tar"
    async with server.running():
        saved = await server.ended("backup", str(file))
        assert (saved.code, saved.err) == (0, "")
        assert "it holds all keys" in saved.out
        assert "another server runs" in one_line(await server.ended("restore", str(file), "--force"))
        assert "is there already" in one_line(await server.ended("backup", str(file)))
    other = Server(tmp_path / "other", server.api, server.link, server.web)
    restored = await other.ended("restore", str(file))
    assert (restored.code, restored.out.count("\n")) == (0, 1)
    assert "is stopped when they connect" in restored.err
    async with other.running():
        assert (await other.call(made["token"])).server_id in saved.out


async def test_after_a_move_the_next_start_is_on_postgresql(server: Server, postgresql: Postgres) -> None:
    made, url = json.loads((await server.ended("init")).out), postgresql.create()
    moved = await server.ended("move", "--to", url)
    assert moved.code == 0, moved.err
    assert "tokens" in moved.out
    assert (await server.ended("move", "--to", url)).code == 1
    (server.directory / "homeport.db").unlink()
    async with server.running():
        assert (await server.call(made["token"])).server_id
        assert (await server.ended("join-token")).code == 0
    assert not (server.directory / "homeport.db").exists()
    line = one_line(await server.ended("run", "--database", url.replace(ESCAPED, "wrong")))
    assert "password authentication failed" in line
    postgresql.drop(url)


@pytest.mark.parametrize(
    ("flags", "variables", "says"),
    [
        (["--database", "mysql://x:hunter2@y/z"], {}, "does not begin with postgresql://"),
        (["--database", "postgresql://x:hunter2@y"], {}, "names no database"),
        ([], {"HOMEPORT_DATABASE": "postgresql://x:hunter2@[y/z"}, "cannot be read"),
        (["--database-file", "/dev/null"], {}, "does not begin with postgresql://"),
    ],
)
async def test_a_database_that_cannot_be_is_one_line_without_its_password(
    server: Server, flags: list[str], variables: dict[str, str], says: str
) -> None:
    line = one_line(await server.ended("run", *flags, **variables), 2)
    assert says in line
    assert "hunter2" not in line


def test_flags_come_before_variables_before_the_state_directorys_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(*flags: str) -> str:
        return _settings(_parser().parse_args(["run", "--state-dir", str(tmp_path), *flags])).database_url

    assert chosen() == ""
    (tmp_path / place.FILE).write_text("postgresql://own/db\n")
    assert chosen() == "postgresql://own/db"
    monkeypatch.setenv("HOMEPORT_DATABASE", "postgresql://variable/db")
    assert chosen() == "postgresql://variable/db"
    (tmp_path / "given").write_text("postgresql://given/db")
    assert chosen("--database-file", str(tmp_path / "given")) == "postgresql://given/db"
    assert chosen("--database", "postgresql://flag/db") == "postgresql://flag/db"
    settings = _settings(_parser().parse_args(["run", "--database", "postgresql://u:hunter2@flag/db"]))
    assert "hunter2" not in repr(settings)
