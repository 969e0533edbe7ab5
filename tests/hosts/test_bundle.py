"""A bundle, made with the real pip, lets a host join that reaches no package registry: brought along, or served to it."""

import subprocess
import sys
from pathlib import Path

import pytest
from rig.hosts import SERVER_ADDRESS, hosts
from rig.lone_server import lone_server
from rig.machine import Machine

pytestmark = [pytest.mark.slow, pytest.mark.docker]


def without_registry(machine: Machine) -> None:
    (machine.root / "etc/pip.conf").write_text("[global]\nindex-url = http://127.0.0.1:9/\nretries = 0\n")


def test_a_host_without_internet_joins_by_a_bundle(tmp_path: Path) -> None:
    with (
        hosts(tmp_path, ["offline-1", "offline-2"], 40, without_registry) as machines,
        lone_server(bind=SERVER_ADDRESS) as server,
    ):
        first, second = machines.machines
        line = server.homeport("fleet", "join-command").stdout.strip()
        alone = first.run("su", "-", "ops", "-c", line, check=False)
        assert alone.returncode == 1
        assert "or bring all of it along: homeport bundle" in alone.stderr

        bundle = tmp_path / "bundle.tar.gz"
        made = server.homeport("bundle", "-o", str(bundle), "--python", "3.11")
        assert made.returncode == 0, made.stderr
        (first.root / "tmp").mkdir(exist_ok=True)
        (first.root / "home/ops/bundle.tar.gz").write_bytes(bundle.read_bytes())
        brought = first.run("su", "-", "ops", "-c", f"{line} --bundle /home/ops/bundle.tar.gz", check=False)
        assert brought.returncode == 0, brought.stderr
        assert "(uv: " in brought.stdout

        control = [sys.executable, "-P", "-m", "homeport_control", "add-bundle", str(bundle)]
        added = subprocess.run(
            [*control, "--state-dir", str(server.folder / "server")],
            capture_output=True,
            text=True,
            timeout=60,
            cwd="/",
        )
        assert added.returncode == 0, added.stderr
        served = second.run("su", "-", "ops", "-c", line, check=False)
        assert served.returncode == 0, served.stderr
