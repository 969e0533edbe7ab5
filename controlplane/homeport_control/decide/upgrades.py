"""Which agents become the server's build next: one at a time in each fleet, the next only when the last one is well.

Values in, values out. A failure ends the automatic upgrades of its fleet until somebody asks for them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from homeport_control.domain.hosts import Connection, Host

SETTLE_S = 5.0  # connected for so long as the new build: well
LIMIT_S = 1200.0  # for the download, the start, and the way back


@dataclass(frozen=True, slots=True)
class UpgradeTurn:
    start: tuple[str, ...]  # host ids
    failed: Mapping[str, str]  # host id: why
    done: tuple[str, ...]
    wake_at_s: float | None  # look again then, whatever changes


def next_upgrades(
    hosts: Sequence[Host], build: str, running: Mapping[str, float], asked: Collection[str], now_s: float
) -> UpgradeTurn:
    """`running`: since when, by host id. `asked`: by an admin, whatever failed before."""
    done: list[str] = []
    failed: dict[str, str] = {}
    wakes: list[float] = []
    busy: set[str] = set()
    stuck = {host.fleet for host in hosts if has_failed(host, build) and host.id not in asked}
    for host in hosts:
        if host.id not in running:
            continue
        if host.build == build and host.connection is Connection.CONNECTED:
            well_at_s = host.connection_since_s + SETTLE_S
            if now_s >= well_at_s:
                done.append(host.id)
                continue
            wakes.append(well_at_s)
        elif has_failed(host, build):
            failed[host.id] = host.upgrade_error
            stuck.add(host.fleet)
            continue
        elif now_s >= running[host.id] + LIMIT_S:
            failed[host.id] = f"{build}: it did not come back as that within {LIMIT_S:g} s"
            stuck.add(host.fleet)
            continue
        else:
            wakes.append(running[host.id] + LIMIT_S)
        busy.add(host.fleet)
    start: list[str] = []
    for host in hosts:
        wanted = host.id in asked or host.fleet not in stuck
        if host.fleet in busy or not wanted or host.id in failed or host.id in running or not can_upgrade(host, build):
            continue
        start.append(host.id)
        busy.add(host.fleet)
    return UpgradeTurn(tuple(start), failed, tuple(done), min(wakes, default=None))


def may_matter(host: Host, build: str) -> bool:
    """Whether one that is not under way, and that nobody asked for, has any part in it. Most of a large fleet have the build,
    or can have none."""
    return host.build != build and bool(host.build or host.upgrade_error)


def can_upgrade(host: Host, build: str) -> bool:
    return host.connection is Connection.CONNECTED and host.build not in ("", build)


def has_failed(host: Host, build: str) -> bool:
    """To become this build; a failure of another one says nothing about it."""
    return host.build != build and host.upgrade_error.startswith(f"{build}: ")


def why_not(host: Host, build: str) -> str:
    """Why a host is not upgraded; empty: it will be."""
    if host.build == build:
        return f"{host.name} has the agent {build} already"
    if not host.build:
        return (
            f"{host.name}: its agent was not installed by the server's script; run the line of `homeport fleet join-command` "
            "on it"
        )
    if host.connection is not Connection.CONNECTED:
        return f"{host.name} is not connected; it is upgraded when it comes back"
    return ""
