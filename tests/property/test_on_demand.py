"""The laws of decide/on_demand over random fleets: nothing that runs loses its host, nobody is brought up without need."""

from dataclasses import replace

from fakes.hosts import NOW, ask, claim, gpu, host
from homeport_control.decide.on_demand import Machine, Steps, Waiting, next_steps
from homeport_control.domain.fleets import Fleet, Phase, Place, Registration, Standby
from homeport_control.domain.hosts import Connection, Host, Reservation
from hypothesis import given
from hypothesis import strategies as st

LAB = Fleet("lab", on_demand=True, idle_duration_s=60)


@st.composite
def machines(draw: st.DrawFn) -> list[Machine]:
    found = []
    for number in range(draw(st.integers(0, 5))):
        name = f"m{number}"
        connection = draw(st.sampled_from(list(Connection)))
        made = host(name, *(gpu(f"{name}-{n}") for n in range(draw(st.integers(0, 2)))))
        made = replace(made, connection=connection, cordoned=draw(st.booleans()), connection_since_s=NOW - 100)
        joined = made if draw(st.booleans()) else None
        state = Standby(
            draw(st.sampled_from(list(Phase))),
            NOW - draw(st.sampled_from([0.0, 59.0, 600.0])),
            made.facts,
            idle_duration_s=draw(st.sampled_from([None, 0, 60])),
            retry_at_s=draw(st.sampled_from([0.0, NOW + 9])),
        )
        known = Registration("lab", Place(name, 22, "ops"), host_id=joined.id if joined else "", standby=state)
        found.append(Machine(known, state, LAB, joined, draw(st.sampled_from([0.0, NOW - 5]))))
    return found


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Machine], list[Host], list[Reservation], list[Waiting]]:
    here = draw(machines())
    hosts = [it.host for it in here if it.host is not None]
    held = [claim(it.name) for it in hosts if draw(st.booleans())]
    waiting = [
        Waiting(
            replace(ask(gpu=draw(st.sampled_from([None, 1, 2]))), replica_id=f"w{n}"), draw(st.booleans()), 60, True
        )
        for n in range(draw(st.integers(0, 4)))
    ]
    return here, hosts, held, waiting


def decided(scene: tuple[list[Machine], list[Host], list[Reservation], list[Waiting]]) -> Steps:
    here, hosts, held, waiting = scene
    return next_steps(here, hosts, held, waiting, NOW)


@given(scenes())
def test_what_something_runs_on_is_not_let_go_and_only_what_is_up_is(
    scene: tuple[list[Machine], list[Host], list[Reservation], list[Waiting]],
) -> None:
    held = {it.host_id for it in scene[2]}
    for it in decided(scene).release:
        assert it.machine.standby.phase is Phase.UP
        assert it.machine.id not in held
        assert it.machine.standby.idle_duration_s is not None


@given(scenes())
def test_nobody_is_brought_up_twice_without_need_or_before_its_time(
    scene: tuple[list[Machine], list[Host], list[Reservation], list[Waiting]],
) -> None:
    steps = decided(scene)
    ids = [it.machine.id for it in steps.bring_up]
    assert len(ids) == len(set(ids)) <= sum(it.may_bring_up for it in scene[3])
    for it in steps.bring_up:
        assert it.machine.standby.retry_at_s <= NOW
        assert not it.machine.is_connected
        assert it.machine.host is None or not it.machine.host.cordoned
        assert it.machine.standby.phase in {Phase.RELEASED, Phase.UP}
    assert not set(ids) & {it.machine.id for it in steps.release}


@given(scenes())
def test_equal_input_gives_equal_steps_in_whatever_order_it_comes(
    scene: tuple[list[Machine], list[Host], list[Reservation], list[Waiting]],
) -> None:
    here, hosts, held, waiting = scene
    steps = decided(scene)
    again = next_steps(here[::-1], hosts[::-1], held[::-1], waiting, NOW)
    assert {it.machine.id for it in again.bring_up} == {it.machine.id for it in steps.bring_up}
    assert {it.machine.id for it in again.release} == {it.machine.id for it in steps.release}
    assert again.wake_at_s == steps.wake_at_s
