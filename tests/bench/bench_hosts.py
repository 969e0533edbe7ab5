"""How long hosts take: the rig's own start, one join by the line, one and many over SSH. Ratios of one run; real machines.

    python -P tests/bench/bench_hosts.py [HOW_MANY]

Each machine is namespaces on this one, so all of them share its cores (the server and the command go before them), and what
real hosts do beside one another is done here one after the other. So each row has the CPU seconds of a host too: HOW_MANY
times that by the cores is what this machine needs at least, however parallel we are.
"""

import os
import re
import resource
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
        with hosts(many, names, FIRST_NUMBER) as machines:
            os.nice(-10)  # the server and the command would not share their cores with the hosts
            with lone_server(bind=SERVER_ADDRESS) as server:
                _measure(machines, server, began_s)


def _measure(machines: Hosts, server: LoneServer, began_s: float) -> None:
    first, count = machines.machines[0], len(machines.machines)
    print(f"{count} machines: up {time.monotonic() - began_s:.1f} s, {os.cpu_count()} cores")
    _join(server, first)
    _uninstall(server, first)
    one = _apply("one fresh host", server, machines, 1)
    again = _apply("one, agent there", server, machines, 1, force=True)
    _uninstall(server, first)
    _apply(f"{count} fresh hosts", server, machines, count, one=one)
    _apply(f"{count}, agent there", server, machines, count, one=again, force=True)


def _join(server: LoneServer, machine: Machine) -> None:
    line = server.homeport("fleet", "join-command", "lab").stdout.strip()
    for what in ("join by the line", "again, nothing to repair"):
        began_s, cpu_s = time.monotonic(), machine.cpu_s()
        done = machine.run("su", "-", USER, "-c", line)
        packages = re.search(r"\((uv|pip): (\d+) s\)", done.stdout)
        of_which = f", of which {packages[1]} {packages[2]} s (whole seconds)" if packages else ""
        print(f"{what}: {time.monotonic() - began_s:.1f} s{of_which}; the host's CPU {machine.cpu_s() - cpu_s:.1f} s")


def _uninstall(server: LoneServer, machine: Machine) -> None:
    machine.run("sh", "/opt/homeport/install.sh", "--uninstall", "-y")
    done = server.homeport("fleet", "delete", machine.name, "--force", "-y")
    assert done.returncode == 0, done.stderr


def _apply(
    what: str, server: LoneServer, machines: Hosts, count: int, *, one: float | None = None, force: bool = False
) -> float:
    """Seconds that it took; `one` is what it took with one host."""
    used = machines.machines[:count]
    ssh = {"user": USER, "identity_file": str(machines.key), "hosts": [machine.address for machine in used]}
    file = server.folder / "fleet.yml"
    file.write_text(yaml.safe_dump({"type": "fleet", "name": "lab", "ssh_config": ssh}))
    began_s, hosts_s, ours_s = time.monotonic(), sum(machine.cpu_s() for machine in used), _children_s()
    done = subprocess.run(
        [*COMMAND, "apply", "-y", "-f", str(file), *(["--force"] if force else [])],
        env=server.environment, capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    took_s = time.monotonic() - began_s
    if done.returncode != 0:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    each_s = (sum(machine.cpu_s() for machine in used) - hosts_s) / count
    times = f", {took_s / one:.1f} x one" if one else ""
    notes = sum(line.lstrip().startswith("note") for line in (done.stdout + done.stderr).splitlines())
    print(
        f"over SSH, {what}: {took_s:.1f} s{times}; CPU: {each_s:.1f} s a host, the command {_children_s() - ours_s:.1f} s; "
        f"{count} x {each_s:.1f} / {os.cpu_count()} cores = {count * each_s / (os.cpu_count() or 1):.1f} s"
        + (f"; {notes} notes" if notes else "")
    )
    return took_s


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(sys.argv[1:])
