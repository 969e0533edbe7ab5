"""Where hosts, networks and gateways are made to fail: machines that joined, and one service on all of them.

Two are dialled (direct), the third is behind a router that lets nobody in (tunnel). Server and gateway are on this machine.
Covers making it, looking at rotation and containers, and bringing it back to its first state. What is broken: faults.sh and
`Machine.fault`; what is promised: tests/faults.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeport_agent.envoy import admin
from rig.hosts import USER, Hosts, hosts, stack_for_hosts
from rig.load_client import Flow, Kind
from rig.machine import FAULTS_SH, Machine, run_script
from rig.nothing_lost import Stage
from rig.stack import Stack, wait_for

IMAGE = "homeport-test/hello:1"
ENVOYS = "/var/lib/homeport/agent/envoy"
FIRST_NUMBER = 170  # of their networks
DIRECT, TUNNEL = ("fb-1", "fb-2"), ("fb-3",)
NAMES = (*DIRECT, *TUNNEL)
STATE_MIB = 600  # of the disk of each agent's state: Envoy, its environment and some room
DOCKER_MIB = 2600  # more than an agent asks for
GIVEN_UP_S = 60.0  # what is under way to a host that fell silent (xds/paths)
BACK_S = 120.0  # for a machine that boots, on one that is busy

# Many clients, each with few requests: those that wait for a dead host must not stop the others.
FLOWS = (
    Flow(Kind.PLAIN, workers=90, rate_per_s=50, timeout_s=GIVEN_UP_S + 30),
    Flow(Kind.UPLOAD, workers=4, rate_per_s=0.5, timeout_s=GIVEN_UP_S + 30),
    Flow(Kind.EVENTS, workers=6, rate_per_s=3, longest_s=3, timeout_s=GIVEN_UP_S + 30),
    Flow(Kind.SOCKET, workers=6, rate_per_s=3, longest_s=3, timeout_s=GIVEN_UP_S + 30),
)


def behind_nat(machine: Machine) -> None:
    """What a router does to who dials in: nothing comes through that this host did not begin. Until its power is lost."""
    for rule in ("-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", "-i lo -j ACCEPT", "-j DROP"):
        machine.shell(f"iptables -A INPUT {rule}")


@dataclass(frozen=True, slots=True)
class Scene:
    stack: Stack
    hosts: Hosts
    stage: Stage  # the service "web"

    def machine(self, name: str) -> Machine:
        return next(it for it in self.hosts.machines if it.name == name)

    def settle(self) -> None:
        """One ready replica on each machine, in rotation, reached as it should be; nothing is left of what was before."""
        self.connected()
        self.stage.apply(more=_more(NAMES))
        self.stage.settled()
        self.until_spread()

    def until_spread(self) -> None:
        wait_for("a replica of each host is in rotation", lambda: self.serving() == sorted(NAMES), BACK_S)
        for name in NAMES:
            kind = "tunnel" if name in TUNNEL else "direct"
            wait_for(f"{name} is reached: {kind}", lambda it=name, k=kind: self.path(it) == k, BACK_S)  # type: ignore[misc]
        wait_for("each is healthy to Envoy", lambda: self.healthy_count() == len(NAMES), BACK_S)

    def connected(self) -> None:
        def all_are() -> bool:
            states = {it["name"]: it["connection"] for it in self.stack.hosts()}
            return all(states.get(name) == "connected" for name in NAMES)

        wait_for("all hosts are connected", all_are, BACK_S)

    def serving(self) -> list[str]:
        """Hosts of the replicas in rotation, one name a replica."""
        return sorted(str(it["host"]) for it in self.stage.in_rotation())

    def path(self, name: str) -> str:
        """How the gateway of this machine reaches it."""
        paths = [it for host in self.stack.hosts() if host["name"] == name for it in host.get("paths", ())]
        return next((str(it["kind"]) for it in paths if it["gateway"] == "local"), "")

    def endpoints(self) -> list[dict[str, Any]]:
        """As the gateway's Envoy has them now, healthy or not."""
        return endpoints(self.stack.agent_state / "envoy" / "run" / "local")

    def healthy_count(self) -> int:
        return sum(is_healthy(it) for it in self.endpoints())

    def containers(self, name: str) -> list[str]:
        """Ids of those of the service that run there."""
        return self.machine(name).shell("docker ps -q --filter label=homeport.run=web").split()


def endpoints(run_dir: Path) -> list[dict[str, Any]]:
    found = json.loads(admin.get(run_dir, "/clusters?format=json")).get("cluster_statuses", [])
    return [host for it in found if "web" in it["name"] for host in it.get("host_statuses", ())]


def is_healthy(endpoint: dict[str, Any]) -> bool:
    health = dict(endpoint["health_status"])
    return health.pop("eds_health_status", "") == "HEALTHY" and not any(health.values())


def is_of(endpoint: dict[str, Any], machine: Machine) -> bool:
    where = endpoint["address"].get("socket_address", {}).get("address", "")
    return bool(where == machine.address) if machine.name in DIRECT else not where


@contextmanager
def scene(folder: Path, small_disks: Sequence[str] = ()) -> Iterator[Scene]:
    """`small_disks`: machines that get little room for Docker and for the agent's state."""

    def prepare(machine: Machine) -> None:
        if machine.name in small_disks:
            run_script(FAULTS_SH, "disk", machine.name, str(DOCKER_MIB))
            run_script(FAULTS_SH, "state", machine.name, str(STATE_MIB))

    with hosts(folder, NAMES, FIRST_NUMBER, prepare) as machines, stack_for_hosts() as server:
        for machine in machines.machines:
            machine.load_image(IMAGE)
            if machine.name in TUNNEL:
                behind_nat(machine)
            join(server, machine)
        made = Scene(server, machines, Stage(server, stop_duration_s=10, replicas=len(NAMES)))
        made.settle()
        yield made


def join(server: Stack, machine: Machine) -> None:
    line = server.homeport("fleet", "join-command", "lab").stdout.strip()
    joined = machine.run("su", "-", USER, "-c", line, check=False)
    assert joined.returncode == 0, joined.stdout + joined.stderr


def _more(names: Sequence[str]) -> str:
    return f"fleets: [lab]\nhosts: [{', '.join(names)}]\nresources: {{memory: 64MB..}}"


Look = Callable[[], bool]
