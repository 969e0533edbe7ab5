"""decide/autoscale on whole loads, beside the policy of the page: it serves more, and pays for it with bounded idleness."""

import pytest
from bench.autoscale_shapes import SHAPES, START_S, TARGET, Homeport, Outcome, ThePage, simulate


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[Outcome, Outcome]]:
    return {name: (simulate(make(), Homeport()), simulate(make(), ThePage())) for name, make in SHAPES.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_more_is_left_unserved_than_by_the_page(found: dict[str, tuple[Outcome, Outcome]], shape: str) -> None:
    ours, theirs = found[shape]
    assert ours.unserved <= theirs.unserved


def test_a_step_is_answered_within_seconds(found: dict[str, tuple[Outcome, Outcome]]) -> None:
    """What is left unserved is the start of the replicas and two seconds in which the step shows."""
    ours, theirs = found["step"]
    assert ours.unserved <= (75 - TARGET) * (START_S + 3)
    assert ours.unserved < theirs.unserved / 10


@pytest.mark.parametrize("shape", SHAPES)
def test_replicas_do_not_come_and_go_with_each_minute(found: dict[str, tuple[Outcome, Outcome]], shape: str) -> None:
    ours, theirs = found[shape]
    assert ours.changes <= theirs.changes + 2


@pytest.mark.parametrize("shape", SHAPES)
def test_the_load_before_and_after_leaves_nothing_behind(found: dict[str, tuple[Outcome, Outcome]], shape: str) -> None:
    """At most what the highest need of the last ten minutes was."""
    ours, _ = found[shape]
    for now_s in range(700, len(ours.load), 60):
        peak = max(sum(ours.load[at - 2 : at]) / 2 for at in range(max(2, now_s - 1300), now_s + 1))
        assert ours.ordered[now_s] <= max(1, -(-peak // TARGET))
