"""Where a machine is reached by SSH, and the packet that wakes it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wake:
    """Wake-on-LAN. A broadcast address reaches one network only: the sender's own, or the one that it names."""

    mac: str  # "3c:ec:ef:12:34:56"
    broadcast: str = "255.255.255.255"


@dataclass(frozen=True, slots=True)
class Place:
    hostname: str
    port: int
    user: str
    identity_file: str = ""  # on the machine of who applies; empty: the SSH agent's keys
    jump: "Place | None" = None  # the machine to go through
    wake: Wake | None = None

    @property
    def address(self) -> tuple[str, int]:
        """What makes two places the same machine."""
        return self.hostname, self.port

    @property
    def name(self) -> str:
        """As it is shown: with the port where it is not SSH's own."""
        return self.hostname if self.port == 22 else f"{self.hostname}:{self.port}"
