"""Auto-scaling: each second, and at once when a request begins to be held, the load of each run that has a range of replicas
against its rule. Only another number is written, with its event; the runs loop acts on that.

What was measured and how long it has been so is kept in this process: after a restart nothing is known, so all is held. Does
not cover the decision (decide/autoscale.py) nor what a file means (decide/scaling.py).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from homeport_control.decide.autoscale import Decision, Memory, decide
from homeport_control.decide.progress import plural
from homeport_control.decide.scaling import count_of, is_proven, is_rolling, rule_of, standing_of, waiting_text
from homeport_control.domain.scaling import LoadSample, Scale, ScaledRun, ScalingRule
from homeport_control.loops.loop import Turn
from homeport_control.spec.ranges import Range
from homeport_control.spec.service import spec_from_json
from homeport_control.store import events, runs, scaling
from homeport_control.store.chunks import chunks
from homeport_control.store.connect import Database

INTERVAL_S = 1.0  # between two looks: gateways report so often
LEAST_INTERVAL_S = 0.05  # when requests begin to be held one after the other

AT_ONCE = 100  # runs in one transaction: others write too

log = structlog.get_logger()
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
            unread = [(run.id, run.revision) for run in found if (run.id, run.revision) not in self._rules]
            texts = await scaling.specs(connection, unread)
        self._rules |= {which: _rule(text, which[0]) for which, text in texts.items()}
        self._forget(found)
        news: list[str] = []
        for run in found:
            rule = self._rules.get((run.id, run.revision))
            decided = self._decide(run, rule, now_s) if rule is not None else None
            if rule is None or decided is None:
                continue
            if _is_news(run, rule, decided):
                news.append(run.id)
            else:
                self._keep(run, rule, decided)
        scaled = [told for some in chunks(news, AT_ONCE) for told in await self._scale(some, now_s)]
        sentence = "; ".join(scaled) or f"{plural(len(self._kept), 'run')} with a range of replicas"
        self._last = Turn(sentence, now_s + INTERVAL_S if self._kept else None)
        return self._last

    def _decide(self, run: ScaledRun, rule: ScalingRule, now_s: float) -> Decision | None:
        """None: it cannot be decided, which is logged, and the others go on."""
        try:
            return self._decided(run, rule, now_s)
        except Exception:
            log.exception("the scaling of a run could not be decided; it is tried again", run=run.name)
            return None

    def _decided(self, run: ScaledRun, rule: ScalingRule, now_s: float) -> Decision:
        kept = self._kept.get(run.id)
        memory = kept.memory if kept is not None and kept.rule == rule else Memory()
        samples = self._read_load(run.name, now_s, rule.window_s)
        # A revision that has not shown yet that it works is not put to sleep.
        held_to = rule if is_proven(run) else replace(rule, min=max(rule.min, 1))
        return decide(held_to, samples, standing_of(run, _count(run, rule)), memory, now_s)

    async def _scale(self, run_ids: list[str], now_s: float) -> list[str]:
        """Decide again on what is there in the transaction that writes it. A sentence for each that is scaled."""
        sentences, kept = [], []
        async with self._database.write() as write:
            for run in await scaling.list_wanted(write.connection, run_ids):
                rule = self._rules.get((run.id, run.revision))
                decided = self._decide(run, rule, now_s) if rule is not None else None
                if rule is None or decided is None:
                    continue  # it is of another revision by now: the next turn looks at that
                kept.append((run, rule, decided))
                if isinstance(decided.verdict, Scale) and _is_news(run, rule, decided):
                    # In a rollout, what is made of it is part of that story.
                    write.cause_id = run.cause_id if is_rolling(run) else events.new_cause()
                    before, to = _count(run, rule), decided.verdict.to
                    told = f"from {before} to {plural(to, 'replica')}: {decided.verdict.because}"
                    await runs.scale(write, run.id, to, told, proven=None if to else run.revision)
                    sentences.append(f"{run.name} is scaled {told}")
        for run, rule, decided in kept:
            self._keep(run, rule, decided)
        return sentences

    def _keep(self, run: ScaledRun, rule: ScalingRule, decided: Decision) -> None:
        self._kept[run.id] = _Kept(rule, decided.memory, f"{decided.verdict.because}{waiting_text(run)}")

    def _forget(self, found: Iterable[ScaledRun]) -> None:
        """What is not there any more, and what has one number now."""
        there = {(run.id, run.revision) for run in found}
        self._rules = {which: rule for which, rule in self._rules.items() if which in there}
        ranged = {run_id for (run_id, _), rule in self._rules.items() if rule is not None}
        self._kept = {run_id: kept for run_id, kept in self._kept.items() if run_id in ranged}


def _rule(text: str, run_id: str) -> ScalingRule | None:
    """Of a configuration; one that cannot be read does not stop the others."""
    try:
        return rule_of(spec_from_json(text))
    except Exception:
        log.exception("the configuration of a run cannot be read; it is not scaled", run_id=run_id)
        return None


def _count(run: ScaledRun, rule: ScalingRule) -> int:
    return count_of(Range(rule.min, rule.max), run.scaled_to)


def _is_news(run: ScaledRun, rule: ScalingRule, decided: Decision) -> bool:
    return isinstance(decided.verdict, Scale) and decided.verdict.to != _count(run, rule)
