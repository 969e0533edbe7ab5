"""What is promised when something happens to the database of a server with SQLite, which is a file."""

from faults.words import Absent, Fault, Promise, Struck

REFUSED = "an apply is refused with the reason"
TAKEN = "an apply is taken again"
_KEEPS = "a container is stopped or started again; an acknowledged apply is lost"
PROMISES = (
    Promise(
        "database-locked-2s",
        Struck.DATABASE,
        Fault.LOCKED,
        "2 s",
        times_s={TAKEN: 15.0},
        never="an apply is refused: it waits; " + _KEEPS,
    ),
    Promise(
        "database-locked-20s",
        Struck.DATABASE,
        Fault.LOCKED,
        "20 s",
        times_s={REFUSED: 15.0, TAKEN: 40.0},
        never=_KEEPS,
    ),
    Promise(
        "database-away",
        Struck.DATABASE,
        Fault.AWAY,
        "the file is moved away and back",
        times_s={REFUSED: 10.0, TAKEN: 40.0},
        never="an empty one is made in its place; " + _KEEPS,
    ),
    Promise(
        "database-damaged",
        Struck.DATABASE,
        Fault.AWAY,
        "the file is damaged, a copy is put back",
        times_s={REFUSED: 15.0, TAKEN: 60.0},
        never="a server starts on it; " + _KEEPS,
        note="What was applied after the copy was made is to be applied again",
    ),
)
ABSENT = (
    Absent(Struck.DATABASE, (Fault.DISK,), "the file lies on the server's disk: see the server"),
    Absent(
        Struck.DATABASE,
        (Fault.KILL, Fault.STOP, Fault.RESTART, Fault.POWER, Fault.MEMORY, Fault.CLOCK),
        "SQLite is a part of the server's process: see the server",
    ),
    Absent(
        Struck.DATABASE,
        (Fault.CABLE, Fault.DROP, Fault.DROP_ONE_WAY, Fault.SLOW, Fault.CERTIFICATE),
        "SQLite has no network",
    ),
    Absent(Struck.DATABASE, (Fault.ENGINE_RESTART, Fault.ENGINE_HANG), "it does not run in Docker"),
)
