"""Several servers on one PostgreSQL behind a balancer, and one agent: a Stack whose server is more than one.

Each server listens on an address of its own (127.0.0.2, …) at the same ports; the balancer on 127.0.0.1.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rig.balancer import balancing
from rig.postgres import Postgres, postgres
from rig.stack import Process, Stack, wait_for

NAMES = ("alpha", "beta")


class Several(Stack):
    def __init__(self, folder: Path, database: Postgres, server_flags: list[str]) -> None:
        self.postgres = database
        self.url = database.create()
        super().__init__(folder, server_flags=[*server_flags, "--database", self.url])
        self.addresses = {name: f"127.0.0.{number}" for number, name in enumerate(NAMES, 2)}
        self.servers = {name: self._process(name) for name in NAMES}
        self.server = self.servers[NAMES[0]]
        self._balancer = ExitStack()

    def _arguments(self, name: str) -> list[str]:
        own = ["--state-dir", str(self.folder / name), "--bind", self.addresses[name], "--name", name]
        return [*self._server_arguments[2:], *own]

    def _process(self, name: str) -> Process:
        command = [sys.executable, "-P", "-m", "homeport_control", "run", *self._arguments(name)]
        return Process(name, command, self.folder / f"{name}.log", self.environment)

    def start(self) -> None:
        first, *others = NAMES
        initial = json.loads(self._control("init", *self._arguments(first)))
        self.token = initial["token"]
        identity = self.folder / "identity"
        self._control("identity", "export", str(identity), "--state-dir", str(self.folder / first))
        for name in others:
            self._control("identity", "import", str(identity), "--state-dir", str(self.folder / name))
        self._server_arguments = self._arguments(first)  # for join tokens
        for process in self.servers.values():
            process.start()
        ports = [self.api_port, self.link_port, self.web_port]
        self._balancer.enter_context(balancing(ports, self.web_port, list(self.addresses.values())))
        login = ["login", "--server", f"127.0.0.1:{self.api_port}", "--token", self.token, "--ca", initial["ca"]]
        wait_for("the servers answer", lambda: self.homeport(*login).returncode == 0, 60)
        self.join()
        self.agent.start()

    def leader(self) -> tuple[str, int]:
        """Its name and term; an empty name while nobody leads."""
        answer = self.postgres.sql("SELECT name, term FROM leadership WHERE server <> ''", self.url.rpartition("/")[2])
        name, _, term = answer.partition("|")
        return (name, int(term)) if term else ("", 0)

    def until_another_leads(self, than: str, since_s: float) -> float:
        """Seconds from then (monotonic) until another server leads, and answers at the balancer's address."""
        wait_for(f"another than {than} leads", lambda: self.leader()[0] not in ("", than), 30)
        took_s = time.monotonic() - since_s
        # The balancer takes them in turn, and needs some seconds to see that one is frozen.
        wait_for("all that are asked answer", lambda: all(self.homeport("ps").returncode == 0 for _ in range(4)))
        return took_s

    def send(self, name: str, number: signal.Signals) -> None:
        os.kill(self.servers[name].pid, number)

    def close(self) -> None:
        for process in self.servers.values():
            if process._child is not None and process._child.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
        super().close()
        for process in self.servers.values():
            process.stop()
        self._balancer.close()
        self.postgres.drop(self.url)


@contextmanager
def several(*server_flags: str) -> Iterator[Several]:
    folder = Path(tempfile.mkdtemp(prefix="hp-several-", dir="/tmp"))
    with postgres() as database:
        made = Several(folder, database, list(server_flags))
        try:
            made.start()
            made.ready()
            yield made
        except BaseException:
            for process in (*made.servers.values(), made.agent):
                with ExitStack():
                    log = folder / f"{process.name}.log"
                    print(f"--- {process.name}\n{process.output[-6000:]}" if log.exists() else f"--- no {process.name}")
            raise
        finally:
            made.close()
            shutil.rmtree(folder, ignore_errors=True)
