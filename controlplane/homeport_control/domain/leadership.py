"""Who leads, as one server knows it, and the row that all servers of a database share."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lease:
    """The one row. Times are unix seconds by the clock of the database, the only one that all servers share."""

    term: int  # grows by one with each change of leader; 0: nobody has led yet
    server: str  # one process of a server, never used twice; empty: let go
    name: str  # how that server is called
    address: str  # host:port where its link port is reached by other servers
    since_s: float  # it leads since
    renewed_at_s: float


NOBODY = Lease(0, "", "", "", 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a server knows of who leads."""

    term: int = 0  # 0: not known
    leads: bool = False  # this server does
    name: str = ""
    address: str = ""  # where calls for the leader go; empty: not known
    since_s: float = 0.0
    because: str = ""
