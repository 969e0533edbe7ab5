"""Replicas, assignments and containers made up for the tests of the agent."""

from typing import Any

from homeport_agent.model import AssignedReplica, Assignment, Container, Wanted

SERVER = "server-1"


def replica(replica_id: str = "r1", **values: Any) -> AssignedReplica:
    defaults: dict[str, Any] = {
        "run_name": "hello",
        "revision": 1,
        "index": 0,
        "wanted": Wanted.RUN,
        "image": "hello:1",
        "container_port": 8000,
        "ready_timeout_s": 60.0,
        "stop_grace_s": 20.0,
    }
    return AssignedReplica(replica_id, **(defaults | values))


def assignment(generation: int, *replicas: AssignedReplica, server_id: str = SERVER) -> Assignment:
    return Assignment(server_id, generation, replicas)


def container(replica_id: str = "r1", **values: Any) -> Container:
    defaults: dict[str, Any] = {
        "id": f"c-{replica_id}",
        "is_running": True,
        "ip": "172.17.0.9",
        "host_port": 32768,
        "pid": 4242,
        "run_name": "hello",
        "revision": 1,
    }
    return Container(replica_id=replica_id, **(defaults | values))


def ended(replica_id: str = "r1", exit_code: int = 1, **values: Any) -> Container:
    return container(replica_id, is_running=False, exit_code=exit_code, ip="", host_port=0, pid=0, **values)
