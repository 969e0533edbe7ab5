"""What is asked of the room of code, and how it may fail.

CodeError            one sentence for a user: what, why, what to do; can_heal: trying again may help
├── CodeRefused      the code itself is against the rules
├── CodeDamaged      what came, or what was kept, is not what its hash says
├── ServerAway       the server that has it cannot be reached
└── NoRoom           this host's disk is full
"""

from collections.abc import Callable
from typing import Protocol

from homeport_agent.engine.base import Engine

CodeProgress = Callable[[int, int], None]  # bytes done, bytes to fetch


class CodeError(Exception):
    can_heal = True
    tries = 5  # so many failures end a first start; 0: only its time does


class CodeRefused(CodeError):
    can_heal = False


class CodeDamaged(CodeError):
    pass


class ServerAway(CodeError):
    tries = 0  # says nothing about the replica


class NoRoom(CodeError):
    tries = 3


class Code(Protocol):
    """Both raise CodeError; `lay` also EngineError."""

    async def fetch(self, code_id: str, on_progress: CodeProgress) -> None:
        """Returns once this host has all of it; at once when it has it already."""

    async def lay(self, engine: Engine, container: str, code_id: str) -> None:
        """Put it in a container that has never been started."""
