import pytest
from homeport_control.spec.reading import read
from homeport_control.spec.rollout import Rollout


def test_a_new_replica_serves_first_when_nothing_is_said() -> None:
    assert read(Rollout, {})[0] == Rollout(max_surge=1, max_unavailable=0, min_ready_duration_s=0)


def test_the_keys_are_read() -> None:
    rollout, problems = read(Rollout, {"max_surge": 0, "max_unavailable": 2, "min_ready_duration": "1m"})
    assert (rollout, problems) == (Rollout(max_surge=0, max_unavailable=2, min_ready_duration_s=60), ())


@pytest.mark.parametrize(
    "document",
    [{"max_surge": -1}, {"max_surge": 1001}, {"max_unavailable": "half"}, {"min_ready_duration": "2h"}, {"surge": 1}],
)
def test_others_are_refused(document: dict[str, object]) -> None:
    assert read(Rollout, document)[0] is None


def test_that_nothing_may_come_or_go_is_refused_with_a_reason() -> None:
    rollout, problems = read(Rollout, {"max_surge": 0})
    assert rollout is None
    assert "cannot both be 0: no replica could come or go" in problems[0].message
    assert "max_unavailable: 1" in problems[0].hint
