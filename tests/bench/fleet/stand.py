"""A real server process, processes of simulated agents, and the measuring of the first: what bench and test are built of."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
from homeport_protos import lag
from homeport_protos.api.v1 import api_pb2 as api
from homeport_protos.api.v1.api_pb2_grpc import ApiStub
from rig.ports import free_ports
from rig.stack import Process, lag_file

TESTS = Path(__file__).resolve().parents[2]
CONTROL = [sys.executable, "-P", "-m", "homeport_control"]
START_S = 60.0
PER_PROCESS = 500  # simulated agents


@dataclass(frozen=True, slots=True)
class Used:
    """Of the server's process, at a moment."""

    at_s: float
    cpu_s: float
    rss_mib: float
    threads: int
    files: int


class Server:
    """A server process with a state directory of its own. `arguments`: further flags, as `--database URL`."""

    def __init__(self, folder: Path, *arguments: str, wrapper: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.api_port, self.link_port, self.web_port, gateway, edge = free_ports(5)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "HOMEPORT_CONFIG": str(folder / "cli.yml"),
            "LANG": "C.UTF-8",
        }
        self._late = lag_file(folder, "server")
        ports = (self.api_port, self.link_port, self.web_port, gateway, edge)
        names = ("api", "link", "web", "gateway", "edge")
        flags = [part for name, port in zip(names, ports, strict=True) for part in (f"--{name}-port", str(port))]
        self.flags = ["--state-dir", str(folder / "server"), *flags, *arguments]
        self.process = Process(
            "server",
            [*wrapper, *CONTROL, "run", *self.flags],
            folder / "server.log",
            {**self.environment, lag.VARIABLE: str(self._late)},
        )
        self.token = ""

    def init(self) -> None:
        self.token = json.loads(self._control("init"))["token"]

    def join_token(self) -> str:
        return self._control("join-token").strip()

    @property
    def api(self) -> str:
        return f"127.0.0.1:{self.api_port}"

    @property
    def ca(self) -> Path:
        return self.folder / "server" / "ca.pem"

    def used(self) -> Used:
        process = psutil.Process(self.process.pid)
        with process.oneshot():
            times = process.cpu_times()
            return Used(
                time.monotonic(),
                times.user + times.system,
                process.memory_info().rss / 2**20,
                process.num_threads(),
                process.num_fds(),
            )

    def late(self) -> list[int]:
        """How late its event loop was since it started, counted by classes (homeport_protos.lag)."""
        try:
            return list(json.loads(self._late.read_text())["counts"])
        except FileNotFoundError:  # it has just started
            return [0] * (len(lag.BOUNDS_MS) + 1)

    def homeport(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line, as a user runs it."""
        command = [str(Path(sys.executable).parent / "homeport"), *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, cwd="/"
        )

    def log_in(self) -> None:
        done = self.homeport("login", "--server", self.api, "--token", self.token, "--ca", str(self.ca))
        assert done.returncode == 0, done.stderr

    def _control(self, command: str) -> str:
        done = subprocess.run(
            [*CONTROL, command, *self.flags], env=self.environment, capture_output=True, text=True, timeout=60, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @asynccontextmanager
    async def client(self) -> AsyncIterator["Client"]:
        credentials = grpc.ssl_channel_credentials(self.ca.read_bytes())
        options = (
            ("grpc.ssl_target_name_override", "homeport-server"),
            ("grpc.max_receive_message_length", 256 << 20),
            ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.initial_reconnect_backoff_ms", 100),
        )
        async with grpc.aio.secure_channel(self.api, credentials, options) as channel:
            yield Client(ApiStub(channel), (("authorization", f"Bearer {self.token}"),))


class Client:
    """Calls of the API, as the command line makes them."""

    def __init__(self, stub: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        self._stub = stub
        self._more: dict[str, Any] = {"metadata": metadata, "timeout": 60}

    async def up(self) -> None:
        """Until the server answers."""
        async with asyncio.timeout(START_S):
            while True:
                try:
                    await self._stub.GetServer(api.GetServerRequest(), wait_for_ready=True, **self._more)
                    return
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise

    async def server(self) -> Any:
        return await self._stub.GetServer(api.GetServerRequest(), **self._more)

    async def ps(self, *names: str) -> Any:
        return await self._stub.ListRuns(api.ListRunsRequest(names=names), **self._more)

    async def hosts(self, *names: str) -> Any:
        return await self._stub.ListHosts(api.ListHostsRequest(names=names), **self._more)

    async def events(self) -> Any:
        async for page in self._stub.Events(api.EventsRequest(limit=100), **self._more):
            last = page
        return last

    async def plan(self, document: dict[str, Any]) -> Any:
        return await self._stub.Plan(api.PlanRequest(document=api.Document(json=json.dumps(document))), **self._more)

    async def apply(self, document: dict[str, Any]) -> Any:
        answer = await self._stub.Apply(
            api.ApplyRequest(document=api.Document(json=json.dumps(document))), **self._more
        )
        assert not answer.problems, answer.problems
        return answer

    async def stop(self, *names: str) -> Any:
        return await self._stub.StopRuns(api.StopRunsRequest(names=names), **self._more)


class Crowd:
    """Processes of simulated agents."""

    def __init__(self, server: Server, count: int, facts_every_s: float = 60.0) -> None:
        token = server.join_token()
        self._children: list[subprocess.Popen[str]] = []
        self.count = count
        environment = {**server.environment, "PYTHONPATH": str(TESTS)}
        for first in range(0, count, PER_PROCESS):
            command = [sys.executable, "-m", "bench.fleet.agents", "--first", str(first)]
            command += ["--count", str(min(PER_PROCESS, count - first)), "--facts-every-s", str(facts_every_s)]
            command += ["--api", server.api, "--ca", str(server.ca), "--token", token]
            with (server.folder / f"agents-{first}.log").open("wb") as log:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment,
                    text=True,
                    cwd="/",
                )
            self._children.append(child)
            if first == 0:  # its first one becomes the gateway's host
                self._line(child)
        for child in self._children[1:]:
            self._line(child)

    def look(self) -> dict[str, Any]:
        """Sums over all of them."""
        total: dict[str, Any] = {}
        for child in self._children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        for child in self._children:
            for key, value in self._line(child).items():
                if isinstance(value, dict):
                    known = total.setdefault(key, {})
                    for name, number in value.items():
                        known[name] = known.get(name, 0) + number
                else:
                    total[key] = total.get(key, 0) + value
        return total

    def close(self) -> None:
        for child in self._children:
            child.kill()
            child.wait()

    @staticmethod
    def _line(child: "subprocess.Popen[str]") -> dict[str, Any]:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line, "a process of simulated agents has ended; see its log"
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def stand(count: int, *arguments: str, facts_every_s: float = 60.0) -> Iterator[tuple[Server, Crowd]]:
    """A started server, and agents that have joined; they connect by themselves."""
    folder = Path(tempfile.mkdtemp(prefix="hp-fleet-", dir="/tmp"))
    server, crowd = Server(folder, *arguments), None
    try:
        server.init()
        server.process.start()
        asyncio.run(_up(server))
        crowd = Crowd(server, count, facts_every_s)
        yield server, crowd
    except BaseException:
        for log in sorted(folder.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")
        raise
    finally:
        if crowd is not None:
            crowd.close()
        server.process.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _up(server: Server) -> None:
    async with server.client() as client:
        await client.up()


async def until(what: str, look: Any, timeout_s: float, every_s: float = 0.2) -> float:
    """Until `look()` (a coroutine function) is true. Returns the seconds that it took."""
    began_s = time.monotonic()
    while not await look():
        assert time.monotonic() - began_s < timeout_s, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(every_s)
    return time.monotonic() - began_s
