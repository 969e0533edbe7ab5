"""A whole Homeport on this machine for tests: real server, real agent, real Envoy, real Docker, each its own process.

Covers starting, killing, restarting and cleaning away; on ports of its own, so that several stand beside one another
and beside an installed Homeport. The tests say what happens with it.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import docker
from rig.gateway import envoy_binary
from rig.nvml.gpus import FakeGpus
from rig.ports import free_ports

ANSWER = TypeVar("ANSWER")
REPOSITORY = Path(__file__).resolve().parents[2]
START_S = 30.0
ENGINE = Path(os.environ.get("HOMEPORT_TEST_RUN", "/run/homeport-tests"))  # of docker.sh


def wait_for(what: str, look: Callable[[], ANSWER | None], timeout_s: float = START_S) -> ANSWER:
    """Look until there is an answer. For things of other processes that send no event; fails with `what`."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        answer = look()
        if answer:
            return answer
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.05)


class Process:
    """One of our processes, in a session of its own, with its output in a file."""

    def __init__(self, name: str, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._environment = dict(environment)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None, f"{self.name} was not started"
        return self._child.pid

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
                cwd="/",
            )

    def restart_with(self, environment: Mapping[str, str]) -> None:
        """Start it, with these variables besides; it was stopped."""
        self._environment.update(environment)
        self.start()

    def kill(self) -> None:
        """kill -9, and reaped."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not go."""
        if self._child is None or self._child.poll() is not None:
            return
        self._child.terminate()
        try:
            self._child.wait(15)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait(10)

    def wait(self) -> int:
        assert self._child is not None
        return self._child.wait(30)


class Stack:
    """`start()` to a joined agent with a ready gateway; `close()` takes away all that it made, containers included.

    `database_url`: of PostgreSQL, in place of a SQLite file.
    `gpus`: what the host has; the engine gives them to containers as far as its hook goes (nvidia_hook.py).
    """

    def __init__(
        self,
        folder: Path,
        *,
        server_flags: list[str] | None = None,
        agent_env: Mapping[str, str] | None = None,
        gpus: FakeGpus | None = None,
        database_url: str = "",
    ):
        self.folder = folder
        self.gpus = gpus
        self._known_gpus = ENGINE / "gpus" / f"{folder.name}.conf"
        self.documents = folder / "documents"  # of its own: `apply` sends the folder of a document along
        self.documents.mkdir()
        self.api_port, self.link_port, self.web_port, self.gateway_port, self.edge_port = free_ports(5)
        self.server_flags = server_flags or []
        if database_url:
            own = folder / "database.url"
            own.touch(mode=0o600)
            own.write_text(database_url)
            self.server_flags = [*self.server_flags, "--database-file", str(own)]
        self.token = ""
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(folder),
            "HOMEPORT_CONFIG": str(folder / "cli.yml"),
            "HOMEPORT_ENVOY_BINARY": str(envoy_binary()),
            "NO_COLOR": "1",
            "LANG": "C.UTF-8",
        }
        state = ["--state-dir", str(folder / "server")]
        ports = [
            *("--api-port", str(self.api_port), "--link-port", str(self.link_port)),
            *("--web-port", str(self.web_port), "--gateway-port", str(self.gateway_port)),
            *("--edge-port", str(self.edge_port)),
        ]
        self._server_arguments = [*state, *ports, *self.server_flags]
        self.server = Process(
            "server",
            [sys.executable, "-P", "-m", "homeport_control", "run", *self._server_arguments],
            folder / "server.log",
            self.environment,
        )
        self.agent_state = folder / "agent"
        self._server_id = ""
        self.agent = Process(
            "agent",
            [sys.executable, "-P", "-m", "homeport_agent", "run", "--state-dir", str(self.agent_state)],
            folder / "agent.log",
            {**self.environment, **self._gpu_environment(), **(agent_env or {})},
        )

    def start(self) -> None:
        initial = json.loads(self._control("init", *self._server_arguments))
        self.token = initial["token"]
        self.server.start()
        wait_for("the server answers", lambda: self.homeport("version").returncode == 0 and self._listens())
        login = self.homeport("login", "--server", initial["server"], "--token", self.token, "--ca", initial["ca"])
        assert login.returncode == 0, login.stderr
        self.join()
        self.show_gpus()
        self.agent.start()

    def show_gpus(self) -> None:
        """The engine can give the host's GPUs, as from the start; until `hide_gpus`."""
        if self.gpus is not None:
            self._known_gpus.symlink_to(self.gpus.path)

    def hide_gpus(self) -> None:
        """The engine's hook refuses them as unknown devices; the agent sees them all the same."""
        self._known_gpus.unlink(missing_ok=True)

    def given_gpus(self) -> dict[str, str]:
        """By container: what the engine's hook was asked to give it, of all containers that it saw."""
        log = ENGINE / "gpus" / "given.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return {line["id"]: line["visible"] for line in lines}

    def _gpu_environment(self) -> dict[str, str]:
        if self.gpus is None:
            return {}
        return {
            "PATH": f"{ENGINE / 'bin'}:{self.environment['PATH']}",
            "LD_LIBRARY_PATH": str(self.gpus.library_folder),
            "FAKE_NVML": str(self.gpus.path),
        }

    def ready(self) -> None:
        """Wait until the host is connected and its gateway serves."""
        wait_for("the host is connected", lambda: any(h.get("connection") == "connected" for h in self.hosts()))

    def join(self) -> None:
        token = self._control("join-token", "--one-use", *self._server_arguments).strip()
        command = [sys.executable, "-P", "-m", "homeport_agent", "join", "--server", f"127.0.0.1:{self.api_port}"]
        command += ["--web-port", str(self.web_port), "--token", token, "--name", "test-host"]
        command += ["--state-dir", str(self.agent_state)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, cwd="/")
        assert done.returncode == 0, done.stderr

    def homeport(self, *arguments: str, timeout_s: float = 60, **more: Any) -> subprocess.CompletedProcess[str]:
        """The command line, as a user runs it; its output as text."""
        command = [str(Path(sys.executable).parent / "homeport"), *arguments]
        environment = {**self.environment, **more.pop("env", {})}
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            cwd=more.pop("cwd", "/"),
        )

    def hosts(self) -> list[dict[str, Any]]:
        return self._json("fleet", "list", "--json").get("hosts", [])

    def runs(self, *, everything: bool = False) -> list[dict[str, Any]]:
        return self._json("ps", "--json", *(["-a"] if everything else [])).get("runs", [])

    def run(self, name: str) -> dict[str, Any]:
        """As `ps -a` shows it; {} when there is none."""
        return next((run for run in self.runs(everything=True) if run["name"] == name), {})

    def apply(self, text: str, *flags: str, timeout_s: float = 60, **more: Any) -> subprocess.CompletedProcess[str]:
        """`homeport apply -y` of this YAML."""
        file = self.documents / "service.homeport.yml"
        file.write_text(text)
        return self.homeport("apply", "-y", "-f", str(file), *flags, timeout_s=timeout_s, **more)

    def containers(self, run: str = "", *, everything: bool = True) -> list[Any]:
        """Containers of this stack's server, as the engine has them."""
        labels = [f"homeport.server={self.server_id}"] + ([f"homeport.run={run}"] if run else [])
        with engine() as client:
            return client.containers.list(all=everything, filters={"label": labels}, ignore_removed=True)

    @property
    def server_id(self) -> str:
        """Kept, for a host that was removed forgets it and what it left is to be found all the same."""
        if not self._server_id:
            known = (self.agent_state / "identity" / "server.json").read_text()
            self._server_id = str(json.loads(known)["server_id"])
        return self._server_id

    def close(self) -> None:
        self.hide_gpus()
        self.agent.stop()
        stop_envoy = [sys.executable, "-P", "-m", "homeport_agent.envoy", "stop", "--state-dir", str(self.agent_state)]
        subprocess.run(stop_envoy, env=self.environment, capture_output=True, timeout=60, cwd="/")
        self.server.stop()
        with suppress(FileNotFoundError):
            for container in self.containers():
                with suppress(docker.errors.NotFound):
                    container.remove(force=True)

    def _control(self, *arguments: str) -> str:
        command = [sys.executable, "-P", "-m", "homeport_control", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, cwd="/")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.api_port), timeout=1):
            return True
        return False

    def _json(self, *arguments: str) -> dict[str, Any]:
        done = self.homeport(*arguments)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    try:
        yield client
    finally:
        client.close()


@contextmanager
def stack(*, small_disk_mib: int = 0, **arguments: Any) -> Iterator[Stack]:
    """A started stack with a ready gateway, cleaned away afterwards; its logs are printed when the test failed.

    `small_disk_mib`: the server's state lies on a file system of that size.
    """
    folder = Path(tempfile.mkdtemp(prefix="hp-e2e-", dir="/tmp"))
    if small_disk_mib:
        (folder / "server").mkdir()
        size = f"size={small_disk_mib}m,mode=700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "homeport-test", str(folder / "server")], check=True)
    made = Stack(folder, **arguments)
    try:
        made.start()
        made.ready()
        yield made
    finally:
        # Always: a fixture does not hear whether its test failed, and pytest shows this only when it did.
        for process in (made.server, made.agent):
            with suppress(OSError):
                print(f"--- {process.name}\n{process.output[-6000:]}")
        made.close()
        if small_disk_mib:
            subprocess.run(["umount", str(folder / "server")], check=True)
        shutil.rmtree(folder, ignore_errors=True)
