"""The last accepted assignment, the history of each replica and where those are that serve, on disk.

Covers keeping and reading back. Env values, registry passwords and probes that carry headers or a body are never
written: a container that exists carries its env in itself, and a new one needs the server anyway (silence), so a secret
on this disk would serve nobody but a thief. A file that cannot be read is moved aside, with a line in the log: the
server sends everything again.
"""

import asyncio
import dataclasses
import json
import logging
from pathlib import Path
from typing import Any, TypeVar

from homeport_agent.files import write_atomically
from homeport_agent.machine import without_secrets
from homeport_agent.model import (
    AssignedReplica,
    Assignment,
    Container,
    DoorWish,
    EdgeHost,
    EdgeWish,
    GatewayRole,
    History,
    JournalEntry,
    Probe,
    ReachTarget,
    TunnelTo,
    Volume,
    Wanted,
)

log = logging.getLogger("homeport.agent")

FORMAT = 1
AGAIN_S = 5.0  # after a write that failed: a disk that is full has room again some time
KIND = TypeVar("KIND")


class Journal:
    """One file. `keep` only notes; `run` writes the newest, so a slow disk never holds up the agent."""

    def __init__(self, path: Path, again_s: float = AGAIN_S) -> None:
        self._path, self._again_s = path, again_s
        self._is_refused = False  # by the disk, at the last write
        self._newest: JournalEntry | None = None
        self._noted = asyncio.Event()

    def read(self) -> JournalEntry | None:
        """What was kept; None when there is nothing, or nothing that can be read."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("the journal %s cannot be read: %s; going on without it", self._path, error.strerror)
            return None
        try:
            return decode(text)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            aside = self._path.with_suffix(".broken")
            self._path.replace(aside)
            log.warning("the journal was broken (%s): moved to %s; the server sends everything again", error, aside)
            return None

    def keep(self, entry: JournalEntry) -> None:
        self._newest = entry
        self._noted.set()

    async def run(self) -> None:
        while True:
            await self._noted.wait()
            if not await self.flush():
                await asyncio.sleep(self._again_s)

    async def flush(self) -> bool:
        """Write what was noted and not written yet. False when the disk refuses: an older one lies there."""
        while self._noted.is_set() and self._newest is not None:
            self._noted.clear()
            try:
                await asyncio.to_thread(write_atomically, self._path, encode(self._newest))
            except OSError as error:
                if not self._is_refused:
                    log.error("the journal %s cannot be written: %s; trying again", self._path, error.strerror)
                self._is_refused = True
                self._noted.set()
                return False
            except asyncio.CancelledError:  # it may not even have begun; app flushes once more
                self._noted.set()
                raise
            if self._is_refused:
                log.info("the journal %s is written again", self._path)
            self._is_refused = False
        return True


def encode(entry: JournalEntry) -> bytes:
    clean = dataclasses.replace(entry, assignment=without_secrets(entry.assignment))
    document = {
        "format": FORMAT,
        "assignment": dataclasses.asdict(clean.assignment),
        "histories": {key: dataclasses.asdict(history) for key, history in clean.histories},
        "serving": [dataclasses.asdict(it) for it in clean.serving],
        "boot_id": clean.boot_id,
    }
    return json.dumps(document, indent=1).encode()


def decode(text: bytes) -> JournalEntry:
    """Raises ValueError, TypeError, KeyError or AttributeError on anything that `encode` does not write.

    What a later version has kept besides is left out: an agent that went back to this one adopts all the same.
    """
    document = json.loads(text)
    if document["format"] != FORMAT:
        raise ValueError(f"format {document['format']}, this agent knows {FORMAT}")
    it = document["assignment"]
    # An agent that knew one gateway a host only wrote `gateway`.
    roles = it["gateways"] if "gateways" in it else [it["gateway"]] if it["gateway"] else []
    gateways = tuple(_of(GatewayRole, role) for role in roles)
    replicas = tuple(_replica(row) for row in it["replicas"])
    door = _door(it["door"]) if it.get("door") else None
    reach = tuple(_of(ReachTarget, target) for target in it.get("reach", ()))
    edge = _edge(it["edge"]) if it.get("edge") else None
    assignment = Assignment(str(it["server_id"]), int(it["generation"]), replicas, gateways, door, reach, edge)
    histories = {str(key): _history(row) for key, row in document["histories"].items()}
    serving = tuple(_of(Container, row) for row in document.get("serving", ()))
    return JournalEntry(assignment, tuple(sorted(histories.items())), serving, str(document.get("boot_id", "")))


def _door(it: dict[str, Any]) -> DoorWish:
    return DoorWish(tuple(it["gateway_host_ids"]), tuple(_of(TunnelTo, each) for each in it.get("tunnels", ())))


def _edge(it: dict[str, Any]) -> EdgeWish:
    return EdgeWish(it["port"], it["mark"], tuple(EdgeHost(e["host_id"], tuple(e["ports"])) for e in it["hosts"]))


def _replica(row: dict[str, Any]) -> AssignedReplica:
    lists = {key: tuple(row[key]) for key in ("entrypoint", "command", "gpu_uuids")}
    return _of(
        AssignedReplica,
        {
            **row,
            **lists,
            "wanted": Wanted(row["wanted"]),
            "env": (),
            "registry_auth": None,
            "volumes": tuple(_of(Volume, it) for it in row["volumes"]),
            "probes": tuple(_of(Probe, {**it, "headers": tuple(map(tuple, it["headers"]))}) for it in row["probes"]),
            "secrets_known": False,
        },
    )


def _history(row: dict[str, Any]) -> History:
    return _of(History, {**row, "log_tail": tuple(row["log_tail"])})


def _of(kind: type[KIND], row: dict[str, Any]) -> KIND:
    names = {it.name for it in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in row.items() if name in names})
