"""How many replicas a service should have for its load: up when it is there, down when it has been away for long.

Pure. The laws, held by tests/property/test_autoscale.py:
- Never outside the rule's range, and nothing is changed by what is not known: a missing sample is no load of zero.
- Up by the average over the window, `scale_up_delay` after the last change. At once, whatever the delay, when the last
  seconds bring twice what is ordered (Knative's panic, which lasts for a window), when requests are held, or when the range
  asks for it. Replicas that start are ordered already: the same load never orders twice.
- Down when fewer were needed all through the last `scale_down_delay`, known without a hole, and to the highest of those
  needs (Kubernetes' stabilisation).
  To zero only where the range begins there, and nothing is in flight or held.

Does not cover where samples come from (load), which replicas go (decide/replicas) or what is written (loops/autoscale).
"""

import math
from dataclasses import dataclass, replace

from homeport_control.decide.progress import plural
from homeport_control.domain.scaling import Hold, LoadSample, Metric, Scale, ScalingRule, Verdict

PANIC_FACTOR = 2.0  # so many times what the ordered replicas should carry
PANIC_SHARE = 1 / 30  # of the window, and
PANIC_LEAST_S = 2.0  # at least: one sample may be an accident of its second
STALE_S = 3.0  # a newest sample that is older says nothing about now
COVERED = 0.8  # of the window must have samples before fewer replicas are thought of
_TINY = 1e-9  # of rounding: 30 rps at 10 each are 3 replicas


@dataclass(frozen=True, slots=True)
class Standing:
    wanted: int  # ordered now
    serving: int
    starting: int  # of those that are wanted: not in rotation yet


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one service between two turns. `Memory()` is the beginning."""

    changed_at_s: float | None = None  # the last Scale
    known_since_s: float | None = None  # without a hole
    panic_until_s: float = 0.0
    needs: tuple[tuple[float, int], ...] = ()  # (when, replicas): each higher than all later ones, oldest first


@dataclass(frozen=True, slots=True)
class Decision:
    verdict: Verdict
    memory: Memory


@dataclass(frozen=True, slots=True)
class _Load:
    average: float  # over the window, in the metric's unit
    recent: float  # over the last seconds
    is_idle: bool  # nothing in flight, nothing held, now
    held: int
    is_covered: bool


def decide(
    rule: ScalingRule,
    samples: tuple[LoadSample, ...] | None,
    standing: Standing,
    memory: Memory,
    now_s: float,
) -> Decision:
    """`samples`: of the rule's window, oldest first, at most one a second; None: nothing is known.

    The caller keeps the memory of a Scale only when it was carried out.
    """
    wanted = standing.wanted
    inside = min(max(wanted, rule.min), rule.max)
    if inside != wanted:
        return _scaled(rule, memory, now_s, inside, f"{wanted} wanted, and the range is {rule.min}..{rule.max}")
    load = _load(rule, samples, now_s, is_asleep=wanted == 0)
    if load is None:
        unknown = replace(memory, known_since_s=None, needs=())
        return Decision(Hold(f"no load is known: {plural(wanted, 'replica')} as before"), unknown)
    need = _bounded(rule, _need(rule, load.average))
    memory = _remembered(rule, memory, now_s, max(need, 1) if load.held else need)
    words = _words(rule, load.average, standing)
    if wanted == 0:
        return _from_zero(rule, load, memory, now_s, need)
    urgent = _bounded(rule, _need(rule, load.recent))
    if load.recent >= PANIC_FACTOR * rule.target * wanted:
        memory = replace(memory, panic_until_s=now_s + rule.window_s)
    if now_s < memory.panic_until_s and urgent > wanted:
        carried = f"the {rule.target * wanted:g} of {plural(wanted, 'replica')}"
        because = f"{_amount(rule, load.recent)} in the last seconds are above {carried}, and came at once"
        return _scaled(rule, memory, now_s, urgent, because)
    if need > wanted:
        due_s = now_s if memory.changed_at_s is None else memory.changed_at_s + rule.scale_up_delay_s
        if now_s >= due_s:
            return _scaled(rule, memory, now_s, need, words)
        left_s = due_s - now_s
        return Decision(Hold(f"{words}; would go from {wanted} to {need} in {left_s:.0f} s"), memory)
    return _down(rule, load, memory, now_s, wanted, words)


def _from_zero(rule: ScalingRule, load: _Load, memory: Memory, now_s: float, need: int) -> Decision:
    to = max(need, _need(rule, load.recent), 1 if load.held else 0)
    if to == 0:
        return Decision(Hold("scaled to zero; the first request starts a replica"), memory)
    because = (
        f"{plural(load.held, 'request')} held" if load.held else f"{_amount(rule, load.recent)} in the last seconds"
    )
    return _scaled(rule, memory, now_s, to, f"{because}, and there is no replica")


def _down(rule: ScalingRule, load: _Load, memory: Memory, now_s: float, wanted: int, words: str) -> Decision:
    highest = memory.needs[0][1]
    if not load.is_idle:
        highest = max(highest, 1)
    if highest >= wanted and memory.needs[-1][1] >= wanted:
        return Decision(Hold(words), memory)
    since_s = max(memory.known_since_s or now_s, memory.changed_at_s or 0.0)
    ends = [since_s + rule.scale_down_delay_s, memory.panic_until_s]
    if highest >= wanted:  # the last need of that many falls out of the delay then
        last_s = next((at_s for at_s, need in reversed(memory.needs) if need >= wanted), now_s)
        ends.append(last_s + rule.scale_down_delay_s)
    due_s = max(ends)
    if now_s >= due_s and highest < wanted and load.is_covered:
        # A need is of the window before it: those of the delay's first window tell of the load before the delay.
        tells_from_s = now_s - max(rule.scale_down_delay_s - rule.window_s, 0.0)
        told = next(need for at_s, need in memory.needs if at_s >= tells_from_s)
        return _scaled(rule, memory, now_s, told if load.is_idle else max(told, 1), words)
    lower = max(memory.needs[-1][1], 0 if load.is_idle else 1)
    if lower >= wanted:
        return Decision(Hold(words), memory)
    left = f"{max(due_s - now_s, 0):.0f} s of steady low load left" if due_s > now_s else "not measured for long enough"
    return Decision(Hold(f"{words}; would go from {wanted} to {lower}, {left}"), memory)


def _scaled(rule: ScalingRule, memory: Memory, now_s: float, to: int, because: str) -> Decision:
    return Decision(Scale(_bounded(rule, to), because), replace(memory, changed_at_s=now_s))


def _bounded(rule: ScalingRule, replicas: int) -> int:
    return min(max(replicas, rule.min), rule.max)


def _load(rule: ScalingRule, samples: tuple[LoadSample, ...] | None, now_s: float, *, is_asleep: bool) -> _Load | None:
    from_s, to_s = now_s - rule.window_s, now_s + 1.0
    current = [it for it in samples or () if from_s < it.at_s <= to_s]
    if not current:
        return None
    newest = current[-1]
    if now_s - newest.at_s > STALE_S and not (is_asleep and newest.held):
        return None
    by_rps = rule.metric is Metric.RPS
    values = [it.rps for it in current] if by_rps else [float(it.in_flight + it.held) for it in current]
    since_s = newest.at_s - max(PANIC_LEAST_S, rule.window_s * PANIC_SHARE)
    recent = [value for it, value in zip(current, values, strict=True) if it.at_s > since_s]
    least = min(PANIC_LEAST_S, rule.window_s)  # the first second of a service is no window
    return _Load(
        average=sum(values) / max(len(values), least),
        recent=sum(recent) / max(len(recent), least),
        is_idle=newest.in_flight == 0 and newest.held == 0,
        held=newest.held,
        is_covered=len(current) >= COVERED * rule.window_s,
    )


def _need(rule: ScalingRule, load: float) -> int:
    return math.ceil(load / rule.target - _TINY)


def _remembered(rule: ScalingRule, memory: Memory, now_s: float, need: int) -> Memory:
    # A clock that was set back begins anew: what is remembered would be of the future.
    kept = [it for it in memory.needs if now_s - rule.scale_down_delay_s <= it[0] <= now_s and it[1] > need]
    since_s = memory.known_since_s if memory.known_since_s is not None and memory.known_since_s <= now_s else now_s
    return replace(memory, needs=(*kept, (now_s, need)), known_since_s=since_s)


def _words(rule: ScalingRule, average: float, standing: Standing) -> str:
    need = _need(rule, average)
    most = f" (the range ends at {rule.max})" if need > rule.max else ""
    coming = f", {standing.starting} to come" if standing.starting else ""
    return (
        f"{_amount(rule, average)} over {rule.window_s:g} s need {plural(need, 'replica')} of {rule.target:g} each{most}; "
        f"{standing.wanted} wanted, {standing.serving} serving{coming}"
    )


def _amount(rule: ScalingRule, load: float) -> str:
    number = f"{load:.3g}" if load < 1000 else f"{load:.0f}"
    return f"{number} rps" if rule.metric is Metric.RPS else f"{number} requests in flight"
