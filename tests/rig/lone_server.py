"""A real server process with no agent, and the command line logged in to it: for what is about the two of them alone."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.ports import free_ports
from rig.stack import Process, wait_for

COMMAND = [sys.executable, "-P", "-m", "homeport_cli"]


@dataclass(frozen=True)
class LoneServer:
    folder: Path  # its state is in server/
    process: Process
    environment: dict[str, str]
    token: str
    api_port: int
    link_port: int
    gateway_port: int
    bind: str = "127.0.0.1"

    @property
    def address(self) -> str:
        return f"{self.bind}:{self.api_port}"

    def homeport(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line, as a program; its output as text."""
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            cwd="/",
        )


@contextmanager
def lone_server(
    prepare: Callable[[Path], None] = lambda directory: None, bind: str = "127.0.0.1"
) -> Iterator[LoneServer]:
    """Started and logged in; `prepare` gets the directory of its state before it starts."""
    folder = Path(tempfile.mkdtemp(prefix="hp-server-"))
    api_port, link_port, gateway_port = free_ports(3)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "HOMEPORT_CONFIG": str(folder / "cli.yml"),
        "LANG": "C.UTF-8",
    }
    arguments = ["--state-dir", str(folder / "server"), "--api-port", str(api_port), "--link-port", str(link_port)]
    arguments += ["--bind", bind, "--web-port", str(api_port + 2), "--gateway-port", str(gateway_port)]
    control = [sys.executable, "-P", "-m", "homeport_control"]
    process = Process("server", [*control, "run", *arguments], folder / "server.log", environment)
    try:
        init = [*control, "init", *arguments]
        done = subprocess.run(init, env=environment, capture_output=True, text=True, timeout=60, cwd="/")
        assert done.returncode == 0, done.stderr
        initial = json.loads(done.stdout)
        prepare(folder / "server")
        process.start()
        server = LoneServer(folder, process, environment, initial["token"], api_port, link_port, gateway_port, bind)
        login = ["login", "--server", initial["server"], "--token", initial["token"], "--ca", initial["ca"]]
        wait_for("the server answers", lambda: server.homeport(*login).returncode == 0)
        yield server
    except BaseException:
        print(f"--- server\n{process.output[-4000:]}" if (folder / "server.log").exists() else "--- no server")
        raise
    finally:
        process.stop()
        shutil.rmtree(folder, ignore_errors=True)
