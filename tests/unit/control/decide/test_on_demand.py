"""decide/on_demand: who is brought up, who is let go, who is tried again and when."""

from dataclasses import replace
from typing import Any

import pytest
from fakes.hosts import NOW, ask, claim, gpu, host
from homeport_control.decide.on_demand import (
    AWAY_S,
    FIRST_RETRY_S,
    LAST_RETRY_S,
    BringUp,
    Machine,
    Steps,
    Waiting,
    next_steps,
    retry_s,
)
from homeport_control.domain.fleets import Fleet, Phase, Place, Registration, Standby
from homeport_control.domain.hosts import Connection, Host, Reservation

LAB = Fleet("lab", on_demand=True, idle_duration_s=300)


def machine(name: str, phase: Phase = Phase.RELEASED, joined: Host | None = None, **standby: Any) -> Machine:
    """With two GPUs, 8 cpus and 16 GB."""
    facts = host(name, gpu(f"{name}-1"), gpu(f"{name}-2")).facts
    values: dict[str, Any] = {"idle_duration_s": 300, **standby}
    state = Standby(phase, values.pop("since_s", NOW - 10), facts, **values)
    known = Registration("lab", Place(name, 22, "ops"), host_id=joined.id if joined else "", standby=state)
    return Machine(known, state, LAB, joined)


def waits(
    name: str = "llm", *, create: bool = True, idle_s: int | None = None, says: bool = False, **asked: Any
) -> Waiting:
    return Waiting(replace(ask(**asked), run_name=name), create, idle_s, says)


def steps(
    machines: list[Machine], waiting: list[Waiting], hosts: tuple[Host, ...] = (), held: tuple[Reservation, ...] = ()
) -> Steps:
    joined = [it.host for it in machines if it.host is not None]
    return next_steps(machines, [*hosts, *joined], held, waiting, NOW)


def brought_up(found: Steps) -> list[str]:
    return [it.machine.registration.place.hostname for it in found.bring_up]


def released(found: Steps) -> list[str]:
    return [it.machine.registration.place.hostname for it in found.release]


def test_nobody_is_brought_up_while_a_connected_host_has_room() -> None:
    assert brought_up(steps([machine("a")], [waits()], (host("here"),))) == []
    assert brought_up(steps([machine("a")], [])) == []


def test_the_machine_that_fits_is_brought_up_for_a_run_that_may() -> None:
    found = steps([machine("a"), machine("b")], [waits(gpu=2)], (host("here"),))
    assert found.bring_up == (BringUp(machine("a"), "llm", 300),)
    assert brought_up(steps([machine("a")], [waits(create=False)])) == []
    assert brought_up(steps([machine("a")], [waits(gpu=3)])) == [], "it would not fit there either"


def test_as_few_as_will_do_are_brought_up() -> None:
    machines = [machine("a"), machine("b"), machine("c")]
    assert brought_up(steps(machines, [waits(gpu=1)] * 2)) == ["a"]
    assert brought_up(steps(machines, [waits(gpu=1)] * 3)) == ["a", "b"]
    coming = [machine("a", Phase.COMING), machine("b")]
    assert brought_up(steps(coming, [waits(gpu=1)] * 2)) == [], "it is on its way"
    assert brought_up(steps(coming, [waits(gpu=1)] * 3)) == ["b"]


def test_how_long_it_stays_says_the_run_or_else_the_fleet() -> None:
    for waiting, idle_s in ((waits(idle_s=60, says=True), 60), (waits(idle_s=60), 300), (waits(says=True), None)):
        assert [it.idle_duration_s for it in steps([machine("a")], [waiting]).bring_up] == [idle_s]


def test_the_host_with_the_data_of_a_volume_is_brought_up_and_no_other() -> None:
    gone = replace(host("b", gpu("b-1")), connection=Connection.RELEASED)
    machines = [machine("a"), machine("b", joined=gone)]
    waiting = Waiting(replace(ask(), volumes=("models",)), True, None, False)
    found = next_steps(machines, [gone], (), [waiting], NOW, {"models": gone.id})
    assert brought_up(found) == ["b"]


def test_after_a_failure_it_waits_and_another_one_is_taken() -> None:
    machines = [machine("a", retry_at_s=NOW + 7, failures=1), machine("b")]
    assert brought_up(steps(machines, [waits()])) == ["b"]
    alone = steps(machines[:1], [waits()])
    assert (alone.bring_up, alone.wake_at_s) == ((), NOW + 7)
    assert steps(machines[:1], []).wake_at_s is None, "nobody waits for it"


def test_a_cordoned_host_is_not_brought_up() -> None:
    drained = replace(host("a"), connection=Connection.RELEASED, cordoned=True)
    assert brought_up(steps([machine("a", joined=drained)], [waits()])) == []


@pytest.mark.parametrize(("away_s", "expected"), [(AWAY_S - 1, []), (AWAY_S, ["a"])])
def test_a_host_that_went_away_while_it_was_up_is_brought_up_anew(away_s: float, expected: list[str]) -> None:
    away = replace(host("a"), connection=Connection.UNREACHABLE, connection_since_s=NOW - away_s)
    assert brought_up(steps([machine("a", Phase.UP, away)], [waits()])) == expected


def test_one_that_is_brought_up_anew_is_not_let_go_in_the_same_turn() -> None:
    gone = replace(host("a", gpu("a-1")), connection=Connection.UNREACHABLE, connection_since_s=NOW - AWAY_S)
    found = steps([machine("a", Phase.UP, gone, since_s=NOW - 301)], [waits()])
    assert (brought_up(found), released(found)) == (["a"], [])


def test_one_is_let_go_when_nothing_has_run_on_it_for_long_enough() -> None:
    here = host("a")
    up = machine("a", Phase.UP, here, since_s=NOW - 300)
    assert released(steps([up], [])) == ["a"]
    assert steps([machine("a", Phase.UP, here, since_s=NOW - 299)], []).wake_at_s == NOW + 1
    assert steps([replace(up, emptied_at_s=NOW - 100)], []).wake_at_s == NOW + 200
    assert steps([machine("a", Phase.UP, here, since_s=NOW - 9e6, idle_duration_s=None)], []) == Steps((), (), (), None)
    assert released(steps([machine("a", Phase.UP, here, since_s=NOW, idle_duration_s=0)], [])) == ["a"]


def test_one_with_a_replica_a_gateway_or_somebody_who_waits_for_it_stays() -> None:
    here = host("a")
    up = machine("a", Phase.UP, here, since_s=NOW - 1000)
    assert released(steps([up], [], held=(claim("a"),))) == []
    assert released(steps([up], [waits()])) == [], "placement is about to use it"
    assert released(steps([replace(up, is_gateway=True)], [])) == []
    failed = machine("a", Phase.UP, here, since_s=NOW - 1000, retry_at_s=NOW + 5)
    assert (released(steps([failed], [])), steps([failed], []).wake_at_s) == ([], NOW + 5)


def test_one_that_comes_by_itself_is_up() -> None:
    here = machine("a", joined=host("a"))
    assert steps([here], []).came == (here,)
    gone = machine("a", joined=replace(host("a"), connection=Connection.RELEASED))
    assert steps([gone], []).came == ()


def test_each_failure_doubles_the_time_until_the_next_try_up_to_a_bound() -> None:
    assert [retry_s(n) for n in (1, 2, 3)] == [FIRST_RETRY_S, 2 * FIRST_RETRY_S, 4 * FIRST_RETRY_S]
    assert retry_s(1000) == LAST_RETRY_S
