"""How long hosts take: the rig's own start, one join by the line, one and many over SSH. Ratios of one run; real machines.

    python -P tests/bench/bench_hosts.py [HOW_MANY]

Each machine is namespaces on this one, so many of them share its cores, and pip's work on each is this machine's own: the
second row of the last table, where the agent is there already, is what our part costs.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import yaml
from rig.hosts import SERVER_ADDRESS, USER, Hosts, hosts
from rig.lone_server import COMMAND, LoneServer, lone_server
from rig.machine import Machine, base_root

FIRST_NUMBER = 60


def main(arguments: Sequence[str]) -> None:
    count = int(arguments[0]) if arguments else 20
    base_root("host")
    names = [f"bench-{number}" for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        three = Path(folder, "three")
        three.mkdir()
        began_s = time.monotonic()
        with hosts(three, names[:3], FIRST_NUMBER):
            up_s = time.monotonic() - began_s
        print(f"three machines, warm: up {up_s:.1f} s, with their end {time.monotonic() - began_s:.1f} s")
        many = Path(folder, "many")
        many.mkdir()
        began_s = time.monotonic()
        with hosts(many, names, FIRST_NUMBER) as machines, lone_server(bind=SERVER_ADDRESS) as server:
            print(f"{count} machines: up {time.monotonic() - began_s:.1f} s")
            _join(server, machines.machines[0])
            first = _apply(server, machines, 1, force=True)
            print(f"over SSH, agent there: one {first:.1f} s")
            fresh = _apply(server, machines, count)
            print(f"over SSH, {count - 1} with pip: {fresh:.1f} s on {os.cpu_count()} cores")
            again = _apply(server, machines, count, force=True)
            print(f"over SSH, agent there: {count} {again:.1f} s, {again / first:.1f} x one")


def _join(server: LoneServer, machine: Machine) -> None:
    line = server.homeport("fleet", "join-command", "lab").stdout.strip()
    began_s = time.monotonic()
    done = machine.run("su", "-", USER, "-c", line)
    whole_s = time.monotonic() - began_s
    packages = re.search(r"\((uv|pip): (\d+) s", done.stdout)
    print(f"join by the line: {whole_s:.1f} s, of which {packages[1]} {packages[2]} s (whole seconds)")
    began_s = time.monotonic()
    machine.run("su", "-", USER, "-c", line)
    print(f"again, nothing to repair: {time.monotonic() - began_s:.1f} s")


def _apply(server: LoneServer, machines: Hosts, count: int, *, force: bool = False) -> float:
    addresses = [machine.address for machine in machines.machines[:count]]
    ssh = {"user": USER, "identity_file": str(machines.key), "hosts": addresses}
    file = server.folder / "fleet.yml"
    file.write_text(yaml.safe_dump({"type": "fleet", "name": "lab", "ssh_config": ssh}))
    began_s = time.monotonic()
    done = subprocess.run(
        [*COMMAND, "apply", "-y", "-f", str(file), *(["--force"] if force else [])],
        env=server.environment, capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(done.stderr[-3000:])
    return time.monotonic() - began_s


if __name__ == "__main__":
    main(sys.argv[1:])
