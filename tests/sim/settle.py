"""Liveness: what is still missing when no faults strike any more. Empty: all is as it was wanted."""

import json
from collections.abc import Callable
from typing import Any

from sim.invariants import Rows
from sim.world import World

WhyNot = Callable[[World, Rows], list[str]]


def unsettled(world: World, rows: Rows) -> list[str]:
    """Each run has what it wants in rotation, or says why not; nothing is on its way out; hosts run what they should."""
    found = []
    for run in rows.runs.values():
        if run["ended_at_s"] is None:
            found += _run(world, rows, run)
    found += _hosts(world, rows)
    return found


def _run(world: World, rows: Rows, run: dict[str, Any]) -> list[str]:
    name = run["name"]
    mine = [it for it in rows.replicas.values() if it["run_id"] == run["id"]]
    if run["wanted"] != "run":
        return [f"{name} is being stopped: {run['reason']}"]
    good = [it for key, it in sorted(rows.revisions.items()) if key[0] == run["id"] and not it["failed"]]
    if not good:
        return [f"{name} has no good revision and has not failed"]
    revision, spec = good[-1]["number"], json.loads(good[-1]["spec"])
    count = spec["replicas"]["min"]
    right = [it for it in mine if it["revision"] == revision and it["wanted"] == "run" and not it["lost"]]
    waiting = [it for it in right if it["host_id"] is None and it["message"] not in ("", "waiting for a host")]
    serving = [it for it in right if it["phase"] == "ready" and it["in_rotation"]]
    # One that served for a moment and ends again and again does so for ever, later each time, and says when it is tried next.
    ends = [it for it in right if spec["image"].startswith("crash") and it["first_ready_at_s"] is not None]
    if ends and all("next try in" in it["message"] for it in ends if it not in serving):
        return []
    if waiting:
        return []  # with reason, which run.py looks at
    missing = []
    if len(serving) != count:
        missing.append(
            f"{name} has {len(serving)} of {count} replicas of revision {revision} in rotation: {run['reason']}"
        )
    missing += [
        f"{name}: {it['id']} of revision {it['revision']} is {it['wanted']}, {it['phase']}: {it['message']}"
        for it in mine
        if it not in serving
    ]
    for envoy in world.envoys():
        held = {it.replica_id for it in envoy.in_rotation(name)}
        if held != {it["id"] for it in serving}:
            missing.append(
                f"{name}: envoy sends to {sorted(held)}, in rotation are {sorted(it['id'] for it in serving)}"
            )
        missing += [f"{name}: {it} does not answer" for it in envoy.in_rotation(name) if not world.serves(it)]
    return missing


def _hosts(world: World, rows: Rows) -> list[str]:
    found = []
    for host_id, machine in world.machines.items():
        there = {it.shown.replica_id for name, it in machine.engine.containers.items() if name.startswith("homeport-")}
        wanted = {it["id"] for it in rows.replicas.values() if it["host_id"] == host_id}
        if host_id in rows.hosts and machine.is_up and rows.hosts[host_id]["connection"] != "connected":
            found.append(f"{machine.name} is not connected: {rows.hosts[host_id]['connection_reason']}")
        if there - wanted:
            found.append(f"left over on {machine.name}: {sorted(there - wanted)}")
    return found


def left_over(world: World, rows: Rows) -> list[str]:
    """After all runs were stopped nothing is left of them anywhere."""
    found = [f"{it['name']} has not ended: {it['reason']}" for it in rows.runs.values() if it["ended_at_s"] is None]
    found += [
        f"{it['id']} has not ended: {it['wanted']} {it['phase']} on {it['host_id']} {it['message']}"
        for it in rows.replicas.values()
    ]
    found += [f"{it} is reserved" for it in rows.reservations]
    found += _hosts(world, rows)
    for envoy in world.envoys():
        found += [
            f"envoy still sends to {it}" for service in sorted(envoy.endpoints) for it in envoy.in_rotation(service)
        ]
    return found


__all__ = ["WhyNot", "left_over", "unsettled"]
