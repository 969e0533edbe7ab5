"""What is wrong with GPUs and host, decided from what was seen and what is remembered. Pure: equal input, equal answer.

A finding that can be seen (throttling, a hung call) ends by itself when it is gone for long enough. One that was told
once (an XID, an ECC error, a GPU that was lost) is latched: it ends by a proof, or by `cleared`. A driver without CUDA
leaves only NVML to prove a GPU; then it must be good for longer.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Finding, Gpu, GpuReading, Severity, XidEvent
from homeport_agent.health import flaps, hosts, signs
from homeport_agent.health.model import Condition, HostLook, KnownGpu, Memory, Outcome, Sign, Trial, Verdict
from homeport_agent.health.xids import OFTEN_S, Table, meaning

LONGEST_STEP_S = 10.0  # what one look may add to a length: the agent may have been stopped, the clock may have been set
SETTLED_S = 5.0  # how long NVML's evidence must be good before a proof is tried
NVML_ALONE_S = 300.0  # and how long where CUDA cannot tell
FIRST_TRIAL_S, LONGEST_TRIAL_S = 30.0, 600.0
WARNED_S, FAULTED_S = 24 * 3600.0, 3600.0  # how long an XID's warning stays: the GPU's, a program's
SAME_XID_S = 1.0  # NVML and the kernel log tell of the same event
GAP_S = 3.0  # a break that what is not yet a finding may have: a GPU that is too hot is slowed on and off
MOST_XIDS = 64
MOST_DETAIL = 160


def look(memory: Memory, sample: GpuSample, host: HostLook, now_s: float) -> Memory:
    """After one sample."""
    step_s = min(max(now_s - memory.looked_s, 0.0), LONGEST_STEP_S) if memory.looked_s else 0.0
    there = {gpu.uuid: gpu for gpu in sample.gpus}
    known = {it.gpu.uuid: it for it in memory.gpus if not _is_over(it, there)}
    for uuid in there:
        known.setdefault(uuid, KnownGpu(there[uuid]))
    gpus = tuple(_looked(known[uuid], there.get(uuid), sample, step_s, now_s) for uuid in sorted(known))
    of_host = hosts.of_host(sample, host, sum(bool(it.gpu.name) for it in gpus))
    return replace(memory, gpus=gpus, host=_passed(memory.host, of_host, step_s, now_s), looked_s=now_s)


def _is_over(it: KnownGpu, there: dict[str, Gpu]) -> bool:
    """A MIG instance that is gone while its GPU is there was removed by somebody; a UUID without a GPU has had its say."""
    if it.gpu.uuid in there:
        return False
    return it.gpu.mig_parent in there if it.gpu.name else not (it.latched or it.conditions)


def _looked(known: KnownGpu, gpu: Gpu | None, sample: GpuSample, step_s: float, now_s: float) -> KnownGpu:
    uuid = known.gpu.uuid
    reading = next((it for it in sample.readings if it.uuid == uuid), GpuReading(uuid))
    now = tuple(_signs(known, gpu, reading, sample, now_s))
    latched, errors = list(known.latched), reading.ecc_volatile_uncorrected
    if gpu is not None:
        latched += _grown_ecc(known, reading, now_s)
        known = replace(
            known,
            gpu=gpu,
            ecc_uncorrected=known.ecc_uncorrected if errors is None else errors,
            marks=signs.marked(reading, known.marks, now_s),
        )
    conditions = _passed(known.conditions, now, step_s, now_s)
    for it in conditions:
        if it.sign.latches and it.severity is not None:
            latched.append(_finding(it, uuid))
    is_good = gpu is not None and not any(it.speaks_against for it in now)
    fresh = replace(
        known,
        is_seen=gpu is not None,
        good_s=known.good_s + step_s if is_good else 0.0,
        latched=_once(latched),
        conditions=conditions,
    )
    return _moved(fresh, now_s)


def _signs(known: KnownGpu, gpu: Gpu | None, reading: GpuReading, sample: GpuSample, now_s: float) -> Iterator[Sign]:
    trouble = next((it for it in sample.troubles if it.uuid == known.gpu.uuid), None)
    if trouble is not None:
        yield signs.of_trouble(trouble)
    if gpu is not None:
        yield from signs.of_gpu(gpu, reading, known.marks, now_s)
    elif trouble is None and known.gpu.name:  # one of which only an XID spoke was never there to be missed
        yield signs.of_driver(sample) or signs.of_absence(known, sample)


def _grown_ecc(known: KnownGpu, reading: GpuReading, now_s: float) -> Iterator[Finding]:
    before, after = known.ecc_uncorrected, reading.ecc_volatile_uncorrected
    if before is not None and after is not None and after > before:
        reason = f"{after - before} uncorrected (double-bit) memory errors, {after} since the driver was loaded"
        yield Finding("ecc-double-bit", Severity.FAILING, reason, signs.ASKS_FOR_RESET, now_s, known.gpu.uuid)


def _passed(conditions: Iterable[Condition], now: Iterable[Sign], step_s: float, now_s: float) -> tuple[Condition, ...]:
    """What holds goes on, what is gone for long enough ends, what is new begins."""
    fresh, seen = [], {it.code: it for it in now}
    for it in conditions:
        sign = seen.pop(it.sign.code, None)
        if sign is None:
            gone_s = it.gone_s + step_s
            # What latches is held by its latch: here it would be found again after a proof.
            ends_s = 0.0 if it.sign.latches else GAP_S if it.severity is None else it.sign.ends_after_s
            if gone_s < ends_s:
                fresh.append(replace(it, gone_s=gone_s))
            continue
        held = replace(it, held_s=it.held_s + step_s, gone_s=0.0)
        # The words stay as they were while it is as bad as it was: what is told again each second is read by nobody.
        fresh.append(held if held.severity is it.severity is not None else replace(held, sign=sign))
    fresh += [Condition(sign, now_s) for sign in seen.values()]
    return tuple(sorted(fresh, key=lambda it: it.sign.code))


def xid(memory: Memory, event: XidEvent, table: Table, now_s: float) -> Memory:
    """After the driver said something of a GPU."""
    code = f"xid-{event.xid}"
    what = meaning(table, event.xid, event.detail)
    detail = f" ({event.detail[:MOST_DETAIL]})" if event.detail else ""
    reason = f"XID {event.xid}: {what.title}{detail}"
    if not event.gpu_uuid:
        if what.severity is None:
            return memory
        # Whose it is nobody knows: it must not take the whole host away.
        loose = Finding(code, Severity.WARNING, reason + ", of a GPU that was never seen", what.action, now_s)
        return replace(memory, loose=_once((*memory.loose, loose)))
    known = memory.find(event.gpu_uuid) or KnownGpu(Gpu(event.gpu_uuid, "", 0, 0))
    of_late = tuple((it, at_s) for it, at_s in known.xids if 0 <= now_s - at_s < OFTEN_S)
    if not any(it == event.xid and now_s - at_s < SAME_XID_S for it, at_s in of_late):
        of_late = (*of_late, (event.xid, now_s))[-MOST_XIDS:]
    severity, kept_s = what.severity, WARNED_S if what.severity else FAULTED_S
    if what.often and sum(it == event.xid for it, _ in of_late) >= what.often_count:
        severity = what.often
        reason = f"XID {event.xid}: {what.title}, {what.often_count} times and more within {OFTEN_S / 60:.0f} min"
    known = replace(known, xids=of_late)
    if severity is Severity.FAILING:
        found = Finding(code, severity, reason, what.action, now_s, event.gpu_uuid)
        rest = tuple(it for it in known.conditions if it.sign.code != code)
        known = replace(known, latched=_once((*known.latched, found)), conditions=rest, good_s=0.0)
    elif severity is Severity.WARNING:
        sign = Sign(code, reason, what.action, severity, ends_after_s=kept_s, speaks_against=False)
        before = next((it for it in known.conditions if it.sign.code == code), Condition(sign, now_s))
        rest = tuple(it for it in known.conditions if it.sign.code != code)
        known = replace(known, conditions=(*rest, replace(before, gone_s=0.0)))
    return _with(memory, _moved(known, now_s))


def due(memory: Memory, now_s: float) -> Gpu | None:
    """The GPU that should be proved now: NVML says that it is well, and something else is still held against it."""
    for it in memory.gpus:
        wait_s = it.trial.next_s - now_s
        is_its_turn = wait_s <= 0 or wait_s > LONGEST_TRIAL_S  # a clock that was set back
        if it.latched and it.is_seen and it.good_s >= SETTLED_S and is_its_turn:
            return it.gpu
    return None


def checked(memory: Memory, uuid: str, outcome: Outcome, now_s: float) -> Memory:
    """After the check of a GPU."""
    known = memory.find(uuid)
    if known is None:
        return memory
    failures = known.trial.failures + 1
    again_s = now_s + min(FIRST_TRIAL_S * 2 ** min(failures - 1, 10), LONGEST_TRIAL_S)
    is_proved = outcome.verdict is Verdict.PASSED or (
        outcome.verdict is Verdict.UNABLE and known.good_s >= NVML_ALONE_S
    )
    if not known.is_seen or not known.good_s:  # it failed anew while it was checked
        is_proved = False
    if is_proved:
        known = replace(known, latched=(), trial=Trial())
    elif outcome.verdict is Verdict.FAILED:
        action = "look at the kernel log (dmesg); " + signs.ASKS_FOR_RESET
        found = Finding("no-cuda-context", Severity.FAILING, outcome.sentence, action, now_s, uuid)
        known = replace(known, latched=_once((*known.latched, found)), trial=Trial(failures, again_s))
    else:
        known = replace(known, trial=Trial(failures, again_s, outcome.sentence))
    return _with(memory, _moved(known, now_s))


def cleared(memory: Memory, uuids: tuple[str, ...]) -> Memory:
    """After an admin said that these are well, or, without any, that all is: a GPU that is not there is forgotten."""
    if not uuids:
        gpus = tuple(_blank(it) for it in memory.gpus if it.is_seen)
        return Memory(gpus, looked_s=memory.looked_s)
    gpus = tuple(
        _blank(it) if it.gpu.uuid in uuids else it for it in memory.gpus if it.is_seen or it.gpu.uuid not in uuids
    )
    return replace(memory, gpus=gpus)


def _blank(it: KnownGpu) -> KnownGpu:
    return KnownGpu(it.gpu, it.is_seen, it.good_s, marks=it.marks, ecc_uncorrected=it.ecc_uncorrected)


def findings(memory: Memory) -> tuple[Finding, ...]:
    """All that is wrong now, worst first, then by GPU and code."""
    found = [*memory.loose, *(_finding(it, "") for it in memory.host if it.severity is not None)]
    for gpu in memory.gpus:
        uuid, codes = gpu.gpu.uuid, {it.code for it in gpu.latched}
        if "ecc-double-bit" in codes:
            codes.add("ecc-uncorrected")  # the same errors, said twice
        mine = (_finding(it, uuid) for it in gpu.conditions if it.severity is not None)
        found += [*gpu.latched, *(it for it in mine if it.code not in codes)]
        if watched := flaps.finding(gpu.flaps, uuid):
            found.append(watched)
    return tuple(sorted(found, key=lambda it: (it.severity is not Severity.FAILING, it.gpu_uuid, it.code)))


def known_gpus(memory: Memory) -> tuple[Gpu, ...]:
    """Those that were there once and are not in the last look."""
    return tuple(replace(it.gpu, processes=()) for it in memory.gpus if not it.is_seen and it.gpu.name)


def _finding(it: Condition, uuid: str) -> Finding:
    sign = it.sign
    severity = it.severity or sign.severity
    is_late = sign.failing_after_s is not None and severity is Severity.FAILING
    lasted_s = sign.failing_after_s if is_late else sign.after_s
    lasted = f", for more than {lasted_s:.0f} s" if lasted_s and lasted_s >= signs.THROTTLED_S else ""
    return Finding(sign.code, severity, sign.reason + lasted, sign.action, it.since_s, uuid)


def _once(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """One per code, the oldest: since when counts. But what a check says anew is newer."""
    kept: dict[str, Finding] = {}
    for it in found:
        if it.code == "no-cuda-context" and it.code in kept:
            kept[it.code] = replace(it, since_s=kept[it.code].since_s)
        kept.setdefault(it.code, it)
    return tuple(kept.values())


def _moved(it: KnownGpu, now_s: float) -> KnownGpu:
    has_cause = bool(it.latched) or any(each.severity is Severity.FAILING for each in it.conditions)
    return replace(it, flaps=flaps.moved(it.flaps, has_cause=has_cause, now_s=now_s))


def _with(memory: Memory, known: KnownGpu) -> Memory:
    rest = [it for it in memory.gpus if it.gpu.uuid != known.gpu.uuid]
    return replace(memory, gpus=tuple(sorted([*rest, known], key=lambda it: it.gpu.uuid)))
