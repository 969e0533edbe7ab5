"""The law of updates in place: what is there goes on, whatever it is doing; only another count adds or takes away."""

from dataclasses import replace

from homeport_control.decide.actions import CreateReplica, DrainReplica, EndReplica, Goal, StopReplica
from homeport_control.decide.adopt import adopted
from homeport_control.decide.rollout import Step, step
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import RunWanted
from hypothesis import given
from hypothesis import strategies as st

NOW_S = 5000.0
SAME = 3  # the revision that runs, and whose containers are those of the new one
LIVE = [phase for phase in Phase if phase not in {Phase.FAILED, Phase.STOPPED}]


@st.composite
def replicas_of_one_revision(draw: st.DrawFn) -> tuple[Replica, ...]:
    """What a run may have when no rollout is under way: one live replica for each index, and some that are leaving."""
    found = []
    for index in range(draw(st.integers(1, 5))):
        phase = draw(st.sampled_from(LIVE))
        is_placed = phase is not Phase.QUEUED or draw(st.booleans())
        was_ready = phase in {Phase.READY, Phase.UNREADY} or draw(st.booleans())
        found.append(
            Replica(
                f"live{index}",
                "run",
                index,
                SAME,
                Wanted.RUN,
                1000.0 + index,
                host_id="h1" if is_placed else None,
                phase=phase,
                first_ready_at_s=1500.0 if is_placed and was_ready else None,
                in_rotation=phase is Phase.READY and draw(st.booleans()),
            )
        )
    for index in range(draw(st.integers(0, 2))):
        leaving = draw(st.sampled_from([Wanted.DRAIN, Wanted.STOP]))
        found.append(
            Replica(
                f"leaving{index}", "run", index, draw(st.integers(1, SAME)), leaving, 900.0, host_id="h1",
                phase=Phase.READY, first_ready_at_s=950.0, drain_started_at_s=NOW_S - 1, stop_grace_s=30.0,
            )
        )  # fmt: skip
    return tuple(draw(st.permutations(found)))


def updated(found: tuple[Replica, ...], count: int) -> Step:
    """The next step after an apply that changes nothing but what is in place."""
    going = {replica.id for replica in adopted(found, SAME)}
    after = tuple(replace(one, revision=SAME + 1) if one.id in going else one for one in found)
    goal = Goal("web", RunWanted.RUN, SAME + 1, count, 300.0, ever_published=True, fallback_revision=SAME)
    return step(goal, after, NOW_S)


def touched(decided: Step) -> list[str]:
    return [
        action.replica_id for action in decided.actions if isinstance(action, DrainReplica | StopReplica | EndReplica)
    ]


@given(replicas_of_one_revision())
def test_an_update_in_place_never_creates_or_stops_a_replica(found: tuple[Replica, ...]) -> None:
    count = sum(replica.wanted is Wanted.RUN for replica in found)
    decided = updated(found, count)
    assert not [action for action in decided.actions if isinstance(action, CreateReplica)]
    assert all(name.startswith("leaving") for name in touched(decided))


@given(replicas_of_one_revision(), st.integers(1, 3))
def test_more_are_only_added(found: tuple[Replica, ...], more: int) -> None:
    count = sum(replica.wanted is Wanted.RUN for replica in found)
    decided = updated(found, count + more)
    created = [action for action in decided.actions if isinstance(action, CreateReplica)]
    assert [(action.index, action.revision) for action in created] == [(count + n, SAME + 1) for n in range(more)]
    assert all(name.startswith("leaving") for name in touched(decided))


@given(replicas_of_one_revision(), st.integers(1, 4))
def test_fewer_are_only_taken_away(found: tuple[Replica, ...], fewer: int) -> None:
    count = sum(replica.wanted is Wanted.RUN for replica in found)
    decided = updated(found, max(1, count - fewer))
    assert not [action for action in decided.actions if isinstance(action, CreateReplica)]
    assert len([name for name in touched(decided) if name.startswith("live")]) <= count - max(1, count - fewer)
