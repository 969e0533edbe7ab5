"""What is promised when something happens to the server: it is never on the path of a request."""

from faults.words import Absent, Fault, Promise, Struck

BACK = "it answers again"
REFUSED = "an apply is refused with the reason"
TAKEN = "an apply is taken again"
_KEEPS = "a container ends; an acknowledged apply is lost"
_NO_CHANGE = "While it is away nothing changes: no apply, no replacement on another host"
PROMISES = (
    Promise("server-kill", Struck.SERVER, Fault.KILL, times_s={BACK: 10.0}, never=_KEEPS, note=_NO_CHANGE),
    Promise("server-stop", Struck.SERVER, Fault.STOP, times_s={BACK: 35.0}, never=_KEEPS, note=_NO_CHANGE, least=1500),
    Promise("server-restart", Struck.SERVER, Fault.RESTART, times_s={BACK: 15.0}, never=_KEEPS),
    Promise(
        "server-power",
        Struck.SERVER,
        Fault.POWER,
        "its machine is the gateway and the only host",
        may_fail=6000,
        may_break=600,
        failing_s=40.0,
        silent_s=45.0,
        times_s={"services answer again": 40.0, BACK: 40.0},
        never="an acknowledged apply is lost",
        note="Where all is on one machine, all is away until it has booted; then everything comes up by itself",
    ),
    Promise(
        "server-clock-ahead", Struck.SERVER, Fault.CLOCK, "an hour ahead", never="a host counts as lost; " + _KEEPS
    ),
    Promise("server-clock-back", Struck.SERVER, Fault.CLOCK, "an hour back", never="a host counts as lost; " + _KEEPS),
    Promise(
        "server-disk",
        Struck.SERVER,
        Fault.DISK,
        times_s={REFUSED: 15.0, TAKEN: 30.0},
        never=_KEEPS,
    ),
)
ABSENT = (
    Absent(
        Struck.SERVER,
        (Fault.CABLE, Fault.DROP, Fault.DROP_ONE_WAY, Fault.SLOW),
        "a link has two ends: see those of a host, which cuts it off from the server as well",
    ),
    Absent(Struck.SERVER, (Fault.MEMORY,), "the kernel ends it with SIGKILL: the same as kill -9"),
    Absent(Struck.SERVER, (Fault.ENGINE_RESTART, Fault.ENGINE_HANG), "it has no Docker engine: see the host"),
    Absent(Struck.SERVER, (Fault.LOCKED, Fault.AWAY), "see the database"),
    Absent(
        Struck.SERVER,
        (Fault.CERTIFICATE,),
        "it makes itself a new one of 90 days at each start past half of that; those of hosts, which it signs: see the host",
    ),
)
