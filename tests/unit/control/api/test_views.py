"""api/views and api/convert: what `ps` and `fleet list` show, at once and after each change that can be seen."""

from dataclasses import replace

import pytest
from fixtures.control import (
    FACTS,
    GPU,
    State,
    a_host,
    add_host,
    add_replica,
    add_run,
    get_replica,
    observe,
    revision,
    service,
    until_true,
)
from fixtures.plane import Api, Plane, first
from homeport_control.api.convert import host_message, replica_state, timestamp
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import RunState
from homeport_control.store import hosts, replicas, runs
from homeport_protos.api.v1 import api_pb2

ALL = api_pb2.ListRunsRequest(all=True)


async def test_the_watch_sends_at_once_and_after_each_change(state: State, user: Api) -> None:
    run_id = await add_run(state)
    stream = user.stream("WatchRuns", api_pb2.ListRunsRequest())
    (run,) = (await first(stream)).runs
    assert (run.name, run.state, len(run.replicas)) == ("hello", "submitted", 0)
    await add_replica(state, run_id, "r1", host_id="h1")
    while not (message := await first(stream)).runs[0].replicas or not message.runs[0].replicas[0].host:
        pass
    (replica,) = message.runs[0].replicas
    assert (replica.id, replica.host, replica.state) == ("r1", "h1", "queued")
    async with state.database.write() as write:
        write.touch("runs", "replicas", "hosts")  # nothing that a reader could see
    await observe(state, "h1", "r1", Phase.PULLING, pulled_bytes=5, pull_total_bytes=10)
    (replica,) = (await first(stream)).runs[0].replicas
    assert (replica.state, replica.pulled_bytes, replica.pull_total_bytes) == ("pulling", 5, 10)
    stream.cancel()


async def test_a_watcher_that_has_gone_leaves_nothing_behind(state: State, user: Api) -> None:
    stream = user.stream("WatchRuns", api_pb2.ListRunsRequest())
    await first(stream)
    await until_true(lambda: state.database.changes._subscriptions)
    stream.cancel()
    await until_true(lambda: not state.database.changes._subscriptions)


async def test_a_run_is_published_and_rolled_out_when_what_it_wants_is_in_rotation(state: State, user: Api) -> None:
    run_id = await add_run(state, replicas=2)
    for number in range(2):
        await add_replica(state, run_id, f"r{number}", index=number, host_id="h1")

    async def shown() -> api_pb2.Run:
        return (await user("ListRuns", ALL)).runs[0]

    run = await shown()
    assert (run.published, run.rolled_out, run.replicas_wanted, run.url) == (
        False, False, 2, "http://hello.localhost:7480",
    )  # fmt: skip
    for number, expected in ((0, (True, False)), (1, (True, True))):
        async with state.database.write() as write:
            await replicas.update(write, f"r{number}", in_rotation=True)
        run = await shown()
        assert (run.published, run.rolled_out) == expected


@pytest.mark.parametrize(("auth", "is_open"), [(True, False), (False, True)])
async def test_a_run_without_auth_says_that_it_is_open(state: State, user: Api, auth: bool, is_open: bool) -> None:
    await add_run(state, auth=auth)
    assert (await user("ListRuns", ALL)).runs[0].open is is_open


async def test_a_finished_run_keeps_why_and_its_last_lines(state: State, user: Api) -> None:
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1", host_id="h1")
    await observe(state, "h1", "r1", Phase.FAILED, exit_code=3)
    async with state.database.write() as write:
        await replicas.end(write, "r1", 2000.0)
        await runs.update(
            write, run_id, state=RunState.FAILED, reason="replica 0: it exited", log_tail=["oops"], ended_at_s=2000.0
        )
    assert list((await user("ListRuns", api_pb2.ListRunsRequest())).runs) == []
    for request in (ALL, api_pb2.ListRunsRequest(names=["hello"])):
        (run,) = (await user("ListRuns", request)).runs
        assert (run.state, run.error, list(run.log_tail), run.url) == ("failed", "replica 0: it exited", ["oops"], "")
        assert [(replica.state, replica.exit_code) for replica in run.replicas] == [("failed", 3)]


async def test_a_revision_that_was_given_up_is_told_beside_the_one_that_serves(state: State, user: Api) -> None:
    run_id = await add_run(state)
    async with state.database.write() as write:
        await runs.add_revision(write, run_id, 2, revision(state, service(port=9000)), 2000.0)
        await runs.give_up_revision(write, run_id, 2, "it never answered")
    (run,) = (await user("ListRuns", ALL)).runs
    assert (run.revision, run.newest_revision, run.error) == (1, 2, "it never answered")


async def test_hosts_are_shown_with_what_they_do_and_why_not(state: State, user: Api) -> None:
    await add_host(state, "h2", connected=False)
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    found = {host.name: host for host in (await user("ListHosts", api_pb2.ListHostsRequest())).hosts}
    assert (found["h1"].state, found["h1"].connection, found["h1"].replicas) == ("busy", "connected", 1)
    assert (found["h2"].connection, found["h2"].reason) == ("unreachable", "the connection broke")
    assert (found["h1"].facts.cpus, found["h1"].health) == (8, "healthy")
    assert list((await user("ListHosts", api_pb2.ListHostsRequest(fleet="other"))).hosts) == []


async def test_the_server_says_who_asks_and_how_its_gateway_is(plane: Plane, user: Api, admin: Api) -> None:
    answer = await user("GetServer", api_pb2.GetServerRequest())
    assert (answer.role, answer.server_id, answer.gateway.name, answer.gateway.ready, answer.gateway.host) == (
        "user", "server1", "local", True, "h1",
    )  # fmt: skip
    assert answer.gateway.example_url == "http://NAME.localhost:7480"
    assert (await admin("GetServer", api_pb2.GetServerRequest())).role == "admin"


def test_a_host_whose_docker_does_not_answer_is_failing_and_says_why() -> None:
    host = replace(a_host("h1"), facts=replace(FACTS, docker_unavailable="Docker does not run", gpus=(GPU,)))
    message = host_message(host, 0, (), {})
    assert (message.health, message.reason, message.state) == ("failing", "Docker does not run", "idle")
    assert message.facts.gpus[0].uuid == "GPU-1"


BASE = Replica("r", "run", 0, 1, Wanted.RUN, 0.0, host_id="h1")


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({}, "queued"),
        ({"phase": Phase.READY}, "running"),
        ({"phase": Phase.UNREADY}, "probing"),
        ({"phase": Phase.READY, "wanted": Wanted.DRAIN}, "draining"),
        ({"phase": Phase.READY, "wanted": Wanted.STOP}, "terminating"),
        ({"phase": Phase.FAILED, "wanted": Wanted.STOP}, "failed"),
        ({"phase": Phase.FAILED, "ended_at_s": 1.0}, "failed"),
        ({"phase": Phase.READY, "ended_at_s": 1.0}, "terminated"),
    ],
)
def test_a_replica_has_one_word(changed: dict[str, object], word: str) -> None:
    assert replica_state(replace(BASE, **changed)) == word  # type: ignore[arg-type]


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_has_a_word(phase: Phase) -> None:
    assert replica_state(replace(BASE, phase=phase))


def test_times_are_exact_to_the_second_and_unset_stays_unset() -> None:
    assert timestamp(None) is None
    made = timestamp(1_700_000_000.5)
    assert made is not None
    assert (made.seconds, made.nanos) == (1_700_000_000, 500_000_000)


async def test_the_gpus_that_a_replica_holds_are_named(state: State, user: Api) -> None:
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"facts": replace(FACTS, gpus=(GPU, replace(GPU, uuid="GPU-2")))})
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    async with state.database.write() as write:
        await replicas.update(write, "r1", gpu_uuids=["GPU-2"])
    assert (await get_replica(state, "r1")).gpu_uuids == ("GPU-2",)
    (replica,) = (await user("ListRuns", ALL)).runs[0].replicas
    assert replica.gpus == "NVIDIA A100-SXM4-80GB:80GB:1"


def test_the_facts_of_a_host_are_those_that_it_said_last() -> None:
    host = replace(a_host("h1"), facts=replace(FACTS, gpus=(GPU,)))
    first = host_message(host, 0, (), {})
    assert [it.uuid for it in first.facts.gpus] == [GPU.uuid]
    first.facts.hostname = "changed by who got it"
    assert host_message(host, 0, (), {}).facts.hostname == FACTS.hostname
    assert not host_message(replace(host, facts=FACTS), 0, (), {}).facts.gpus
