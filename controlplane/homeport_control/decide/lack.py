"""One reason against a host. Pure nouns."""

from dataclasses import dataclass
from typing import NamedTuple


class Short(NamedTuple):
    """A reason without words: its kind, and what there is of what lacks."""

    kind: str
    has: float


@dataclass(frozen=True, slots=True)
class Lack:
    """Of several hosts with the same kind the one with the most `has` stands for all."""

    kind: str
    text: str  # "needs 8 cpus, 4 free", "is cordoned"
    has: float = 0.0
    counted: str = ""  # where the text does not begin with a verb of the host: one that does

    @property
    def verb_text(self) -> str:
        """Begins with a verb of the host, so that hosts can be counted before it."""
        return self.counted or self.text
