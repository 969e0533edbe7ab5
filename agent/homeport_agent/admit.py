"""Waits for the verdict of admission, look after look, before a container with GPUs starts.

Covers the looking and the waiting, which always end. Does not cover the judgement (admission) nor what follows from it
(transitions).
"""

import asyncio
import time
from collections.abc import Callable

from homeport_agent import admission
from homeport_agent.admission import Look
from homeport_agent.machine import Machine
from homeport_agent.model import AssignedReplica, Phase

AGAIN_S = 0.25


class Admission:
    """look: the newest sample of the GPUs, with their processes and findings; it must not block."""

    def __init__(self, machine: Machine, look: Callable[[], Look], clock: Callable[[], float] = time.monotonic) -> None:
        self._machine = machine
        self._look = look
        self._clock = clock

    def refused_at_once(self, assigned: AssignedReplica) -> str:
        """What no waiting can change: worth knowing before an image of gigabytes is pulled. Empty: nothing of that kind."""
        return self._verdict(assigned, 0.0).refused

    async def ask(self, assigned: AssignedReplica, tell: Callable[[str], None]) -> str:
        """Empty: it may start. Else why this host cannot run it. tell: called with what is waited for, again and again."""
        began_s = self._clock()
        while True:
            found = self._verdict(assigned, self._clock() - began_s)
            if not found.waits:
                return found.refused
            held = self._machine.replica_of(assigned.replica_id)
            if held is None or held.phase is not Phase.STARTING:
                return "it is not wanted any more"  # a stop waits for this start to end
            tell(found.waits)
            await asyncio.sleep(AGAIN_S)

    def _verdict(self, assigned: AssignedReplica, waited_s: float) -> admission.Verdict:
        look = self._look()
        others = self._machine.others(assigned.replica_id)
        return admission.verdict(assigned, others, look, waited_s, self._clock() - look.at_s)
