"""Auto-scaling: each second, and at once when a request begins to be held, the load of each run that has a range of replicas
against its rule. Only another number is written, with its event; the runs loop acts on that.

What was measured and how long it has been so is kept in this process: after a restart nothing is known, so all is held. Does
not cover the decision (decide/autoscale.py) nor what a file means (decide/scaling.py).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from homeport_control.decide.autoscale import Decision, Memory, decide
from homeport_control.decide.progress import plural
from homeport_control.decide.scaling import count_of, is_proven, is_rolling, rule_of, standing_of, waiting_text
from homeport_control.domain.scaling import LoadSample, Scale, ScaledRun, ScalingRule
from homeport_control.loops.loop import Turn
from homeport_control.spec.ranges import Range
from homeport_control.spec.service import spec_from_json
from homeport_control.store import runs, scaling
from homeport_control.store.connect import Database

INTERVAL_S = 1.0  # between two looks: gateways report so often
LEAST_INTERVAL_S = 0.05  # when requests begin to be held one after the other

ReadLoad = Callable[[str, float, float], tuple[LoadSample, ...] | None]  # of a service, now, over so many seconds


@dataclass(frozen=True, slots=True)
class _Kept:
    """Of one run between two turns."""

    rule: ScalingRule
    memory: Memory
    sentence: str


class AutoscaleLoop:
    """`poke` is a callback: a request has begun to be held."""

    topics = ("runs", "held")

    def __init__(self, database: Database, read_load: ReadLoad) -> None:
        self._database = database
        self._read_load = read_load
        self._rules: dict[tuple[str, int], ScalingRule | None] = {}  # by run and revision; None: it has one number
        self._kept: dict[str, _Kept] = {}
        self._looked_at_s = 0.0
        self._is_poked = False
        self._last = Turn("has not turned yet")

    def poke(self) -> None:
        self._is_poked = True
        self._database.changes.publish({"held"})

    def said(self, run_id: str) -> str:
        """The last verdict on a run, in a sentence; empty: there is none."""
        kept = self._kept.get(run_id)
        return kept.sentence if kept is not None else ""

    async def turn(self, now_s: float) -> Turn:
        """Any change of any run wakes it, and a look a second is enough for those."""
        due_at_s = self._looked_at_s + (LEAST_INTERVAL_S if self._is_poked else INTERVAL_S)
        if self._looked_at_s <= now_s < due_at_s:  # a clock that was set back does not stop it
            return replace(self._last, wake_at_s=due_at_s)
        self._is_poked, self._looked_at_s = False, now_s
        async with self._database.read() as connection:
            found = await scaling.list_wanted(connection)
            news = [(run.id, run.revision) for run in found if (run.id, run.revision) not in self._rules]
            texts = await scaling.specs(connection, news)
        self._rules |= {which: rule_of(spec_from_json(text)) for which, text in texts.items()}
        self._forget(found)
        scaled, wakes = [], [now_s + INTERVAL_S]
        for run in found:
            rule = self._rules.get((run.id, run.revision))
            if rule is None:
                continue
            decided = self._decide(run, rule, now_s)
            if _is_news(run, rule, decided):
                scaled.append(await self._scale(run.id, rule, now_s))
            else:
                self._keep(run, rule, decided)
            if decided.wake_at_s is not None:
                wakes.append(max(decided.wake_at_s, now_s + LEAST_INTERVAL_S))
        sentence = "; ".join(filter(None, scaled)) or f"{plural(len(self._kept), 'run')} with a range of replicas"
        self._last = Turn(sentence, min(wakes) if self._kept else None)
        return self._last

    def _decide(self, run: ScaledRun, rule: ScalingRule, now_s: float) -> Decision:
        kept = self._kept.get(run.id)
        memory = kept.memory if kept is not None and kept.rule == rule else Memory()
        samples = self._read_load(run.name, now_s, rule.window_s)
        # A revision that has not shown yet that it works is not put to sleep.
        held_to = rule if is_proven(run) else replace(rule, min=max(rule.min, 1))
        return decide(held_to, samples, standing_of(run, _count(run, rule)), memory, now_s)

    async def _scale(self, run_id: str, rule: ScalingRule, now_s: float) -> str:
        """Decide again on what is there in the transaction that writes it. A sentence; empty: it is another run by now."""
        async with self._database.write() as write:
            found = await scaling.list_wanted(write.connection, run_id)
            if not found or self._rules.get((run_id, found[0].revision)) != rule:
                return ""
            run = found[0]
            decided = self._decide(run, rule, now_s)
            told = ""
            if isinstance(decided.verdict, Scale) and _is_news(run, rule, decided):
                to = decided.verdict.to
                if is_rolling(run):  # what is made of it is part of that story
                    write.cause_id = run.cause_id
                told = f"from {_count(run, rule)} to {plural(to, 'replica')}: {decided.verdict.because}"
                await runs.scale(write, run_id, to, told)
        self._keep(run, rule, decided)
        return f"{run.name} is scaled {told}" if told else ""

    def _keep(self, run: ScaledRun, rule: ScalingRule, decided: Decision) -> None:
        self._kept[run.id] = _Kept(rule, decided.memory, f"{decided.verdict.because}{waiting_text(run)}")

    def _forget(self, found: Iterable[ScaledRun]) -> None:
        """What is not there any more, and what has one number now."""
        there = {(run.id, run.revision) for run in found}
        self._rules = {which: rule for which, rule in self._rules.items() if which in there}
        ranged = {run_id for (run_id, _), rule in self._rules.items() if rule is not None}
        self._kept = {run_id: kept for run_id, kept in self._kept.items() if run_id in ranged}


def _count(run: ScaledRun, rule: ScalingRule) -> int:
    return count_of(Range(rule.min, rule.max), run.scaled_to)


def _is_news(run: ScaledRun, rule: ScalingRule, decided: Decision) -> bool:
    return isinstance(decided.verdict, Scale) and decided.verdict.to != _count(run, rule)
