"""Laws of the agent's machine over generated stories: whatever happens in whatever order, these hold."""

from dataclasses import replace

from fakes.agent import assignment, container, ended, replica
from homeport_agent import events as ev
from homeport_agent import instructions as do
from homeport_agent import replica as one
from homeport_agent import transitions
from homeport_agent.machine import Machine
from homeport_agent.model import Container, History, JournalEntry, Phase, Wanted
from hypothesis import given, settings
from hypothesis import strategies as st

IDS = ("r1", "r2")
replicas = st.builds(
    replica,
    st.sampled_from(IDS),
    wanted=st.sampled_from(Wanted),
    retry=st.booleans(),
    stop_grace_s=st.sampled_from((0.0, 20.0)),
    secrets_known=st.just(True),
)
lists = st.lists(replicas, max_size=2, unique_by=lambda it: it.replica_id)
assigned = st.builds(lambda generation, found: assignment(generation, *found), st.integers(1, 6), lists)
found = st.sampled_from((None, "running", "ended", "created"))


def _container(replica_id: str, how: str | None) -> object:
    if how is None:
        return None
    if how == "created":
        return container(replica_id, is_running=False, was_started=False, ip="", host_port=0)
    return container(replica_id) if how == "running" else ended(replica_id)


ids = st.sampled_from(IDS)
work = st.one_of(
    st.builds(ev.PullProgressed, ids, st.integers(0, 9), st.integers(0, 9)),
    st.builds(ev.ImageReady, ids),
    st.builds(ev.PullFailed, ids, st.just("no"), st.booleans(), st.sampled_from((0, 3, 5))),
    st.builds(lambda it: ev.ContainerStarted(it, container(it)), ids),
    st.builds(ev.StartFailed, ids, st.just("no"), st.booleans(), st.sampled_from((0, 3, 5))),
    st.builds(ev.AdmissionAwaited, ids, st.just("not yet")),
    st.builds(ev.AdmissionRefused, ids, st.just("not here")),
    st.builds(lambda it, how: ev.ContainerSeen(it, _container(it, how)), ids, found),  # type: ignore[arg-type]
    st.builds(ev.ProbeAnswered, ids, st.integers(0, 1), st.booleans(), st.just("no")),
    st.builds(ev.ContainerStopped, ids, st.sampled_from((None, 0, 137))),
    st.builds(ev.StopFailed, ids, st.just("no")),
    st.builds(ev.ContainerRemoved, ids),
    st.builds(ev.RemoveFailed, ids, st.just("no")),
)
events = st.one_of(
    work,
    work,
    st.just(ev.TimePassed()),
    st.builds(ev.AssignmentReceived, assigned),
    st.builds(ev.EngineUnavailable, st.just("Docker does not answer")),
)
stories = st.lists(st.tuples(events, st.sampled_from((0.0, 0.5, 30.0, 700.0))), max_size=40)
starts = st.tuples(found, found).map(
    lambda hows: tuple(it for key, how in zip(IDS, hows, strict=True) if (it := _container(key, how)) is not None)
)
STARTS = (do.PullImage, do.StartContainer, do.RestartContainer, do.StartProbing)


def begun(journal: object) -> Machine:
    machine = Machine(BOOT)
    machine.handle(ev.JournalRead(journal), 0)  # type: ignore[arg-type]
    return machine


BOOT = "boot-1"
served = st.lists(st.sampled_from(IDS), unique=True).map(lambda keys: tuple(container(key) for key in sorted(keys)))
journals = st.one_of(
    st.none(),
    st.builds(
        lambda it, *rest: JournalEntry(
            it, tuple((r.replica_id, History(is_ready=True, was_ready=True)) for r in it.replicas), *rest
        ),
        assigned,
        served,
        st.sampled_from((BOOT, "boot-0")),
    ),
)


@settings(max_examples=200, deadline=None)
@given(starts, journals, stories, st.integers(0, 5))
def test_laws_of_every_story(
    containers: tuple[Container, ...], journal: object, story: list[tuple[ev.Event, float]], found_at: int
) -> None:
    machine = begun(journal)
    story = [*story[:found_at], (ev.ContainersFound(containers), 0.0), *story[found_at:]]
    now_s, generation, refused = 0.0, machine.accepted.generation if machine.accepted else 0, set[str]()
    for event, pause_s in story:
        now_s += pause_s
        told, changes = machine.observe(None), machine.changes
        orders = machine.handle(event, now_s)
        accepted = machine.accepted

        # The generation never goes back.
        assert (accepted.generation if accepted else 0) >= generation
        generation = accepted.generation if accepted else 0

        # A replica that is wanted STOP, or listed no more, never gets an instruction that starts anything.
        running = {it.replica_id for it in accepted.replicas if it.wanted is Wanted.RUN} if accepted else set()
        assert {it.replica_id for it in orders if isinstance(it, STARTS)} <= running

        # A container is removed only when it is stopped and no assignment lists it.
        for order in orders:
            if isinstance(order, do.RemoveContainer):
                held = machine.replica_of(order.replica_id)
                assert held is not None
                assert held.is_absent
                assert held.phase is Phase.STOPPED

        # Who was refused once is never begun again under its id: only its removal ends that.
        refused |= {it.replica_id for it in machine.observe(None) if it.refused}
        refused = {it for it in refused if (held := machine.replica_of(it)) is not None and held.history.refused}
        assert not {it.replica_id for it in orders if isinstance(it, STARTS)} & refused

        # Whatever the server is told differently is announced as a change.
        assert machine.observe(None) == told or machine.changes > changes

        # Once the time that it waits for has come, it does not wait for that time again: no busy loop.
        wake_s = machine.next_wake_s()
        if wake_s is not None and wake_s <= now_s:
            machine.handle(ev.TimePassed(), now_s)
            again_s = machine.next_wake_s()
            assert again_s is None or again_s > now_s


phases = st.sampled_from(Phase)


@settings(max_examples=300, deadline=None)
@given(phases, work, st.floats(0, 1e6))
def test_an_event_that_the_table_does_not_know_changes_nothing(phase: Phase, event: ev.WorkEvent, now_s: float) -> None:
    it = replace(one.begin(replica("r1"), container("r1"), History(), 0)[0], phase=phase)
    if (phase, type(event)) not in transitions.TABLE:
        assert transitions.handle(it, event, now_s) == (it, [])


@settings(max_examples=100, deadline=None)
@given(starts, journals, stories)
def test_equal_stories_give_equal_instructions(
    containers: tuple[Container, ...], journal: object, story: list[tuple[ev.Event, float]]
) -> None:
    first, second = begun(journal), begun(journal)
    story = [(ev.ContainersFound(containers), 0.0), *story]
    now_s = 0.0
    for event, pause_s in story:
        now_s += pause_s
        assert first.handle(event, now_s) == second.handle(event, now_s)
    assert first.observe(now_s) == second.observe(now_s)


def test_every_phase_has_a_way_out_to_stopped() -> None:
    reached = {Phase.STOPPED}
    while True:
        more = {phase for (phase, _), rule in transitions.TABLE.items() if reached & set(rule.to)} | reached
        if more == reached:
            break
        reached = more
    assert reached == set(Phase)
