"""store/events: told in the transaction of the change, found by filters, pruned by age; causes from beginning to end."""

import pytest
import sqlalchemy as sa
from fixtures.control import State, add_host, add_replica, add_run, get_replica, get_run, observe, revision, service
from homeport_control.domain.errors import Conflict
from homeport_control.domain.events import Event
from homeport_control.domain.hosts import Connection
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import RunState, RunWanted
from homeport_control.store import events, hosts, replicas, runs, tokens
from homeport_control.store.events import Filter
from homeport_control.store.tokens import TokenRecord


async def told(state: State, limit: int = 1000, **which: str) -> list[Event]:
    async with state.database.read() as connection:
        return list(await events.newest(connection, Filter(**which), limit))


async def sentences(state: State, **which: str) -> list[str]:
    return [event.sentence for event in await told(state, **which)]


async def test_a_change_and_its_event_are_both_there_or_neither(state: State) -> None:
    run_id = await add_run(state)
    before = await told(state)

    async def stop_and_fail() -> None:
        async with state.database.write() as write:
            await runs.update(write, run_id, wanted=RunWanted.STOP)
            await runs.add_revision(write, run_id, 1, revision(state, service()), 2000.0)

    with pytest.raises(Conflict):
        await stop_and_fail()
    assert await told(state) == before
    assert (await get_run(state, run_id)).wanted is RunWanted.RUN


async def test_watchers_are_woken_after_the_commit_and_only_by_what_is_told(state: State) -> None:
    await add_host(state)
    with state.database.changes.subscribe("events") as woken:
        async with state.database.write() as write:
            await hosts.update(write, "h1", {"build": "hm"})
        assert not await woken.wait(0)
        async with state.database.write() as write:
            await hosts.update(write, "h1", {"cordoned": True})
        assert await woken.wait(0)


async def test_who_applied_what_is_told_by_names_of_keys(state: State) -> None:
    run_id = await add_run(state)
    new = runs.NewRevision("{}", b"", "ann", changed=("image", "env.TOKEN"))
    async with state.database.write(actor="user ann", cause_id="c2") as write:
        await runs.add_revision(write, run_id, 2, new, 2000.0)
    event = (await told(state, kind="run"))[-1]
    assert event.sentence == "user ann applied revision 2 of hello (image, env.TOKEN changed)"
    assert (event.actor, event.cause_id, event.object_id, event.run_name) == ("user ann", "c2", run_id, "hello")
    assert (await get_run(state, run_id)).cause_id == "c2"


async def test_a_wish_is_the_runs_cause_and_a_state_is_not(state: State) -> None:
    run_id = await add_run(state)
    async with state.database.write(actor="user ann", cause_id="stop1") as write:
        await runs.update(write, run_id, wanted=RunWanted.STOP)
    async with state.database.write(cause_id="other") as write:
        await runs.update(write, run_id, state=RunState.TERMINATED, reason="stopped")
        await runs.update(write, run_id, state=RunState.TERMINATED, reason="worded anew")
        await runs.update(write, run_id, reason="worded anew again")
        await runs.give_up_revision(write, run_id, 1, "revision 1 was given up: no answer")
    assert (await sentences(state, kind="run"))[1:] == [
        "user ann stops hello", "hello is terminated: stopped", "revision 1 of hello is given up: no answer",
    ]  # fmt: skip
    assert (await get_run(state, run_id)).cause_id == "stop1"


async def test_a_replica_carries_the_cause_of_what_was_decided_about_it(state: State) -> None:
    run_id = await add_run(state)
    await add_host(state)
    async with state.database.write(cause_id="apply") as write:
        await replicas.insert(write, Replica("r1", run_id, 0, 1, Wanted.RUN, 1000.0))
    await add_replica(state, run_id, "r2", host_id="h1", index=1, cause_id="apply")
    await observe(state, "h1", "r2", Phase.READY)
    async with state.database.write(cause_id="loop") as write:
        await replicas.update(write, "r2", in_rotation=True)
        await replicas.update(write, "r2", in_rotation=True)
        await replicas.update(write, "r1", message="no host fits")
    assert (await sentences(state, cause_id="apply"))[-2:] == [
        "replica 1 of hello is ready", "replica 1 of hello is in rotation on h1",
    ]  # fmt: skip
    assert await sentences(state, cause_id="loop") == []
    async with state.database.write(cause_id="stop1") as write:
        await replicas.update(write, "r2", wanted=Wanted.STOP, stop_grace_s=3.0, in_rotation=False)
    await observe(state, "h1", "r2", Phase.STOPPED, exit_code=0)
    async with state.database.write(cause_id="later") as write:
        await replicas.end(write, "r2", 2000.0)
    assert await sentences(state, cause_id="stop1") == [
        "replica 1 of hello is told to stop on h1 within 3 s",
        "replica 1 of hello has stopped, exit code 0",
        "replica 1 of hello has ended on h1, its room is free again",
    ]
    assert (await get_replica(state, "r1")).cause_id == "apply"


async def test_what_happens_by_itself_is_a_new_cause_and_its_end_belongs_to_it(state: State) -> None:
    run_id = await add_run(state)
    await add_host(state)
    await add_replica(state, run_id, "r1", host_id="h1", cause_id="apply")
    await observe(state, "h1", "r1", Phase.READY)
    died = {"restarts": 1, "exit_code": 137, "message": "killed by signal 9 (exit code 137)"}
    await observe(state, "h1", "r1", Phase.WAITING, **died)
    cause = (await get_replica(state, "r1")).cause_id
    assert cause not in {"", "apply"}
    await observe(state, "h1", "r1", Phase.PROBING, **died)
    await observe(state, "h1", "r1", Phase.PROBING, probes_passed=1, **died)
    await observe(state, "h1", "r1", Phase.READY, **died)
    assert await sentences(state, cause_id=cause) == [
        "replica 0 of hello was killed by signal 9 (exit code 137), restart 1",
        "replica 0 of hello runs, its probes are asked",
        "replica 0 of hello is ready",
    ]


async def test_a_report_of_what_is_known_already_costs_no_statement_more(state: State) -> None:
    run_id = await add_run(state)
    await add_host(state)
    await add_replica(state, run_id, "r1", host_id="h1")
    await observe(state, "h1", "r1", Phase.PULLING)
    before, statements = await told(state), []
    listener = lambda *arguments: statements.append(arguments[2])  # noqa: E731
    sa.event.listen(state.database.engine.sync_engine, "before_cursor_execute", listener)
    await observe(state, "h1", "r1", Phase.PULLING, pulled_bytes=5)
    sa.event.remove(state.database.engine.sync_engine, "before_cursor_execute", listener)
    on_sqlite = state.database.engine.dialect.name == "sqlite"
    first, last = ("BEGIN", "COMMIT") if on_sqlite else ("SELECT pg_advisory_xact_lock", "SELECT pg_notify")
    assert [words.split("(")[0].split()[0] for words in statements[1:-1]] == ["SELECT", "UPDATE"]
    assert (statements[0].startswith(first), statements[-1].startswith(last)) == (True, True)
    assert await told(state) == before


async def test_a_host_that_goes_has_a_cause_that_its_replicas_can_have(state: State) -> None:
    await add_host(state)
    away = {"connection": Connection.UNREACHABLE, "connection_reason": "silent for 6 s"}
    async with state.database.write(cause_id="away") as write:
        await hosts.update(write, "h1", away)
        host = await hosts.get(write.connection, "h1")
    assert host is not None
    assert host.cause_id == "away"
    assert await sentences(state, cause_id="away") == ["host h1 is unreachable: silent for 6 s"]


async def test_filters_find_by_kind_by_name_by_cause_and_by_age(state: State) -> None:
    first, _ = await add_run(state, "one"), await add_run(state, "two")
    await add_host(state, "one")
    await add_replica(state, first, "r1", host_id="one")
    assert {event.kind for event in await told(state, kind="run", name="one")} == {"run", "replica"}
    assert {event.kind for event in await told(state, name="one")} == {"run", "replica", "host"}
    assert {event.name for event in await told(state, kind="replica")} == {"one/0"}
    assert {event.name for event in await told(state, kind="run")} == {"one", "two"}
    assert len(await told(state, kind="host", name="one")) == 1
    everything = await told(state)
    assert [event.id for event in everything] == sorted(event.id for event in everything)
    assert await told(state, limit=2) == everything[-2:]
    async with state.database.read() as connection:
        last = everything[-1]
        assert await events.newest(connection, Filter(since_s=last.at_s + 1), 10) == ()
        assert list(await events.later(connection, Filter(), everything[0].id, last.id - 1)) == everything[1:-1]
        assert list(await events.later(connection, Filter(), 0, last.id, limit=3)) == everything[:3]
        assert await events.last_id(connection) == last.id


async def test_a_sentence_is_one_line_of_bounded_length(state: State) -> None:
    async with state.database.write() as write:
        events.record(write, kind="server", object_id="", name="s", sentence="a\nb\x1b[31m" + "x" * 5000)
    (event,) = await told(state)
    assert event.sentence.startswith("a b [31mxxx")
    assert len(event.sentence) == events.MAX_SENTENCE


async def test_no_token_and_no_hash_is_told(state: State) -> None:
    record = TokenRecord("id1", "ci", "a" * 64, "service", ("web",), "", False, 1.0, user="ann")
    async with state.database.write(actor="user ann") as write:
        await tokens.insert(write, record)
        await tokens.revoke(write, "id1", 2.0)
        assert not await tokens.revoke(write, "id1", 3.0)
    told_of = [event.sentence for event in await told(state, kind="token")]
    assert told_of == [
        "user ann made the token ci of the role service for web, of the user ann",
        "user ann revoked the token ci of the role service for web, of the user ann",
    ]


async def test_pruning_takes_the_old_ones_a_few_at_a_time_and_ids_are_not_used_again(state: State) -> None:
    async with state.database.write() as write:
        for number in range(5):
            events.record(write, kind="server", object_id="", name="s", sentence=str(number))
        for number, event in enumerate(write.events):
            event["at_s"] = 100.0 * number
    async with state.database.write() as write:
        assert await events.prune(write, 250.0, 2) == 2
        assert await events.prune(write, 250.0, 2) == 1
        assert await events.prune(write, 1e9, 100) == 2
        events.record(write, kind="server", object_id="", name="s", sentence="new")
    (left,) = await told(state)
    assert (left.sentence, left.id) == ("new", 6)
