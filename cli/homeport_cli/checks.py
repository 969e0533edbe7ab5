"""What `homeport doctor` says of what it found: pure functions from facts to a line with a state, a reason and what to do.

What it does not cover: finding the facts (`doctor`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from homeport_protos.api.v1 import api_pb2

from homeport_cli.hosttable import RELEASED

State = Literal["ok", "warn", "fail"]
CLOCKS_DIFFER_S = 5.0  # below it is the network's
CLOCKS_FAIL_S = 300.0  # certificates and expiring tokens begin to be refused
DAYS_LEFT = 14


@dataclass(frozen=True, slots=True)
class Check:
    state: State
    what: str
    why: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.state:4}  {self.what:13}  — {self.why}" + (f"; {self.do}" if self.do else "")


def file_mode(file: Path, mode: int | None) -> Check:
    """`mode`: the permission bits; None when there is no such file and the environment has it all."""
    what = "configuration"
    if mode is None:
        return Check("ok", what, "from HOMEPORT_SERVER, HOMEPORT_TOKEN and HOMEPORT_CA")
    if mode & 0o077:
        return Check("warn", what, f"{file} has mode {mode:04o}: others may read the token", f"run `chmod 600 {file}`")
    return Check("ok", what, f"{file}, mode {mode:04o}")


def certificate(days_left: float) -> Check:
    what = "certificate"
    if days_left < DAYS_LEFT:
        return Check(
            "warn", what, f"the server's expires in {days_left:.0f} days", "restart the server, which makes a new one"
        )
    return Check("ok", what, f"signed by the CA that this machine knows, {days_left:.0f} days left")


def token(server: api_pb2.GetServerResponse) -> Check:
    return Check("ok", "token", f"{server.user}, role {server.role}")


def leader(leader: api_pb2.Leader, now_s: float) -> Check:
    """Of several servers on one database."""
    minutes = max(0, round((now_s - leader.since_s) / 60))
    return Check("ok", "servers", f"{leader.name} leads since {minutes} min, term {leader.term}")


def versions(own: str, own_protocol: int, server: api_pb2.GetServerResponse) -> Check:
    what = "versions"
    if server.protocol != own_protocol:
        older = "server" if server.protocol < own_protocol else "command line"
        return Check(
            "fail",
            what,
            f"the command line speaks protocol {own_protocol} ({own}), the server {server.protocol} ({server.version})",
            f"update the {older}",
        )
    if own != server.version:
        return Check("warn", what, f"the command line is {own}, the server {server.version}", "update the older one")
    return Check("ok", what, f"{own} here and on the server, protocol {own_protocol}")


def clock(ahead_s: float) -> Check:
    """`ahead_s`: by how much the server's clock is ahead of ours."""
    what, off_s = "clock", abs(ahead_s)
    if off_s <= CLOCKS_DIFFER_S:
        return Check("ok", what, "the same as the server's")
    way = "ahead of" if ahead_s > 0 else "behind"
    state: State = "fail" if off_s > CLOCKS_FAIL_S else "warn"
    do = "switch time synchronisation on (`timedatectl set-ntp true`) on both"
    return Check(state, what, f"the server's is {off_s:.0f} s {way} ours", do)


def gateway(one: api_pb2.Gateway) -> Check:
    what = "gateway"
    if not one.name:
        return Check("warn", what, "none is the default", "choose one: `homeport gateway set-default NAME`")
    if one.ready:
        return Check("ok", what, f"{one.name} on {one.host}, services at {one.example_url}")
    why = f"{one.name} is not ready: {one.message or 'it gave no reason'}"
    return Check("fail", what, why, "see the log of the agent on its host" if one.host else "")


def hosts(rows: Sequence[api_pb2.Host]) -> Iterator[Check]:
    """One line for all, then one for each that has a trouble."""
    what = "hosts"
    if not rows:
        yield Check("warn", what, "there are none yet", "run what `homeport fleet join-command` prints on one")
        return
    asleep = sum(row.connection == RELEASED for row in rows)
    rows = [row for row in rows if row.connection != RELEASED]
    connected = [row for row in rows if row.connection == "connected"]
    state: State = "ok" if len(connected) == len(rows) else "warn" if connected else "fail"
    on_demand = f", {asleep} on-demand not provisioned" if asleep else ""
    yield Check(state, what, f"{len(connected)} of {len(rows)} connected{on_demand}")
    for row in rows:
        if row.connection != "connected":
            why = f"{row.name} is {row.connection or row.state}" + (f": {row.reason}" if row.reason else "")
            yield Check("warn", what, why, "is it on, and its agent running? `systemctl status homeport-agent` there")
        elif row.facts.docker_unavailable:
            why = f"{row.name} has no Docker that answers: {row.facts.docker_unavailable}"
            yield Check("warn", what, why, "`systemctl status docker` there")
        elif row.facts.gpus_unavailable and row.facts.gpus:
            yield Check("warn", what, f"{row.name}: {row.facts.gpus_unavailable}", "`nvidia-smi` there")


def names(name: str, addresses: Sequence[str]) -> Check:
    """`addresses`: what `name`, a name under localhost, resolves to here."""
    what = "names"
    if addresses and all(ip_address(address.partition("%")[0]).is_loopback for address in addresses):
        return Check("ok", what, f"{name} is this machine")
    why = f"{name} resolves to {', '.join(addresses)}" if addresses else f"{name} does not resolve"
    return Check(
        "warn", what, why, "curl and browsers know such names by themselves; other programs need a line in /etc/hosts"
    )


def git(path: str | None) -> Check:
    if path is None:
        return Check("warn", "git", "is not installed", "without it `apply` sends a folder without its .gitignore")
    return Check("ok", "git", path)
