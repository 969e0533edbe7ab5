"""decide/scaling: what a file's range means, and what of a run the autoscaler is told."""

from dataclasses import replace
from typing import Any

import pytest
from fixtures.control import service
from homeport_control.decide.autoscale import Standing
from homeport_control.decide.replicas import WAITING_FOR_HOST
from homeport_control.decide.scaling import (
    count_after_apply,
    count_of,
    how_scaled,
    is_proven,
    is_rolling,
    rule_of,
    standing_of,
    waiting_text,
)
from homeport_control.domain.replicas import Phase
from homeport_control.domain.scaling import Alike, Metric, ScaledRun, ScalingRule
from homeport_control.spec.document import parse
from homeport_control.spec.ranges import Range
from homeport_control.spec.service import ServiceSpec

SERVING = Alike(1, Phase.READY, in_rotation=True, lost=False, has_host=True, was_ready=True, number=2)
STARTING = replace(SERVING, phase=Phase.STARTING, in_rotation=False, was_ready=False, number=1)
WAITING = replace(STARTING, phase=Phase.QUEUED, has_host=False)


def a_spec(**fields: Any) -> ServiceSpec:
    spec = parse(service(**fields)).spec
    assert isinstance(spec, ServiceSpec)
    return spec


def a_run(*alike: Alike, revision: int = 1, proven: int | None = None) -> ScaledRun:
    return ScaledRun("run1", "web", revision, None, proven, "apply", alike)


def test_a_range_with_its_scaling_is_a_rule() -> None:
    scaling = {"metric": "concurrency", "target": 2.5, "scale_up_delay": "0s", "scale_down_delay": "5s", "window": "5s"}
    rule = rule_of(a_spec(replicas="0..4", scaling=scaling))
    assert rule == ScalingRule(Metric.CONCURRENCY, 2.5, 0, 4, 0.0, 5.0, 5.0)
    assert how_scaled(rule) == "by concurrency, target 2.5"


def test_one_number_is_no_rule_and_an_open_lower_end_is_zero() -> None:
    assert rule_of(a_spec(replicas=3)) is None
    rule = rule_of(a_spec(replicas="..3", scaling={"metric": "rps", "target": 1}))
    assert rule is not None
    assert (rule.min, rule.max) == (0, 3)


@pytest.mark.parametrize(
    ("least", "most", "scaled_to", "expected"),
    [
        (3, 3, None, 3),
        (3, 3, 7, 3),
        (0, 4, None, 1),
        (2, 4, None, 2),
        (0, 4, 0, 0),
        (1, 4, 0, 1),
        (1, 4, 3, 3),
        (1, 4, 9, 4),
    ],
)
def test_how_many_are_wanted(least: int, most: int, scaled_to: int | None, expected: int) -> None:
    assert count_of(Range(least, most), scaled_to) == expected


@pytest.mark.parametrize(
    ("least", "most", "count", "goes_on", "expected"),
    [
        (1, 4, 3, False, 3),  # it keeps what it has
        (1, 2, 3, False, 2),
        (4, 8, 3, True, 4),
        (2, 2, 3, True, 2),
        (0, 4, 0, True, 0),  # what runs is what would run: it may sleep on
        (0, 4, 0, False, 1),  # a new one shows that it works
    ],
)
def test_an_apply_keeps_the_number_as_far_as_the_range_has_it(
    least: int, most: int, count: int, goes_on: bool, expected: int
) -> None:
    assert count_after_apply(Range(least, most), count, goes_on=goes_on) == expected


def test_those_that_start_and_those_that_wait_for_a_host_are_to_come() -> None:
    assert standing_of(a_run(SERVING, STARTING, WAITING), 4) == Standing(wanted=4, serving=2, starting=2)
    gone = [replace(SERVING, lost=True), replace(STARTING, phase=Phase.FAILED), replace(STARTING, phase=Phase.STOPPED)]
    assert standing_of(a_run(SERVING, *gone), 4) == Standing(wanted=4, serving=2, starting=0)
    assert standing_of(a_run(), 1) == Standing(wanted=1, serving=0, starting=0)


def test_what_a_rollout_has_for_a_while_on_top_is_no_capacity_to_come() -> None:
    new = replace(STARTING, revision=2)
    assert standing_of(a_run(SERVING, new, revision=2), 2) == Standing(wanted=2, serving=2, starting=0)
    assert standing_of(a_run(SERVING, new, revision=2), 3) == Standing(wanted=3, serving=2, starting=1)


def test_a_revision_is_proven_by_a_replica_of_its_own_that_was_ready() -> None:
    assert is_proven(a_run(SERVING))
    assert not is_proven(a_run(STARTING))
    assert not is_proven(a_run())
    assert not is_proven(a_run(SERVING, replace(STARTING, revision=2), revision=2))
    assert is_proven(a_run(STARTING, proven=1)), "before it slept"
    assert not is_proven(a_run(STARTING, revision=2, proven=1))
    assert is_rolling(a_run(SERVING, replace(STARTING, revision=2), revision=2))
    assert not is_rolling(a_run(SERVING, STARTING))


def test_who_waits_for_a_host_is_told_with_why() -> None:
    why = "0 of 2 hosts fit: 2 need 80GB on 1 GPU, largest free 24GB"
    assert waiting_text(a_run(SERVING, STARTING)) == ""
    assert waiting_text(a_run(replace(WAITING, message=WAITING_FOR_HOST))) == "; 1 replica waits for a host"
    assert waiting_text(a_run(replace(WAITING, message=why, number=2))) == f"; 2 replicas wait for a host: {why}"
