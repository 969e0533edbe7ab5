"""What the matrix is made of: faults, what they strike, a promise for a pair of them, a reason for a pair without one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Struck(StrEnum):
    SERVER = "server"
    AGENT = "agent"
    HOST = "host"
    GATEWAY = "gateway"
    REPLICA = "replica"
    DATABASE = "database"


class Fault(StrEnum):
    KILL = "kill -9"
    STOP = "SIGSTOP for 30 s"
    RESTART = "restart"
    POWER = "power loss"
    CABLE = "cable out"
    DROP = "silent drop, both ways"
    DROP_ONE_WAY = "silent drop, one way"
    SLOW = "slow link"
    CLOCK = "clock jump of an hour"
    DISK = "disk full"
    MEMORY = "out of memory"
    ENGINE_RESTART = "Docker engine restarted"
    ENGINE_HANG = "Docker engine hangs"
    LOCKED = "locked by another process"
    AWAY = "file or server away, or damaged"
    CERTIFICATE = "certificate expired"


@dataclass(frozen=True, slots=True)
class Promise:
    """One cell of the matrix. Its numbers are held by `measure.Measured.broken`; its texts stand in the table."""

    key: str  # names the test's result: results/KEY.json
    struck: Struck
    fault: Fault
    variant: str = ""  # "2 s", "under load": when a pair has several cells
    may_fail: int = 0  # requests that may be sent twice (GET): so many may fail
    may_break: int = (
        0  # uploads, streams and websockets: so many may be cut, which were under way where the fault struck
    )
    failing_s: float = (
        0.0  # failures begin no later than this after the fault; with may_fail and may_break of 0 it is 0
    )
    silent_s: float = 2.0  # the longest time without a right answer, over all callers
    times_s: Mapping[str, float] = field(default_factory=dict)  # what happens within how many seconds of the fault
    least: int = 200  # requests that must be answered after the fault, else nothing was measured
    never: str = ""  # what does not happen, however long it lasts: checked by the test itself
    note: str = ""  # what a user must know besides

    @property
    def may(self) -> str:
        """What may fail, in words."""
        parts = []
        if self.may_fail:
            parts.append(f"at most {self.may_fail} plain requests fail, all within {self.failing_s:g} s")
        else:
            parts.append("no request that may be sent twice fails")
        if self.may_break:
            parts.append(f"at most {self.may_break} POSTs and streams are cut, those under way there")
        elif not self.may_fail:
            return "no request fails"
        return "; ".join(parts)

    @property
    def words(self) -> str:
        times = [f"{what} within {within_s:g} s" for what, within_s in self.times_s.items()]
        never = [f"never: {self.never}"] if self.never else []
        return "; ".join([self.may, *times, *never])


@dataclass(frozen=True, slots=True)
class Absent:
    """Pairs that make no sense, or that are one with another pair, with the reason."""

    struck: Struck
    faults: tuple[Fault, ...]
    why: str
