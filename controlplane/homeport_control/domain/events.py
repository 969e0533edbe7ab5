"""Events: what changed, who did it, and what it followed from. They are the audit log too, so they never hold a secret."""

from dataclasses import dataclass

KINDS = ("run", "replica", "host", "gateway", "token", "user", "server")


@dataclass(frozen=True, slots=True)
class Event:
    id: int  # grows by commit: who has seen one goes on after it
    at_s: float
    kind: str  # of KINDS: what changed
    object_id: str
    name: str  # of the object; a replica's: "hello/0"
    run_name: str  # of a run and its replicas; else empty
    actor: str  # "user ann", "host gpu-1", "server"
    cause_id: str  # the same for all that follows from one thing
    sentence: str
