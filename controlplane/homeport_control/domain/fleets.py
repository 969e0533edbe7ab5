"""Fleets and how their hosts are reached, as an owner wrote it: what is registered, and how far each has come.

Does not cover hosts that have joined (hosts), nor who installs them (the command line, over SSH).
"""

from dataclasses import dataclass, field
from enum import StrEnum

from homeport_control.domain.hosts import HostFacts


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine is reached by SSH."""

    hostname: str
    port: int
    user: str
    identity_file: str = ""  # on the machine of who applies; empty: the SSH agent's keys
    jump: "Place | None" = None  # the machine to go through
    wake_mac: str = ""  # Wake-on-LAN; empty: it is always on
    wake_broadcast: str = ""

    @property
    def address(self) -> tuple[str, int]:
        """What makes two places the same machine."""
        return self.hostname, self.port


class Phase(StrEnum):
    """Of an on-demand machine: what the server has done with it, or does."""

    RELEASED = "released"  # no agent runs there
    COMING = "coming"  # it is woken, installed, started
    UP = "up"
    GOING = "going"  # its agent is stopped, perhaps it is shut down


@dataclass(frozen=True, slots=True)
class Standby:
    """What is known of an on-demand machine beside its being registered."""

    phase: Phase
    since_s: float  # unix time when the phase began
    facts: HostFacts  # what it said of itself when it was registered; a host's own are newer
    run_name: str = ""  # the run that it was brought up for
    idle_duration_s: int | None = None  # how long it stays when nothing runs on it; None: for ever
    failures: int = 0  # of bringing it up, or letting it go, in a row
    retry_at_s: float = 0.0  # not before this is it tried again


@dataclass(frozen=True, slots=True)
class Registration:
    """A machine that is to be a host of a fleet."""

    fleet: str
    place: Place
    step: str = "registered"  # what was done last with it, or is being done
    since_s: float = 0.0  # unix time of that step
    error: str = ""  # why the last try failed; empty: it did not
    host_id: str = ""  # the host that it became; empty: none yet
    standby: Standby | None = None  # of an on-demand machine that the server can reach; None: it stays as it is

    @property
    def key(self) -> str:
        """Its only name, before it has a host's."""
        return f"{self.fleet}/{self.place.hostname}:{self.place.port}"


@dataclass(frozen=True, slots=True)
class Fleet:
    name: str
    labels: tuple[tuple[str, str], ...] = ()  # sorted; every host of it has them
    region: str = ""
    places: tuple[Place, ...] = ()
    on_demand: bool = False
    idle_duration_s: int | None = None  # of on-demand hosts, unless their run says another; None: for ever
    power_off: bool = False  # they are shut down when they are released
    server: str = ""  # HOST:PORT of the API, as on-demand hosts reach it


@dataclass(frozen=True, slots=True)
class PlaceChange:
    """What applying a fleet does with one machine."""

    place: Place
    action: str  # new, changed, repair, unchanged, gone
    reason: str  # one sentence
    host_id: str = ""
    host_name: str = ""
    replicas: int = 0

    @property
    def installs(self) -> bool:
        return self.action in {"new", "changed", "repair"}


@dataclass(frozen=True, slots=True)
class Errand:
    """What the server does with an on-demand machine by SSH."""

    registration: Registration
    access: str = field(repr=False)  # homeport_protos.ssh.access, as JSON
    server: str  # HOST:PORT, as the machine reaches it
    brings_up: bool  # False: it is let go
    token: str = field(default="", repr=False)  # to join with
    power_off: bool = False
