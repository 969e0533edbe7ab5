"""The fault matrix as data: which fault strikes what, what a user is promised then, and which pairs make no sense.

Covers every cell; the shape of the table in docs/reliability.md depends on this module alone, not on which tests ran. Each
promise is held by one test (`measure.measuring`). The cells themselves stand beside it, by what is struck: cells_*.py.
"""

from faults import cells_agent, cells_database, cells_gateway, cells_host, cells_replica, cells_server
from faults.words import Absent, Fault, Promise, Struck

ROOMS = (cells_server, cells_agent, cells_host, cells_gateway, cells_replica, cells_database)
PROMISES: dict[str, Promise] = {promise.key: promise for room in ROOMS for promise in room.PROMISES}
ABSENT: tuple[Absent, ...] = tuple(absent for room in ROOMS for absent in room.ABSENT)


def of(struck: Struck) -> list[Promise]:
    """In the order of the faults."""
    order = list(Fault)
    return sorted((it for it in PROMISES.values() if it.struck is struck), key=lambda it: order.index(it.fault))


def problems() -> list[str]:
    """What is wrong with the matrix: a pair that nobody speaks of, one of which two things are said, two equal keys."""
    found = []
    for struck in Struck:
        for fault in Fault:
            promised = [it for it in PROMISES.values() if (it.struck, it.fault) == (struck, fault)]
            absent = [it for it in ABSENT if it.struck is struck and fault in it.faults]
            if len(absent) > 1 or (promised and absent):
                found.append(f"{fault} of {struck}: it is both promised and left out, or left out twice")
            if not promised and not absent:
                found.append(f"{fault} of {struck}: neither a promise nor a reason for none")
    if len(PROMISES) != sum(len(room.PROMISES) for room in ROOMS):
        found.append("two promises have one key")
    return found
