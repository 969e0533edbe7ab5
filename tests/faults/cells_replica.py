"""What is promised when something happens to a replica of a service that has another one."""

from faults.words import Absent, Fault, Promise, Struck

OUT = "out of rotation"
BACK = "in rotation again"
# Uploads and streams that a client has under way at once: all of one replica may be cut.
UNDER_WAY = 22
_NOTE = "A POST that had reached it and streams that it sent are cut; they are not sent again, for they may have had effects"
PROMISES = (
    Promise(
        "replica-kill",
        Struck.REPLICA,
        Fault.KILL,
        may_break=UNDER_WAY,
        failing_s=0.5,
        times_s={OUT: 1.0, BACK: 10.0},
        note=_NOTE,
    ),
    Promise(
        "replica-exit",
        Struck.REPLICA,
        Fault.RESTART,
        "its program ends by itself",
        may_break=UNDER_WAY,
        failing_s=0.5,
        times_s={OUT: 1.0, BACK: 10.0},
    ),
    Promise(
        "replica-stop",
        Struck.REPLICA,
        Fault.STOP,
        may_fail=0,
        may_break=UNDER_WAY,
        failing_s=36.0,
        silent_s=2.0,
        times_s={OUT: 36.0, BACK: 80.0},
        least=1000,
        note="What it had taken waits until it goes on, or is started again: three probes in a row that time out (10 s each "
        "unless the file says otherwise) take it out",
    ),
    Promise(
        "replica-memory",
        Struck.REPLICA,
        Fault.MEMORY,
        "above its limit",
        may_break=UNDER_WAY,
        failing_s=0.5,
        times_s={OUT: 1.0, BACK: 10.0},
        never="another replica or the host is touched",
    ),
)
ABSENT = (
    Absent(Struck.REPLICA, (Fault.POWER,), "it does not lose power without its host"),
    Absent(
        Struck.REPLICA,
        (Fault.CABLE, Fault.DROP, Fault.DROP_ONE_WAY, Fault.SLOW),
        "its port is on its host's loopback, which has no cable: see the host",
    ),
    Absent(Struck.REPLICA, (Fault.CLOCK,), "it has its host's clock, and Homeport asks it for no time"),
    Absent(Struck.REPLICA, (Fault.DISK,), "its program sees that, and says so by its probes"),
    Absent(Struck.REPLICA, (Fault.ENGINE_RESTART, Fault.ENGINE_HANG), "see the host"),
    Absent(Struck.REPLICA, (Fault.LOCKED, Fault.AWAY), "it has no database of Homeport's"),
    Absent(Struck.REPLICA, (Fault.CERTIFICATE,), "it has none: the gateway speaks to its host's Envoy"),
)
