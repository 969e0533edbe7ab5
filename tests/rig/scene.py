"""Where hosts, networks and gateways are made to fail: machines that joined, and one service on all of them.

Two are dialled (direct), the third is behind a router that lets nobody in (tunnel); or there is a gateway on a machine of its
own, and two hosts. The server is on this machine. Covers making it, looking at rotation and containers, and bringing it back
to its first state. What is broken: faults.sh and `Machine.fault`; what is promised: tests/faults.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from homeport_agent.envoy import admin
from rig.hosts import USER, Hosts, hosts, stack_for_hosts
from rig.load_client import Flow, Kind, Target
from rig.machine import FAULTS_SH, Machine, run_script
from rig.nothing_lost import Stage
from rig.stack import Stack, wait_for

IMAGE = "homeport-test/hello:1"
SERVICE = "web"
ENVOYS = "/var/lib/homeport/agent/envoy"  # on a host
DIRECT, TUNNEL, GATEWAY = ("fb-1", "fb-2"), ("fb-3",), "fb-gw"
FIRST_NUMBER = 170  # of their networks
STATE_MIB = 600  # of the disk of an agent's state: Envoy and some room
DOCKER_MIB = 2600  # more than an agent asks for
GIVEN_UP_S = 60.0  # what is under way to a host that fell silent (xds/paths)
WAIT_S = 120.0  # for machines that boot and containers that start, while much else runs here

# Many clients, each with few requests: those that wait for a dead host must not stop the others.
_TIMEOUT_S = GIVEN_UP_S + 30
FLOWS = (
    Flow(Kind.PLAIN, workers=120, rate_per_s=50, timeout_s=_TIMEOUT_S),
    Flow(Kind.UPLOAD, workers=4, rate_per_s=0.5, timeout_s=_TIMEOUT_S),
    Flow(Kind.EVENTS, workers=10, rate_per_s=3, longest_s=3, timeout_s=_TIMEOUT_S),
    Flow(Kind.SOCKET, workers=10, rate_per_s=3, longest_s=3, timeout_s=_TIMEOUT_S),
)


@dataclass(frozen=True, slots=True)
class Scene:
    stack: Stack
    hosts: Hosts
    names: tuple[str, ...]  # of those that have replicas
    gateway: str  # which publishes the service
    run_dir: Path  # of its Envoy
    stage: Stage

    def machine(self, name: str) -> Machine:
        return next(it for it in self.hosts.machines if it.name == name)

    def settle(self) -> None:
        """One ready replica on each machine, in rotation, reached as it should be; nothing is left of what was before."""
        wait_for("all hosts are connected", lambda: self.away() == set(), WAIT_S)
        if not self._is_spread():
            self.stack.homeport("stop", "-x", "-y", SERVICE, timeout_s=WAIT_S)
            wait_for("it has stopped", lambda: self.stage.run().get("state") in ("terminated", None), WAIT_S)
            wait_for("no container is left", lambda: not any(self.containers(it) for it in self.names), WAIT_S)
            self._apply()  # of three that start at once each takes a host of its own; one that replaces need not
        wait_for("each host serves", self._is_spread, WAIT_S)
        for name in self.names:
            kind = "tunnel" if name in TUNNEL else "direct"
            wait_for(f"{name} is reached: {kind}", lambda it=name, k=kind: self.path(it) == k, WAIT_S)  # type: ignore[misc]

    def _apply(self) -> None:
        publish = "" if self.gateway == "local" else f"gateway: {self.gateway}\nhttps: false\n"
        self.stage.apply(
            more=f"{publish}fleets: [lab]\nhosts: [{', '.join(self.names)}]\nresources: {{memory: 64MB..}}"
        )

    def _is_spread(self) -> bool:
        run = self.stage.run()
        there = sorted(str(it["host"]) for it in run.get("replicas", ()))
        return there == sorted(self.names) == self.serving() and self.healthy() == len(self.names)

    def away(self) -> set[str]:
        """Hosts that are not connected."""
        return {it["name"] for it in self.stack.hosts() if it["connection"] != "connected"}

    def serving(self) -> list[str]:
        """Hosts of the replicas in rotation, one name a replica."""
        return sorted(str(it["host"]) for it in self.stage.in_rotation())

    def path(self, name: str) -> str:
        """How the gateway reaches it."""
        paths = [it for host in self.stack.hosts() if host["name"] == name for it in host.get("paths", ())]
        return next((str(it["kind"]) for it in paths if it["gateway"] == self.gateway), "")

    def healthy(self, *, of: str = "", but: str = "") -> int:
        """Endpoints that the gateway's Envoy calls now, of that host or of all but that."""
        try:
            found = [it for it in _endpoints(self.run_dir) if _is_healthy(it)]
        except (OSError, ValueError):
            return 0
        if of or but:
            machine = self.machine(of or but)
            found = [it for it in found if _is_of(it, machine) == bool(of)]
        return len(found)

    def answered(self, name: str) -> int:
        """Requests that its endpoint has answered well, as the gateway's Envoy counts."""
        found = [it for it in _endpoints(self.run_dir) if _is_of(it, self.machine(name))]
        stats = [stat for it in found for stat in it.get("stats", ()) if stat["name"] == "rq_success"]
        return sum(int(it.get("value", 0)) for it in stats)

    def containers(self, name: str) -> list[str]:
        """Ids of those of the service that run there."""
        return self.machine(name).shell(f"docker ps -q --no-trunc --filter label=homeport.run={SERVICE}").split()

    def all_containers(self) -> set[str]:
        return {container for name in self.names for container in self.containers(name)}


def _endpoints(run_dir: Path) -> list[dict[str, Any]]:
    clusters = json.loads(admin.get(run_dir, "/clusters?format=json")).get("cluster_statuses", [])
    return [host for it in clusters if SERVICE in it["name"] for host in it.get("host_statuses", ())]


def _is_healthy(endpoint: dict[str, Any]) -> bool:
    health = dict(endpoint["health_status"])
    return health.pop("eds_health_status", "") == "HEALTHY" and not any(health.values())


def _is_of(endpoint: dict[str, Any], machine: Machine) -> bool:
    where = endpoint["address"].get("socket_address", {}).get("address", "")
    return bool(where == machine.address) if machine.name in DIRECT else not where


@contextmanager
def scene(folder: Path, small_disks: Sequence[str] = ()) -> Iterator[Scene]:
    """Three hosts, a gateway on this machine. `small_disks`: hosts with little room for Docker and for the agent's state."""

    def prepare(machine: Machine) -> None:
        if machine.name in small_disks:
            run_script(FAULTS_SH, "disk", machine.name, str(DOCKER_MIB))
            run_script(FAULTS_SH, "state", machine.name, str(STATE_MIB))

    names = (*DIRECT, *TUNNEL)
    with hosts(folder, names, FIRST_NUMBER, prepare) as machines, stack_for_hosts() as server:
        for machine in machines.machines:
            machine.load_image(IMAGE)
            if machine.name in TUNNEL:
                behind_nat(machine)
            _join(server, machine)
        made = Scene(
            server, machines, names, "local", server.agent_state / "envoy" / "run" / "local", _stage(server, names)
        )
        made.settle()
        yield made


@contextmanager
def gateway_scene(folder: Path) -> Iterator[Scene]:
    """Two hosts that are dialled, and a gateway on a third machine."""
    with hosts(folder, (*DIRECT, GATEWAY), FIRST_NUMBER + 4) as machines, stack_for_hosts() as server:
        for machine in machines.machines[:2]:
            machine.load_image(IMAGE)
            _join(server, machine)
        there = machines.machines[2]
        host = {"hostname": there.address, "user": USER, "identity_file": str(machines.key)}
        document = {"type": "gateway", "name": "edge", "domain": "edge.test", "certificate": None, "host": host}
        done = server.apply(yaml.safe_dump(document), timeout_s=240)
        assert done.returncode == 0, done.stdout + done.stderr
        stage = _stage(server, DIRECT)
        stage.target = Target(80, f"{SERVICE}.edge.test", server.token, there.address)
        made = Scene(server, machines, DIRECT, "edge", there.root / f"{ENVOYS[1:]}/run/edge", stage)
        made.settle()
        yield made


def behind_nat(machine: Machine) -> None:
    """What a router does to who dials in: nothing comes through that this host did not begin. Until its power is lost."""
    for rule in ("-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", "-i lo -j ACCEPT", "-j DROP"):
        machine.shell(f"iptables -A INPUT {rule}")


def _stage(server: Stack, names: Sequence[str]) -> Stage:
    return Stage(server, SERVICE, stop_duration_s=10, replicas=len(names))


def _join(server: Stack, machine: Machine) -> None:
    line = server.homeport("fleet", "join-command", "lab").stdout.strip()
    joined = machine.run("su", "-", USER, "-c", line, check=False)
    assert joined.returncode == 0, joined.stdout + joined.stderr
