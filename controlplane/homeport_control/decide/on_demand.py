"""Which on-demand machines are brought up for replicas that wait, and which are let go since nothing runs on them.

Values in, values out. A machine is brought up only when no connected host, and none that is coming, has room for a replica
whose run may; as few as will do. Does not cover how it is done (machines), nor the words that users read (standing).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeport_control.decide.ask import Ask
from homeport_control.decide.board import Board
from homeport_control.decide.placement import NO_VOLUMES, Placed, claim_of, decide
from homeport_control.decide.standing import as_host, raised
from homeport_control.domain.fleets import Fleet, Phase, Registration, Standby
from homeport_control.domain.hosts import Connection, Host, Reservation

AWAY_S = 60.0  # a host that is away for so long does not come back by itself: it may be brought up anew
FIRST_RETRY_S, LAST_RETRY_S = 30.0, 1800.0


@dataclass(frozen=True, slots=True)
class Machine:
    """An on-demand machine."""

    registration: Registration
    standby: Standby
    fleet: Fleet
    host: Host | None  # None: it has never joined
    emptied_at_s: float = 0.0  # unix time when the last replica on it ended; 0: there was none
    is_gateway: bool = False  # then it stays

    @property
    def id(self) -> str:
        """What stands for it on a board."""
        return self.host.id if self.host is not None else self.registration.key

    @property
    def is_connected(self) -> bool:
        return self.host is not None and self.host.connection is Connection.CONNECTED

    def may_come(self, now_s: float) -> bool:
        if now_s < self.standby.retry_at_s:
            return False
        if self.standby.phase is Phase.UP:
            host = self.host
            away = host is not None and host.connection is Connection.UNREACHABLE
            return away and host is not None and now_s - host.connection_since_s >= AWAY_S
        return self.standby.phase is Phase.RELEASED and not self.is_connected


@dataclass(frozen=True, slots=True)
class Waiting:
    """A replica that waits for a host."""

    ask: Ask
    may_bring_up: bool  # creation_policy
    idle_duration_s: int | None  # what its run says of a host that is brought up for it; None: for ever
    says_idle_duration: bool  # whether its run says it at all


@dataclass(frozen=True, slots=True)
class BringUp:
    machine: Machine
    run_name: str
    idle_duration_s: int | None


@dataclass(frozen=True, slots=True)
class Release:
    machine: Machine
    idle_s: float


@dataclass(frozen=True, slots=True)
class Steps:
    bring_up: tuple[BringUp, ...]
    release: tuple[Release, ...]
    came: tuple[Machine, ...]  # connected by themselves
    wake_at_s: float | None  # look again then, whatever changes


def next_steps(
    machines: Sequence[Machine],
    hosts: Sequence[Host],
    reservations: Sequence[Reservation],
    waiting: Sequence[Waiting],
    now_s: float,
    volumes: Mapping[str, str] = NO_VOLUMES,
) -> Steps:
    """`hosts`: all that have joined. `volumes`: host id by the name of each named volume that is somewhere."""
    bring_up, used = _bring_up(machines, hosts, reservations, waiting, now_s, volumes)
    held = {it.host_id for it in reservations} | used
    release, wakes = [], []
    for machine in machines:
        due_s = _due_s(machine)
        if due_s is None or machine.id in held:
            continue
        if now_s >= max(due_s, machine.standby.retry_at_s):
            release.append(Release(machine, now_s - _idle_since_s(machine)))
        else:
            wakes.append(max(due_s, machine.standby.retry_at_s))
    if waiting:
        wakes += [it.standby.retry_at_s for it in machines if it.standby.retry_at_s > now_s]
    came = [it for it in machines if it.standby.phase is Phase.RELEASED and it.is_connected]
    return Steps(bring_up, tuple(release), tuple(came), min(wakes, default=None))


def retry_s(failures: int) -> float:
    """How long after so many failures in a row it is tried again."""
    return float(min(FIRST_RETRY_S * 2 ** (min(failures, 10) - 1), LAST_RETRY_S))


def _bring_up(
    machines: Sequence[Machine],
    hosts: Sequence[Host],
    reservations: Sequence[Reservation],
    waiting: Sequence[Waiting],
    now_s: float,
    volumes: Mapping[str, str],
) -> tuple[tuple[BringUp, ...], set[str]]:
    """And the hosts that will serve those that wait, brought up ones among them: they are not let go now."""
    if not waiting:
        return (), set()
    candidates = {it.id: it for it in machines if it.may_come(now_s)}
    coming = {it.id: it for it in machines if it.standby.phase is Phase.COMING}
    present = [host for host in hosts if host.connection is Connection.CONNECTED and host.id not in coming]
    ready = Board([*present, *(_raised(it) for it in coming.values())], reservations, now_s, volumes)
    spare = Board([_raised(it) for it in candidates.values()], reservations, now_s, volumes)
    used: set[str] = set()
    chosen: dict[str, BringUp] = {}
    for each in waiting:
        placed = decide(ready, each.ask)
        if isinstance(placed, Placed):
            used.add(placed.host_id)
            continue
        fits = spare.ranked(each.ask) if each.may_bring_up else ()
        best = next((fit for fit in fits if fit.host.id in chosen), fits[0] if fits else None)
        if best is None:
            continue
        spare.claim(claim_of(each.ask, best), each.ask.volumes)
        machine = candidates[best.host.id]
        idle_s = each.idle_duration_s if each.says_idle_duration else machine.fleet.idle_duration_s
        chosen.setdefault(best.host.id, BringUp(machine, each.ask.run_name, idle_s))
    return tuple(chosen.values()), used | chosen.keys()


def _raised(machine: Machine) -> Host:
    return raised(machine.host or as_host(machine.registration, machine.standby, machine.fleet))


def _idle_since_s(machine: Machine) -> float:
    return max(machine.standby.since_s, machine.emptied_at_s)


def _due_s(machine: Machine) -> float | None:
    """When it is let go if nothing comes to run on it; None: not at all."""
    idle_s = machine.standby.idle_duration_s
    if machine.standby.phase is not Phase.UP or machine.host is None or machine.is_gateway or idle_s is None:
        return None
    return _idle_since_s(machine) + idle_s
