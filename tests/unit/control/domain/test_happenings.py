"""domain/happenings: what a user would see change is told with names and numbers, all else is not."""

from dataclasses import replace
from typing import Any

import pytest
from fixtures.control import a_host
from homeport_control.domain import happenings
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import Connection, Finding, Gpu, Health
from homeport_control.domain.replicas import Phase, Replica, Wanted

QUEUED = Replica("r1", "run1", 0, 1, Wanted.RUN, 1000.0, host_id="h1")
READY = replace(QUEUED, phase=Phase.READY, in_rotation=True, first_ready_at_s=1001.0)


@pytest.mark.parametrize(
    ("before", "changed", "told"),
    [
        (QUEUED, {"phase": Phase.PULLING}, "pulls its image on gpu-1"),
        (QUEUED, {"phase": Phase.READY}, "is ready on gpu-1"),
        (QUEUED, {"phase": Phase.WAITING, "message": "no disk"}, "waits on gpu-1: no disk"),
        (QUEUED, {"phase": Phase.FAILED, "message": "no such image"}, "failed on gpu-1: no such image"),
        (QUEUED, {"phase": Phase.FAILED}, "failed on gpu-1"),
        (READY, {"phase": Phase.UNREADY, "message": "answered 500"}, "is not ready any more on gpu-1: answered 500"),
        (READY, {"phase": Phase.STOPPED, "exit_code": 0}, "has stopped on gpu-1, exit code 0"),
        (
            READY,
            {"phase": Phase.WAITING, "restarts": 2, "exit_code": 137, "message": "killed: out of memory"},
            "was killed: out of memory on gpu-1, restart 2",
        ),
        (READY, {"restarts": 1, "message": "exited with code 1"}, "exited with code 1 on gpu-1, restart 1"),
        (READY, {"restarts": 1, "exit_code": 3}, "exited with code 3 on gpu-1, restart 1"),
        (READY, {"restarts": 1}, "is started anew on gpu-1, restart 1"),
        (READY, {"restarts": 1, "message": "no answer"}, "is started anew: no answer on gpu-1, restart 1"),
        (READY, {"wanted": Wanted.DRAIN, "in_rotation": False, "message": "enough"}, "drains on gpu-1: enough"),
        (READY, {"wanted": Wanted.STOP, "stop_grace_s": 5.0}, "is told to stop on gpu-1 within 5 s"),
        (READY, {"wanted": Wanted.STOP}, "is killed on gpu-1"),
        (replace(READY, phase=Phase.FAILED), {"wanted": Wanted.STOP}, "is cleared away on gpu-1"),
        (replace(READY, wanted=Wanted.DRAIN), {"drained_at_s": 5.0}, "is drained on gpu-1: no requests in flight"),
        (replace(READY, wanted=Wanted.STOP), {"drained_at_s": 5.0}, ""),  # too late: it is being stopped already
        (READY, {"in_rotation": False}, "is out of rotation on gpu-1"),
        (READY, {"lost": True}, "is lost: its host gpu-1 is away"),
        (replace(READY, lost=True), {"lost": False}, "is back: its host gpu-1 has returned"),
        (READY, {"ended_at_s": 5.0, "in_rotation": False}, "has ended on gpu-1, its room is free again"),
        (READY, {"exit_code": 4}, "exited with code 4 on gpu-1"),
    ],
)
def test_what_a_user_would_see_is_told(before: Replica, changed: dict[str, Any], told: str) -> None:
    assert happenings.of_replica(before, replace(before, **changed), "gpu-1") == told


@pytest.mark.parametrize(
    "changed",
    [{}, {"pulled_bytes": 7}, {"probes_passed": 1}, {"message": "1 of 2"}, {"host_port": 9}, {"log_tail": ("a",)}],
)
def test_progress_within_a_phase_is_not_told(changed: dict[str, Any]) -> None:
    assert happenings.of_replica(QUEUED, replace(QUEUED, **changed), "gpu-1") == ""


def test_only_what_served_and_was_wanted_stops_serving_by_itself() -> None:
    unready, again = replace(READY, phase=Phase.UNREADY), replace(READY, restarts=1)
    assert happenings.by_itself(READY, unready)
    assert happenings.by_itself(READY, again)
    assert not happenings.by_itself(READY, replace(READY, pulled_bytes=1))
    assert not happenings.by_itself(unready, replace(unready, phase=Phase.WAITING, restarts=1)), "the story goes on"
    assert not happenings.by_itself(QUEUED, replace(QUEUED, phase=Phase.FAILED)), "it never served: the apply's story"
    stopping = replace(READY, wanted=Wanted.STOP)
    assert not happenings.by_itself(stopping, replace(stopping, phase=Phase.STOPPING))


def test_a_replica_is_named_with_its_revision_from_the_second_on() -> None:
    assert happenings.who(READY, "web") == "replica 0 of web"
    assert happenings.who(replace(READY, revision=2), "web") == "replica 0 of web (revision 2)"


def test_a_host_that_goes_is_told_with_the_reason_and_new_facts_are_not() -> None:
    host = a_host("gpu-1")
    away = replace(host, connection=Connection.UNREACHABLE, connection_reason="silent for 6 s")
    assert happenings.of_host(host, away) == "host gpu-1 is unreachable: silent for 6 s"
    assert happenings.of_host(away, host) == "host gpu-1 is connected"
    assert happenings.of_host(host, replace(host, cordoned=True)).startswith("host gpu-1 is cordoned")
    assert happenings.of_host(host, replace(host, connection_since_s=5.0)) == ""
    sick = replace(host, facts=replace(host.facts, docker_unavailable="Docker does not answer"))
    assert happenings.of_host(host, sick) == "host gpu-1 is failing: Docker does not answer"
    assert happenings.of_host(sick, host) == "host gpu-1 is healthy"


def test_what_is_found_is_told_with_its_gpu_and_what_follows_and_that_it_is_over() -> None:
    host = a_host("gpu-1")
    host = replace(host, facts=replace(host.facts, gpus=(Gpu("GPU-1", "A100", 81920),)))
    xid = Finding("xid-79", Health.FAILING, "it fell off the bus", gpu_uuid="GPU-1")
    hot, full = Finding("hot", Health.WARNING, "91 C", gpu_uuid="GPU-1"), Finding("disk", Health.WARNING, "2GB free")
    sick = replace(host, findings=(xid, hot, full))
    assert happenings.of_host(host, sick).split("; ") == [
        "GPU GPU-1 (A100) of gpu-1 is failing: it fell off the bus",
        "it gets nothing new, what it runs moves",
        "GPU GPU-1 (A100) of gpu-1 has a warning: 91 C",
        "host gpu-1 has a warning: 2GB free",
    ]
    assert happenings.of_host(sick, replace(sick, findings=(hot, full))) == "GPU GPU-1 (A100) of gpu-1: xid-79 is over"
    over = "GPU GPU-1 (A100) of gpu-1 is healthy again (xid-79, hot is over)"
    assert happenings.of_host(sick, replace(sick, findings=(full,))) == over
    later = replace(sick, findings=(replace(xid, since_s=9.0, reason="again"), hot, full))
    assert happenings.of_host(sick, later) == "", "it is the same one"


def test_a_gpu_that_an_admin_takes_out_and_gives_back_is_told() -> None:
    host = a_host("gpu-1")
    out = replace(host, cordoned_gpus=("GPU-1",))
    assert happenings.of_host(host, out) == "GPU GPU-1 of gpu-1 is drained: it gets nothing new"
    assert happenings.of_host(out, host) == "GPU GPU-1 of gpu-1 is not drained any more"


def test_a_replica_that_its_host_refused_says_so() -> None:
    refused = replace(QUEUED, phase=Phase.FAILED, refused=True, message="GPU-1 has 3GB free")
    assert "was refused: GPU-1 has 3GB free" in happenings.of_replica(QUEUED, refused, "")


def test_a_gateway_is_told_when_its_readiness_changes() -> None:
    gateway = Gateway("local", "h1", "127.0.0.1", 80, "example.com")
    ready = replace(gateway, ready=True)
    assert happenings.of_gateway(gateway, ready, "gpu-1") == "gateway local on gpu-1 is ready"
    told = happenings.of_gateway(ready, replace(gateway, message="port 80 is taken"), "gpu-1")
    assert told == "gateway local on gpu-1 is not ready: port 80 is taken"
    gone = replace(gateway, host_id="", message="its host was removed")
    assert happenings.of_gateway(gateway, gone, "") == "gateway local is not ready: its host was removed"
    assert happenings.of_gateway(gateway, replace(gateway, message="another word"), "gpu-1") == ""


def test_what_envoy_refuses_and_a_new_domain_are_told() -> None:
    gateway = Gateway("main", "h1", "127.0.0.1", 80, "new.example", ready=True)
    refused = replace(gateway, refused="bad field")
    sentence = "gateway main on gpu-1 refused its configuration, the last good one stays: bad field"
    assert happenings.of_gateway(gateway, refused, "gpu-1") == sentence
    assert happenings.of_gateway(refused, gateway, "gpu-1") == "gateway main on gpu-1 takes its configuration again"
    both = replace(gateway, old_domain="old.example")
    sentence = "gateway main on gpu-1 serves new.example now, and old.example no more"
    assert happenings.of_gateway(both, gateway, "gpu-1") == sentence
