"""What a file's `replicas` and `scaling` mean: the rule of a run, how many replicas it wants, what an apply makes of that.

Pure. Does not decide to scale (autoscale), nor how replicas come and go (rollout).
"""

from homeport_control.decide.autoscale import Standing
from homeport_control.decide.progress import plural
from homeport_control.decide.replicas import WAITING_FOR_HOST
from homeport_control.domain.replicas import Phase
from homeport_control.domain.scaling import Metric, ScaledRun, ScalingRule
from homeport_control.spec.ranges import Range
from homeport_control.spec.service import ServiceSpec


def rule_of(spec: ServiceSpec) -> ScalingRule | None:
    """None: it has one number of replicas."""
    scaling, replicas = spec.scaling, spec.replicas
    if scaling is None or replicas.max is None or replicas.is_exact:
        return None
    return ScalingRule(
        metric=Metric(scaling.metric),
        target=scaling.target,
        min=replicas.min or 0,
        max=replicas.max,
        scale_up_delay_s=scaling.scale_up_delay_s,
        scale_down_delay_s=scaling.scale_down_delay_s,
        window_s=scaling.window_s,
    )


def count_of(replicas: Range[int], scaled_to: int | None) -> int:
    """How many are wanted now: the exact number; of a range what it was scaled to, as far as the range has it.

    A new run (None) begins with its lower end, and with one even where that is 0: it is shown to work before it sleeps.
    """
    least, most = replicas.min or 0, replicas.max
    if replicas.is_exact:
        return least
    wanted = max(least, 1) if scaled_to is None else max(least, scaled_to)
    return wanted if most is None else min(wanted, most)


def count_after_apply(replicas: Range[int], count: int, *, goes_on: bool) -> int:
    """How many the new revision wants of a run that wanted `count`: as many, as far as its range has them.

    A revision whose containers are others (`goes_on` false) begins with one at least, which shows that it works.
    """
    return count_of(replicas, count if goes_on else max(count, 1))


def how_scaled(rule: ScalingRule) -> str:
    """ "by rps, target 10"."""
    return f"by {rule.metric}, target {rule.target:g}"


def standing_of(run: ScaledRun, count: int) -> Standing:
    """Of a run that wants `count`: how many serve, and how many are to come; those that wait for a host too."""
    live = [it for it in run.replicas if not it.lost and it.phase not in {Phase.FAILED, Phase.STOPPED}]
    serving = sum(it.number for it in live if it.in_rotation and it.phase is Phase.READY)
    there = sum(it.number for it in live)
    return Standing(count, serving, max(0, min(there, count) - serving))


def is_proven(run: ScaledRun) -> bool:
    """A replica of its revision has been ready, one that is there or one of before it slept: it may sleep."""
    return run.proven_revision == run.revision or any(
        it.was_ready and it.revision == run.revision for it in run.replicas
    )


def is_rolling(run: ScaledRun) -> bool:
    """Replicas of an older revision are still there."""
    return any(it.revision != run.revision for it in run.replicas)


def waiting_text(run: ScaledRun) -> str:
    """Why some of its replicas have no host: "; 2 replicas wait for a host: 0 of 3 hosts fit: …"; empty: all have one."""
    waiting = [it for it in run.replicas if not it.has_host]
    number = sum(it.number for it in waiting)
    if not number:
        return ""
    why = next((it.message for it in waiting if it.message and it.message != WAITING_FOR_HOST), "")
    return f"; {plural(number, 'replica')} {'waits' if number == 1 else 'wait'} for a host{f': {why}' if why else ''}"
