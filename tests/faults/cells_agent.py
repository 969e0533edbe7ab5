"""What is promised when something happens to a host's agent: containers and Envoy are not its children."""

from faults.words import Absent, Fault, Promise, Struck

ADOPTED = "its host is connected"
CAUGHT_UP = "what was applied meanwhile runs"
_KEEPS = "a container is stopped or started again"
PROMISES = (
    Promise("agent-kill", Struck.AGENT, Fault.KILL, times_s={ADOPTED: 15.0}, never=_KEEPS),
    Promise(
        "agent-stop",
        Struck.AGENT,
        Fault.STOP,
        times_s={"its host counts as unreachable": 12.0, ADOPTED: 45.0},
        least=1000,
        never=_KEEPS,
        note="Its replicas go on there; where there is another host, they are replaced after `lost_after` (10 s)",
    ),
    Promise("agent-restart", Struck.AGENT, Fault.RESTART, times_s={ADOPTED: 15.0}, never=_KEEPS),
    Promise(
        "agent-disk",
        Struck.AGENT,
        Fault.DISK,
        times_s={ADOPTED: 30.0, CAUGHT_UP: 90.0},
        never=_KEEPS + ", also when the agent is killed while its disk is full",
    ),
)
ABSENT = (
    Absent(Struck.AGENT, (Fault.POWER,), "it does not lose power without its host"),
    Absent(
        Struck.AGENT,
        (Fault.CABLE, Fault.DROP, Fault.DROP_ONE_WAY, Fault.SLOW, Fault.CLOCK, Fault.CERTIFICATE),
        "its link, its clock and its certificate are its host's: see the host",
    ),
    Absent(Struck.AGENT, (Fault.ENGINE_RESTART, Fault.ENGINE_HANG), "see the host"),
    Absent(Struck.AGENT, (Fault.MEMORY,), "the kernel ends it with SIGKILL: the same as kill -9"),
    Absent(Struck.AGENT, (Fault.LOCKED, Fault.AWAY), "it has no database; a journal that is broken is moved aside"),
)
