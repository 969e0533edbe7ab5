"""examples/compose as its README says it: up, init, log in; what was there is there after all containers were made anew.

The images are made here, without a registry (rig/images/compose.py), the ports are others, and the distribution's Compose is
version 1, which knows no `name`: in all else it is the example's own file. Does not cover that the example's Dockerfile builds.
"""

import json
import os
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from rig.images.compose import DATABASE, SERVER, make_database, make_server
from rig.ports import free_ports
from rig.stack import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.nightly]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "compose" / "compose.yml"
COMPOSE = "/usr/bin/docker-compose"
UP_S, CALL_S = 180, 60


class Project:
    """The example, with ports and a name of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._name = f"homeport-test-{os.getpid()}"
        self.api_port, link_port, self.web_port = free_ports(3)
        document = yaml.safe_load(EXAMPLE.read_text())
        del document["name"]
        server, database = document["services"]["server"], document["services"]["database"]
        del server["build"]
        server["image"], database["image"] = SERVER, DATABASE
        assert server["ports"] == [f"{it}:{it}" for it in (7400, 7401, 7402)]
        outside = (self.api_port, link_port, self.web_port)
        server["ports"] = [f"127.0.0.1:{port}:{7400 + place}" for place, port in enumerate(outside)]
        (folder / "docker-compose.yml").write_text(yaml.safe_dump(document))
        (folder / "postgres.password").write_text("a-password")
        (folder / "database.url").write_text("postgresql://homeport:a-password@database:5432/homeport\n")

    def compose(self, *arguments: str) -> str:
        done = subprocess.run(
            [COMPOSE, "-p", self._name, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=UP_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stderr}\n{self.logs()}"
        return done.stdout

    def up(self) -> None:
        """Until the server answers: Compose waits for the database alone."""
        self.compose("up", "--detach")
        context = ssl.create_default_context()  # `login` is who looks at its certificate
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"https://127.0.0.1:{self.web_port}/healthz"

        def answers() -> bool:
            with suppress(OSError), urllib.request.urlopen(url, timeout=5, context=context) as answer:
                return bool(answer.status == 200)
            return False

        wait_for("the server answers", answers, UP_S)

    def logs(self) -> str:
        command = [COMPOSE, "-p", self._name, "logs", "--no-color", "--tail=40"]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=CALL_S, check=False
        ).stdout

    def homeport(self, *arguments: str, said: str = "") -> str:
        done = subprocess.run(
            [Path(sys.executable).parent / "homeport", *arguments], cwd="/", input=said, capture_output=True, text=True,
            env={**os.environ, "HOMEPORT_CONFIG": str(self.folder / "cli.yml")}, timeout=CALL_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.logs()}"
        return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    make_server()
    make_database()
    made = Project(tmp_path)
    try:
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "5")


def test_a_server_and_its_database_come_up_and_keep_what_they_were_told(project: Project) -> None:
    project.up()
    told = json.loads(project.compose("run", "--rm", "-T", "server", "init"))
    server = ["--server", f"127.0.0.1:{project.api_port}", "--web-port", str(project.web_port)]
    project.homeport("login", *server, "--token", "-", "--ca-hash", told["ca_sha256"], said=told["token"])
    project.homeport("token", "create", "ann")
    project.compose("down", "--timeout", "5")
    project.up()
    project.homeport("login", *server, "--token", "-", "--ca-hash", told["ca_sha256"], said=told["token"])
    assert "ann" in project.homeport("token", "list")
