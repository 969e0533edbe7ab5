"""What must be true of a world at each moment: checks over the database's rows, the hosts' containers and what Envoys hold.

Numbers are those of DESIGN section 5. Reads only what is committed.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sim import clock
from sim.machine import A100_MIB
from sim.world import World


@dataclass(frozen=True)
class Rows:
    """What is committed."""

    runs: dict[str, dict[str, Any]]
    revisions: dict[tuple[str, int], dict[str, Any]]
    replicas: dict[str, dict[str, Any]]  # those that have not ended
    reservations: dict[str, dict[str, Any]]  # by replica
    hosts: dict[str, dict[str, Any]]


class Reader:
    def __init__(self, world: World) -> None:
        self._connection = sqlite3.connect(f"file:{world.file}?mode=ro", uri=True, isolation_level=None)
        self._connection.row_factory = sqlite3.Row

    def rows(self) -> Rows:
        def read(sql: str) -> list[dict[str, Any]]:
            return [dict(row) for row in self._connection.execute(sql)]

        self._connection.execute("BEGIN")
        try:
            return Rows(
                {it["id"]: it for it in read("SELECT * FROM runs")},
                {(it["run_id"], it["number"]): it for it in read("SELECT * FROM revisions")},
                {it["id"]: it for it in read("SELECT * FROM replicas WHERE ended_at_s IS NULL")},
                {it["replica_id"]: it for it in read("SELECT * FROM reservations")},
                {it["id"]: it for it in read("SELECT * FROM hosts")},
            )
        finally:
            self._connection.execute("COMMIT")

    def untold(self) -> list[str]:
        """Changes without their event."""
        query = (
            "SELECT object_id, count(*) AS changes, (SELECT count(*) FROM events WHERE events.object_id = sim_told.object_id)"
            " AS events FROM sim_told GROUP BY object_id HAVING changes > events"
        )
        found = self._connection.execute(query).fetchall()
        return [f"{it['object_id']} changed {it['changes']} times, of which {it['events']} events tell" for it in found]

    def replica(self, replica_id: str) -> dict[str, Any] | None:
        """With its run's name and wish, and the shortest time that any file of it gave it to end; None: it has ended."""
        query = (
            "SELECT replicas.*, runs.name AS run_name, runs.wanted AS run_wanted,"
            " (SELECT min(json_extract(spec, '$.stop_duration_s')) FROM revisions WHERE run_id = runs.id) AS stop_duration_s"
            " FROM replicas JOIN runs ON runs.id = replicas.run_id WHERE replicas.id = ? AND replicas.ended_at_s IS NULL"
        )
        row = self._connection.execute(query, (replica_id,)).fetchone()
        return dict(row) if row is not None else None

    def close(self) -> None:
        self._connection.close()


def check(world: World, rows: Rows) -> None:
    """Everything that holds at each moment, also in the midst of faults."""
    for found in (_reservations(rows), _acknowledged(world, rows), _containers(world, rows), _gateways(world, rows)):
        for what in found:
            world.fail(what)


def _reservations(rows: Rows) -> Iterator[str]:
    """1: never more than there is; one holder of an exclusive GPU. And each claim is a living replica's."""
    exclusive: dict[str, list[str]] = {}
    shared: dict[str, int] = {}
    for claim in rows.reservations.values():
        replica = rows.replicas.get(claim["replica_id"])
        if replica is None:
            yield f"1: the ended replica {claim['replica_id']} has a reservation"
        elif replica["host_id"] != claim["host_id"]:
            yield f"1: {claim['replica_id']} is on {replica['host_id']} and reserves on {claim['host_id']}"
        for uuid in json.loads(claim["gpu_uuids"]):
            if claim["exclusive"]:
                exclusive.setdefault(uuid, []).append(claim["replica_id"])
            else:
                shared[uuid] = shared.get(uuid, 0) + claim["gpu_memory_mib"]
    for uuid, holders in exclusive.items():
        if len(holders) > 1 or uuid in shared:
            yield f"1: {uuid} is exclusive to {holders}, and {shared.get(uuid, 0)} MiB of it are reserved besides"
    for uuid, memory_mib in shared.items():
        if memory_mib > A100_MIB:
            yield f"1: {memory_mib} MiB of {uuid} are reserved, it has {A100_MIB}"
    for replica in rows.replicas.values():
        if replica["host_id"] is not None and replica["id"] not in rows.reservations:
            yield f"1: {replica['id']} is on {replica['host_id']} without a reservation"


def _acknowledged(world: World, rows: Rows) -> Iterator[str]:
    """9: what a user was told is kept."""
    for key in world.acked.revisions:
        if key not in rows.revisions:
            yield f"9: the acknowledged revision {key[1]} of {key[0]} is gone"
    for run_id in world.acked.stopped:
        if rows.runs[run_id]["wanted"] == "run" and rows.runs[run_id]["ended_at_s"] is None:
            yield f"9: the acknowledged stop of {run_id} is forgotten"
    for host_id, cordoned in world.acked.cordoned.items():
        if host_id in rows.hosts and bool(rows.hosts[host_id]["cordoned"]) is not cordoned:
            yield f"9: {host_id} was acknowledged as {'' if cordoned else 'not '}drained, and is not so"


def _containers(world: World, rows: Rows) -> Iterator[str]:
    """One replica has one container, ever; and none of another server is touched."""
    where: dict[str, list[str]] = {}
    for machine in world.machines.values():
        for name, container in machine.engine.containers.items():
            if container.shown.is_running and name.startswith("homeport-"):
                where.setdefault(container.shown.replica_id, []).append(machine.name)
        if "neighbour" not in machine.engine.containers:
            yield f"7: the agent of {machine.name} deleted a container that is not its own"
    for replica_id, names in where.items():
        if len(names) > 1:
            yield f"two containers of {replica_id} run, on {names}"


def _gateways(world: World, rows: Rows) -> Iterator[str]:
    """6, and 4: no place twice at an Envoy, and nothing that was drained still gets requests."""
    for envoy in world.envoys():
        for service, endpoints in envoy.endpoints.items():
            places = [(it.address, it.port) for it in endpoints]
            if len(set(places)) != len(places):
                yield f"6: envoy {envoy.name} holds one place twice for {service}: {places}"
    for envoy in world.envoys():
        for service in envoy.endpoints:
            for held in envoy.in_rotation(service):
                replica = rows.replicas.get(held.replica_id)
                if replica is None:
                    continue
                if replica["wanted"] == "stop" and replica["drained_at_s"] is not None:
                    yield f"4: {held.replica_id} of {service} was drained, and Envoy sends requests to it"


def stopping(world: World, reader: Reader, replica_id: str) -> None:
    """A container is about to be stopped by its agent: not one that callers are still sent to, or that still answers some."""
    row = reader.replica(replica_id)
    if row is None or row["wanted"] != "stop" or row["run_wanted"] == "abort" or row["lost"]:
        return
    spent_s = clock.EPOCH_S + clock.current.now_s - (row["drain_started_at_s"] or 0.0)
    had_time = row["drain_started_at_s"] is not None and spent_s >= row["stop_duration_s"] - 0.1
    if (had_time and row["drained_at_s"] is None) or world.is_skewed:
        return
    for envoy in world.envoys():
        if any(it.replica_id == replica_id and world.serves(it) for it in envoy.in_rotation(row["run_name"])):
            world.fail(f"4: {replica_id} of {row['run_name']} is stopped while Envoy sends requests to it")
        busy = sum(count for it, count in envoy.in_flight().items() if it.replica_id == replica_id)
        if busy and row["drain_started_at_s"] is not None:
            world.fail(f"4: {replica_id} of {row['run_name']} is stopped while it answers {busy} requests")


class Floors:
    """4: while no fault takes an endpoint, a rollout, a drain, a scaling never takes those in rotation below what was wanted.

    How many each run must have answering, as callers see it. Once it has had as many as it wanted it must keep them; of two
    numbers that were wanted, the smaller one. What an Envoy holds of a version that it has refused does not count as had: it is
    given back.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._floor: dict[str, int] = {}  # by run id

    def look(self, rows: Rows) -> None:
        for run_id, run in rows.runs.items():
            if run["ended_at_s"] is not None or run["wanted"] != "run":
                self._floor.pop(run_id, None)
                continue
            specs = [json.loads(it["spec"]) for key, it in sorted(rows.revisions.items()) if key[0] == run_id]
            counts = [it["replicas"]["min"] for it in specs]
            unavailable = max(it["rollout"]["max_unavailable"] for it in specs)
            floor = min(self._floor.get(run_id, 0), *counts[-2:])
            serving = sum(
                self._world.serves(held) for envoy in self._world.envoys() for held in envoy.in_rotation(run["name"])
            )
            if serving < floor - unavailable:
                self._world.fail(
                    f"4: {run['name']} has {serving} endpoints that answer, {floor} were wanted and there, and a rollout "
                    f"may do without {unavailable}"
                )
            is_settled = all(it.settles_at_s <= clock.current.now_s for it in self._world.envoys())
            self._floor[run_id] = max(floor, min(serving, counts[-1])) if is_settled else floor
