"""The laws of decide/rollout, held over random histories of one simulated run.

The world carries every action out as the loops do, and between turns lets hosts, agents, gateways and the user do
what they can do: place, advance, fail, vanish, return, acknowledge, apply, scale, stop.
"""

from dataclasses import replace
from itertools import count

from homeport_control.decide.actions import (
    CreateReplica,
    DrainReplica,
    EndReplica,
    FinishRun,
    GiveUpRevision,
    Goal,
    Step,
    StopReplica,
)
from homeport_control.decide.replicas import is_live, is_serving
from homeport_control.decide.rollout import step
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import RunState, RunWanted
from hypothesis import given, settings
from hypothesis import strategies as st

FORWARD = {
    Phase.QUEUED: Phase.PULLING,
    Phase.WAITING: Phase.PULLING,
    Phase.PULLING: Phase.STARTING,
    Phase.STARTING: Phase.PROBING,
    Phase.PROBING: Phase.READY,
    Phase.UNREADY: Phase.READY,
    Phase.FAILED: Phase.FAILED,
    Phase.READY: Phase.READY,
}
TURNS = 400  # far more than any history of these sizes needs to settle


class World:
    def __init__(self, goal: Goal) -> None:
        self.goal = goal
        self.good = [goal.revision]
        self.newest = goal.revision
        self.replicas: dict[str, Replica] = {}
        self.now_s = 1000.0
        self.names = count()
        self.sick: set[str] = set()  # stand on what is barred
        self.ever_sick: set[str] = set()
        self.has_room = True  # where they do not
        self.is_full = False  # there is room for as many as are wanted, and for none beside them

    # What the loops do.

    def turn(self) -> Step:
        self.note_sick()
        before = tuple(self.replicas.values())
        decided = step(self.goal, before, self.now_s)
        assert decided == step(self.goal, tuple(reversed(before)), self.now_s), "equal input, equal plan"
        self.check(decided, before)
        for action in decided.actions:
            self.carry_out(action)
        return decided

    def check(self, decided: Step, before: tuple[Replica, ...]) -> None:
        known = {replica.id: replica for replica in before}
        touched = [
            action.replica_id
            for action in decided.actions
            if isinstance(action, DrainReplica | StopReplica | EndReplica)
        ]
        assert len(touched) == len(set(touched)), "one action for each replica and turn"
        for replica_id in touched:
            assert known[replica_id].ended_at_s is None, "nothing happens to what has ended"
        creates = [action for action in decided.actions if isinstance(action, CreateReplica)]
        running = self.goal.wanted is RunWanted.RUN and self.goal.finished is None
        assert running or not creates, "nothing is created for a run that stops"
        live = [replica for replica in before if is_live(replica)]
        stays = [replica for replica in live if replica.id not in self.goal.displaced]
        leaving = set(touched)
        after = [replica for replica in live if replica.id not in leaving]
        if creates:
            staying = [replica for replica in stays if replica.id not in leaving]
            assert len(staying) + len(creates) <= self.goal.count + self.goal.surge
            indexes = [r.index for r in staying if r.revision == self.goal.revision] + [c.index for c in creates]
            assert len(set(indexes)) == len(indexes), "an index has one live replica of the revision"
        if running and not any(isinstance(action, FinishRun) for action in decided.actions):
            serving, still = sum(map(is_serving, live)), sum(map(is_serving, after))
            failing = decided.state is RunState.TERMINATING
            was_old = [it for it in live if it.id in leaving and it.revision != self.goal.revision]
            least = self.goal.count - (self.goal.max_unavailable if was_old else 0)
            assert failing or still == serving or still >= least, "invariant 4"

    def carry_out(self, action: object) -> None:
        match action:
            case CreateReplica(index, revision, _):
                name = f"r{next(self.names)}"
                self.replicas[name] = Replica(name, "run", index, revision, Wanted.RUN, self.now_s)
            case DrainReplica(replica_id, _):
                self.set(replica_id, wanted=Wanted.DRAIN, drain_started_at_s=self.now_s, in_rotation=False)
            case StopReplica(replica_id, grace_s, _):
                self.set(replica_id, wanted=Wanted.STOP, stop_grace_s=grace_s, in_rotation=False)
            case EndReplica(replica_id, _):
                self.set(replica_id, ended_at_s=self.now_s, in_rotation=False)
            case GiveUpRevision(revision, _, _):
                self.good.remove(revision)
                self.revise()
            case FinishRun(state, _, _):
                self.goal = replace(self.goal, finished=state)

    def displace(self, replica_id: str, is_sick: bool) -> None:
        """What it stands on is barred, or well again; the caller tells only of those that are there."""
        self.sick = {it for it in self.sick if it != replica_id} | ({replica_id} if is_sick else set())
        self.ever_sick |= self.sick
        self.note_sick()

    def note_sick(self) -> None:
        wish = {it.id: "must leave" for it in self.left() if it.id in self.sick and it.wanted is Wanted.RUN}
        self.goal = replace(self.goal, displaced=wish)

    def set(self, replica_id: str, **values: object) -> None:
        self.replicas[replica_id] = replace(self.replicas[replica_id], **values)  # type: ignore[arg-type]

    def revise(self) -> None:
        fallback = self.good[-2] if len(self.good) > 1 else None
        self.goal = replace(self.goal, revision=self.good[-1], fallback_revision=fallback)

    # What the world does.

    def advance(self, replica: Replica) -> None:
        """The agent, the host and the gateway do the next thing that they would do by themselves."""
        if replica.ended_at_s is not None or replica.lost:
            return
        if replica.host_id is None:
            held = sum(it.host_id is not None for it in self.left())
            if replica.wanted is Wanted.RUN and self.has_room and not (self.is_full and held >= self.goal.count):
                self.set(replica.id, host_id="host")
            elif replica.wanted is Wanted.RUN:
                self.set(replica.id, message="no host has room")
        elif replica.wanted is Wanted.STOP:
            self.set(replica.id, phase=Phase.STOPPED)
        elif replica.wanted is Wanted.DRAIN:
            self.set(replica.id, drained_at_s=self.now_s)
        elif replica.phase is Phase.READY:
            self.set(replica.id, in_rotation=True)
            since_s = self.goal.running_since_s or self.now_s
            self.goal = replace(self.goal, ever_published=True, running_since_s=since_s)
        elif replica.phase in FORWARD:
            phase = FORWARD[replica.phase]
            first_s = replica.first_ready_at_s or (self.now_s if phase is Phase.READY else None)
            self.set(replica.id, phase=phase, first_ready_at_s=first_s)

    def disturb(self, replica: Replica, what: str) -> None:
        if replica.ended_at_s is not None or replica.host_id is None:
            return
        if what == "fail" and replica.wanted is not Wanted.STOP:
            self.set(replica.id, phase=Phase.FAILED, message="exited with code 1", in_rotation=False)
        elif what == "unready" and replica.phase is Phase.READY:
            self.set(replica.id, phase=Phase.UNREADY, in_rotation=False)
        elif what == "refuse" and replica.wanted is not Wanted.STOP:
            self.set(replica.id, phase=Phase.FAILED, message="no room", in_rotation=False, refused=True)
        elif what == "sicken":
            self.displace(replica.id, True)
        elif what == "heal":
            self.displace(replica.id, False)
        elif what == "lose":
            self.set(replica.id, lost=True)
        elif what == "return":
            self.set(replica.id, lost=False)

    def apply(self) -> None:
        self.newest += 1
        self.good.append(self.newest)
        self.revise()

    def settle(self) -> Step:
        """Everybody does what they should until nothing changes any more."""
        decided = self.turn()
        for _ in range(TURNS):
            before = dict(self.replicas), self.goal
            for replica in tuple(self.replicas.values()):
                self.advance(replica)
            decided = self.turn()
            if not decided.actions and before == (self.replicas, self.goal):
                if decided.wake_at_s is None or decided.wake_at_s > self.now_s + 10_000:
                    return decided
                self.now_s = decided.wake_at_s
        raise AssertionError(f"does not settle: {decided}")

    def left(self) -> list[Replica]:
        return [replica for replica in self.replicas.values() if replica.ended_at_s is None]


EVENTS = st.one_of(
    st.tuples(st.just("advance"), st.integers(0, 30)),
    st.tuples(st.just("advance"), st.integers(0, 30)),
    st.tuples(st.just("everyone"), st.just(0)),
    st.tuples(
        st.sampled_from(["fail", "unready", "lose", "return", "refuse", "sicken", "sicken", "heal"]), st.integers(0, 30)
    ),
    st.tuples(st.just("apply"), st.just(0)),
    st.tuples(st.just("scale"), st.integers(0, 4)),
    st.tuples(st.just("busy"), st.integers(0, 30)),
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 40])),
)
STEADY = st.one_of(
    st.tuples(st.just("advance"), st.integers(0, 30)),
    st.tuples(st.just("everyone"), st.just(0)),
    st.tuples(st.just("apply"), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 40])),
)
# max_surge, max_unavailable, min_ready_s; never 0 and 0
WORDS = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 5.0, 60.0])).filter(
    lambda it: it[:2] != (0, 0)
)


def goal(**values: object) -> Goal:
    defaults: dict[str, object] = {
        "run_name": "hello",
        "wanted": RunWanted.RUN,
        "revision": 1,
        "count": 2,
        "stop_duration_s": 30.0,
    }
    return Goal(**(defaults | values))  # type: ignore[arg-type]


def play(world: World, events: list[tuple[str, int]]) -> None:
    for what, number in events:
        alive = world.left()
        match what:
            case "apply":
                world.apply()
            case "scale":
                world.goal = replace(world.goal, count=number)
            case "busy":
                in_flight = {it.id: (number + at) % 3 for at, it in enumerate(alive)}
                world.goal = replace(world.goal, in_flight=in_flight, warned={it.id for it in alive[number % 7 :]})
            case "wait":
                world.now_s += number
            case "everyone":
                for replica in alive:
                    world.advance(replica)
            case "advance" if alive:
                world.advance(alive[number % len(alive)])
            case _ if alive:
                world.disturb(alive[number % len(alive)], what)
        world.turn()


def told(words: tuple[int, int, float]) -> dict[str, object]:
    return dict(zip(("surge", "max_unavailable", "min_ready_s"), words, strict=True))


@given(st.integers(1, 3), st.booleans(), st.just((1, 0, 0.0)) | WORDS, st.lists(EVENTS, max_size=50))
@settings(max_examples=400, deadline=None)
def test_whatever_happened_a_run_that_is_left_alone_serves_its_count_of_the_newest_good_revision(
    replicas: int, retry: bool, words: tuple[int, int, float], events: list[tuple[str, int]]
) -> None:
    world = World(goal(count=replicas, retry=retry, **told(words)))
    play(world, events)
    decided = world.settle()
    if world.goal.finished is not None:
        assert not [replica for replica in world.left() if not replica.lost]
        return
    serving = [replica for replica in world.left() if is_serving(replica)]
    assert [replica.revision for replica in serving] == [world.good[-1]] * world.goal.count
    assert not [replica for replica in world.left() if not is_serving(replica) and not replica.lost]
    assert not [replica for replica in world.left() if replica.id in world.sick and not replica.lost]
    assert decided.state is RunState.RUNNING


@given(st.integers(1, 3), st.lists(EVENTS, max_size=40), st.sampled_from([RunWanted.STOP, RunWanted.ABORT]))
@settings(max_examples=200, deadline=None)
def test_a_stop_always_finishes_and_leaves_only_what_cannot_be_reached(
    replicas: int, events: list[tuple[str, int]], wanted: RunWanted
) -> None:
    world = World(goal(count=replicas))
    play(world, events)
    world.goal = replace(world.goal, wanted=wanted)
    world.settle()
    assert world.goal.finished is not None
    assert all(replica.lost and replica.wanted is Wanted.STOP for replica in world.left())
    for replica in world.left():
        world.disturb(replica, "return")
    world.settle()
    assert not world.left(), "what returns is cleared away"


@given(st.integers(1, 4), st.lists(STEADY, max_size=60))
@settings(max_examples=200, deadline=None)
def test_updates_of_a_healthy_run_never_take_it_below_its_count(replicas: int, events: list[tuple[str, int]]) -> None:
    world = World(goal(count=replicas))
    world.settle()
    for event in events:
        play(world, [event])
        assert sum(is_serving(replica) for replica in world.left()) >= replicas
        assert sum(is_live(replica) for replica in world.left()) <= replicas + 1
    world.settle()


@given(st.integers(1, 4), WORDS, st.lists(STEADY | st.tuples(st.just("scale"), st.integers(1, 5)), max_size=60))
@settings(max_examples=300, deadline=None)
def test_applies_and_changes_of_the_count_in_quick_succession_keep_to_the_file_and_the_last_one_wins(
    replicas: int, words: tuple[int, int, float], events: list[tuple[str, int]]
) -> None:
    world = World(goal(count=replicas, **told(words)))
    world.settle()
    _, max_unavailable, _ = words
    floor = replicas  # what served and is not more than what is wanted, less what the file allows
    for event in events:
        play(world, [event])
        serving = sum(is_serving(replica) for replica in world.left())
        floor = min(floor, world.goal.count)
        assert serving >= floor - max_unavailable
        floor = max(floor, min(serving, world.goal.count))
    world.settle()
    serving_revisions = [replica.revision for replica in world.left() if is_serving(replica)]
    assert serving_revisions == [world.newest] * world.goal.count
    assert len(world.left()) == world.goal.count


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_without_room_an_update_waits_unless_the_file_lets_old_ones_go_first(
    replicas: int, surge: int, max_unavailable: int, applies: int
) -> None:
    for allowed in (0, max_unavailable):
        world = World(goal(count=replicas, surge=surge, max_unavailable=allowed))
        world.settle()
        world.is_full = True
        for _ in range(applies):
            world.apply()
        decided = world.settle()
        serving = [replica.revision for replica in world.left() if is_serving(replica)]
        assert serving == [world.newest if allowed else 1] * replicas
        assert ("max_unavailable: 1" in decided.reason) == (not allowed and applies > 0)


@given(st.integers(1, 3), st.lists(EVENTS, max_size=40))
@settings(max_examples=100, deadline=None)
def test_a_deadline_ends_a_run_in_a_word_of_its_own(replicas: int, events: list[tuple[str, int]]) -> None:
    world = World(goal(count=replicas, max_duration_s=500.0))
    play(world, events)
    if world.goal.running_since_s is None or world.goal.finished is not None:
        return
    world.now_s = world.goal.running_since_s + 500.0
    decided = step(world.goal, tuple(world.replicas.values()), world.now_s)
    assert decided.reason.startswith("max_duration_exceeded")
    world.settle()
    assert world.goal.finished is RunState.TERMINATED


SCALING = st.one_of(
    STEADY,
    st.tuples(st.just("scale"), st.integers(0, 4)),
    st.tuples(st.just("busy"), st.integers(0, 30)),
    st.tuples(st.just("room"), st.booleans().map(int)),
)


@given(st.lists(SCALING, max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_healthy_run_that_is_scaled_and_updated_never_serves_less_than_it_did_or_than_is_wanted(
    events: list[tuple[str, int]],
) -> None:
    world = World(goal(count=1))
    world.settle()
    for what, number in events:
        before = sum(is_serving(replica) for replica in world.left())
        if what == "room":
            world.has_room = bool(number)
        else:
            play(world, [(what, number)])
        serving = sum(is_serving(replica) for replica in world.left())
        assert serving >= min(before, world.goal.count), "a wish that no host can carry keeps what there is"
        assert world.goal.finished is None
        assert len(world.good) == world.newest, "no revision is given up"
    world.has_room = True
    assert world.settle().state is RunState.RUNNING
    assert [is_serving(replica) for replica in world.left()] == [True] * world.goal.count


@given(
    st.lists(
        st.tuples(st.sampled_from(["queued", "starting", "unready", "serving"]), st.integers(0, 3), st.integers(0, 2)),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 8),
)
@settings(max_examples=200, deadline=None)
def test_fewer_are_wanted_those_that_are_not_ready_go_first_then_the_least_busy(
    there: list[tuple[str, int, int]], wanted: int
) -> None:
    world, in_flight = World(goal(count=wanted)), {}
    for index, (how, busy, host) in enumerate(there):
        name = f"r{index}"
        phase = {"starting": Phase.STARTING, "unready": Phase.UNREADY, "serving": Phase.READY}.get(how, Phase.QUEUED)
        world.replicas[name] = Replica(
            name, "run", index, 1, Wanted.RUN, 1.0, host_id=None if how == "queued" else f"h{host}", phase=phase,
            in_rotation=how == "serving", first_ready_at_s=1.0 if how in {"unready", "serving"} else None,
        )  # fmt: skip
        in_flight[name] = busy if how == "serving" else 0
    world.goal = replace(world.goal, in_flight=in_flight)

    def missed(replica: Replica) -> tuple[bool, bool, bool, int]:
        return (
            is_serving(replica),
            replica.first_ready_at_s is not None,
            replica.host_id is not None,
            in_flight[replica.id],
        )

    before = dict(world.replicas)
    world.turn()
    stay = {it.id for it in world.left() if it.wanted is Wanted.RUN and it.id in before}
    assert len(stay) == min(wanted, len(before))
    gone = [missed(it) for name, it in before.items() if name not in stay]
    assert max(gone, default=(False,)) <= min((missed(before[name]) for name in stay), default=(True, True, True, 9))


SICK = st.one_of(
    STEADY,
    st.tuples(st.sampled_from(["sicken", "sicken", "heal"]), st.integers(0, 30)),
    st.tuples(st.just("refuse-new"), st.integers(0, 30)),
    st.tuples(st.just("room"), st.booleans().map(int)),
)


@given(st.integers(1, 4), st.booleans(), st.lists(SICK, max_size=60))
@settings(max_examples=300, deadline=None)
def test_sick_gpus_drains_and_refusals_never_take_a_run_below_its_count_and_all_have_moved_once_there_is_room(
    replicas: int, retry: bool, events: list[tuple[str, int]]
) -> None:
    world = World(goal(count=replicas, retry=retry))
    world.settle()
    for what, number in events:
        starting = [it for it in world.left() if it.first_ready_at_s is None and it.host_id and it.wanted is Wanted.RUN]
        if what == "room":
            world.has_room = bool(number)
        elif what != "refuse-new":
            play(world, [(what, number)])
        elif starting:
            world.disturb(starting[number % len(starting)], "refuse")
            world.turn()
        assert sum(is_serving(replica) for replica in world.left()) >= replicas
        others = [it for it in world.left() if is_live(it) and it.id not in world.ever_sick]
        assert len(others) <= replicas + world.goal.surge, "only what was sick, and healed, comes on top for a while"
    world.has_room = True
    world.settle()
    assert world.goal.finished is None, "nothing of this is a failure"
    assert sum(is_serving(replica) for replica in world.left()) == replicas
    assert not [replica for replica in world.left() if replica.id in world.sick]


@given(st.integers(1, 4), st.lists(st.integers(0, 30), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_when_all_is_well_again_before_there_was_room_those_that_served_are_still_the_ones(
    replicas: int, sick: list[int]
) -> None:
    world = World(goal(count=replicas))
    world.settle()
    served = {replica.id for replica in world.left()}
    world.has_room = False
    play(world, [("sicken", number) for number in sick])
    world.settle()
    assert {replica.id for replica in world.left() if is_serving(replica)} == served
    world.sick.clear()
    world.settle()
    assert {replica.id for replica in world.left()} == served, "only the ones in waiting have gone"
