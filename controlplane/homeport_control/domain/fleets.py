"""Fleets and how their hosts are reached, as an owner wrote it: what is registered, and how far each has come.

Does not cover hosts that have joined (hosts), nor who installs them (the command line, over SSH).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine is reached by SSH."""

    hostname: str
    port: int
    user: str
    identity_file: str = ""  # on the machine of who applies; empty: the SSH agent's keys
    jump: "Place | None" = None  # the machine to go through

    @property
    def address(self) -> tuple[str, int]:
        """What makes two places the same machine."""
        return self.hostname, self.port


@dataclass(frozen=True, slots=True)
class Registration:
    """A machine that is to be a host of a fleet."""

    fleet: str
    place: Place
    step: str = "registered"  # what was done last with it, or is being done
    since_s: float = 0.0  # unix time of that step
    error: str = ""  # why the last try failed; empty: it did not
    host_id: str = ""  # the host that it became; empty: none yet


@dataclass(frozen=True, slots=True)
class Fleet:
    name: str
    labels: tuple[tuple[str, str], ...] = ()  # sorted; every host of it has them
    region: str = ""
    places: tuple[Place, ...] = ()


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
