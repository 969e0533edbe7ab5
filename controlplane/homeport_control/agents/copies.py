"""PURE but for its memory: whether two machines speak with one identity, as after a disk was cloned.

Each start of an agent has a boot id of its own, and sessions follow one another: a boot id that comes back after another one
was heard is alive beside it. The one that was there first goes on, the other one is refused; a restart is a boot id that
never comes back.
"""

from dataclasses import dataclass, field
from enum import Enum

MOST_OLDER = 16  # boots of a host, of which one may come back
MOST_COPIES = 64


class Verdict(Enum):
    ALONE = "alone"
    FIRST = "first"  # it was there before the one that it takes over from, which is a copy
    COPY = "copy"


@dataclass(slots=True)
class _Boots:
    current: str
    older: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)


class Copies:
    """Of one server process; a new one finds out anew."""

    def __init__(self) -> None:
        self._by_host: dict[str, _Boots] = {}

    def heard(self, host_id: str, boot_id: str) -> Verdict:
        """A session of that host begins."""
        known = self._by_host.setdefault(host_id, _Boots(boot_id))
        if boot_id in known.copies:
            return Verdict.COPY
        if boot_id == known.current:
            return Verdict.ALONE
        if boot_id in known.older:
            known.copies = [*known.copies, known.current][-MOST_COPIES:]
            known.older.remove(boot_id)
            known.current = boot_id
            return Verdict.FIRST
        known.older = [*known.older, known.current][-MOST_OLDER:]
        known.current = boot_id
        return Verdict.ALONE
