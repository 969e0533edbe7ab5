"""PURE: whether a container may have its GPUs now, by what the GPUs show at this moment.

The server placed it by what it knew; the agent looks again right before the start. Covers the judgement: admitted, refused
with numbers, or not yet. Does not cover the looking and the waiting (admit) nor what follows (transitions).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from homeport_protos.gpu_memory import Foreign, foreign, gigabytes

from homeport_agent.gpus.model import Finding, Gpu, Severity
from homeport_agent.model import AssignedReplica, Phase

FRESH_S = 2.0  # an older look is none
HUNG_S = 5.0  # a driver that does not answer for so long: no look is to be had
DYING_S = 10.0  # a replica of ours that ended, or is being stopped, may hold its GPU for so long
BACK_S = 10.0  # after a reboot the driver comes later than Docker; a GPU that is lost is told by a finding, at once
# A program that has just ended is still counted for a moment, as a process without a container, or as memory of nobody:
# what is not ours is believed when it is seen for so long.
SURE_S = 1.5

HELD = frozenset({Phase.PROBING, Phase.READY, Phase.UNREADY})  # its container runs


@dataclass(frozen=True, slots=True)
class Other:
    """Another replica of this host."""

    assigned: AssignedReplica
    phase: Phase


@dataclass(frozen=True, slots=True)
class Look:
    """What the GPUs show. `gpus` come with their processes, each with its replica."""

    gpus: tuple[Gpu, ...] = ()
    findings: tuple[Finding, ...] = ()
    unavailable: str = ""  # why there are no GPUs, or why some are missing
    driver_trouble: str = ""  # see gpus.base.GpuSample
    at_s: float = 0.0  # of the same clock as now_s


@dataclass(frozen=True, slots=True)
class Verdict:
    """Neither: it may start. `waits`: not yet, and why; it becomes a refusal with time."""

    refused: str = ""
    waits: str = ""


ADMITTED = Verdict()


def verdict(assigned: AssignedReplica, others: Sequence[Other], look: Look, waited_s: float, stale_s: float) -> Verdict:
    """Judge one look.

    waited_s: how long the start has waited for admission.
    stale_s: how old the look is. No new one comes where the driver hangs.
    """
    if not assigned.gpu_uuids:
        return ADMITTED
    if look.driver_trouble == "hung" or stale_s > FRESH_S:
        said = f"its GPUs cannot be checked: {look.unavailable or 'the NVIDIA driver does not answer'}"
        return Verdict(refused=said) if waited_s > HUNG_S else Verdict(waits=said)
    for uuid in assigned.gpu_uuids:
        found = _of_gpu(uuid, assigned, others, look, waited_s)
        if found != ADMITTED:
            return found
    return ADMITTED


def gpu_text(uuid: str, gpu: Gpu | None = None) -> str:
    """ "GPU 3f2a (24GB)", "MIG 77c0"."""
    kind, _, rest = uuid.partition("-")
    name = f"{kind} {rest[:4]}" if rest else uuid
    return f"{name} ({gigabytes(gpu.memory_total_mib)})" if gpu is not None and gpu.memory_total_mib else name


def _of_gpu(uuid: str, assigned: AssignedReplica, others: Sequence[Other], look: Look, waited_s: float) -> Verdict:
    gpu = next((it for it in look.gpus if it.uuid == uuid), None)
    finding = _barring(uuid, gpu, look)
    if finding is not None and finding.gpu_uuid:
        return Verdict(refused=f"{gpu_text(uuid, gpu)} is failing: {finding.reason}")
    if finding is not None:
        said = f"this host is failing: {finding.reason}"
        return Verdict(waits=said) if waited_s < BACK_S else Verdict(refused=said)
    if gpu is None:
        said = f"{gpu_text(uuid)} is not on this host any more" + (f": {look.unavailable}" if look.unavailable else "")
        return Verdict(waits=said) if waited_s < BACK_S else Verdict(refused=said)
    if gpu.mig_enabled:
        return Verdict(refused=f"{gpu_text(uuid, gpu)} is cut into MIG instances: nothing runs on it itself")
    if gpu.compute_mode.lower().replace("_", "-") == "prohibited":
        return Verdict(
            refused=f"{gpu_text(uuid, gpu)} is in compute mode prohibited: nothing may compute on it; "
            "run `nvidia-smi -c DEFAULT` there"
        )
    beside = [it for it in others if uuid in it.assigned.gpu_uuids]
    conflict = _alone(gpu, assigned, beside) if not assigned.gpus_shared else _with_exclusive(gpu, assigned, beside)
    if conflict:
        return Verdict(refused=conflict)
    dying = _dying(gpu, assigned, beside, others)
    if dying and (not assigned.gpus_shared or any(not it.assigned.gpus_shared for it in beside)):
        said = f"{gpu_text(uuid, gpu)} is still held by {dying}"
        return Verdict(waits=said) if waited_s < DYING_S else Verdict(refused=f"{said} after {DYING_S:g} s")
    strange = foreign(_seen_mib(gpu, beside), gpu.memory_total_mib, gpu.processes)
    said = _too_full(gpu, assigned, beside, strange) if assigned.gpus_shared else _not_alone(gpu, strange)
    if not said:
        return ADMITTED
    sure_s = DYING_S if dying or _is_unseen_only(gpu) else SURE_S
    return Verdict(waits=said) if waited_s < sure_s else Verdict(refused=said)


def _barring(uuid: str, gpu: Gpu | None, look: Look) -> Finding | None:
    """A failing finding about it or what it is an instance of, else about the whole host."""
    which = {uuid, gpu.mig_parent if gpu else uuid, ""}
    found = [it for it in look.findings if it.severity is Severity.FAILING and it.gpu_uuid in which]
    return max(found, key=lambda it: bool(it.gpu_uuid), default=None)


def _alone(gpu: Gpu, assigned: AssignedReplica, beside: Sequence[Other]) -> str:
    """An exclusive replica, and one of ours that lives there."""
    for other in beside:
        if _lives(other, assigned):
            return f"{gpu_text(gpu.uuid, gpu)} is in use by replica {_name(other)}, and this one needs it for itself"
    return ""


def _with_exclusive(gpu: Gpu, assigned: AssignedReplica, beside: Sequence[Other]) -> str:
    for other in beside:
        if _lives(other, assigned) and not other.assigned.gpus_shared:
            return f"{gpu_text(gpu.uuid, gpu)} is in use by replica {_name(other)}, which has it for itself"
    return ""


def _lives(other: Other, assigned: AssignedReplica) -> bool:
    """Of two that start at once one must give way: the one with the later id."""
    starts_first = other.phase is Phase.STARTING and other.assigned.replica_id < assigned.replica_id
    return other.phase in HELD or starts_first


def _dying(gpu: Gpu, assigned: AssignedReplica, beside: Sequence[Other], others: Sequence[Other]) -> str:
    """Which replica of ours should not be there any more but still is, "" for none."""
    for other in beside:
        if other.phase is Phase.STOPPING:
            return f"replica {_name(other)}, which is being stopped"
    alive = {it.assigned.replica_id for it in beside if it.phase in HELD or it.phase is Phase.STARTING}
    for process in gpu.processes:
        if process.replica_id and process.replica_id not in alive | {assigned.replica_id}:
            named = next((_name(it) for it in others if it.assigned.replica_id == process.replica_id), "")
            memory = f" with {gigabytes(process.memory_mib)}" if process.memory_mib else ""
            return f"pid {process.pid}{memory} of replica {named or process.replica_id}, which has ended"
    return ""


def _seen_mib(gpu: Gpu, beside: Sequence[Other]) -> int:
    """What is used without what replicas of ours hold whose processes NVML does not show (another PID namespace, vGPU), as
    the server counts it too (decide/gpu_room)."""
    if gpu.unified_memory:  # its driver cannot tell whose the rest is
        return sum(it.memory_mib or 0 for it in gpu.processes)
    shown = {it.replica_id for it in gpu.processes}
    live = [it.assigned for it in beside if _claims(it) and it.assigned.replica_id not in shown]
    hidden_mib = sum(it.gpu_memory_mib if it.gpus_shared else gpu.memory_total_mib for it in live)
    return max(0, gpu.memory_used_mib - hidden_mib)


def _not_alone(gpu: Gpu, strange: Foreign | None) -> str:
    if strange is None:
        return ""
    return f"{gpu_text(gpu.uuid, gpu)}: {strange.text}, so it is not free for a replica of its own"


def _too_full(gpu: Gpu, assigned: AssignedReplica, beside: Sequence[Other], strange: Foreign | None) -> str:
    """A shared one needs what it reserves: of what others reserve, or hold beyond that, nothing is free."""
    needs_mib = assigned.gpu_memory_mib or gpu.memory_total_mib
    taken_mib = sum(max(it.assigned.gpu_memory_mib, _held_mib(gpu, it.assigned)) for it in beside if _claims(it))
    strange_mib = strange.mib if strange else 0
    free_mib = gpu.memory_total_mib - taken_mib - strange_mib
    if needs_mib <= free_mib:
        return ""
    parts = [f"{gigabytes(taken_mib)} are reserved or held by other replicas"] if taken_mib else []
    parts += [strange.text] if strange else []
    why = f" ({', '.join(parts)})" if parts else ""
    return f"{gpu_text(gpu.uuid, gpu)}: needs {gigabytes(needs_mib)}, free {gigabytes(max(0, free_mib))}{why}"


def _claims(other: Other) -> bool:
    return other.phase not in (Phase.STOPPED, Phase.FAILED)


def _held_mib(gpu: Gpu, other: AssignedReplica) -> int:
    return sum(it.memory_mib or 0 for it in gpu.processes if it.replica_id == other.replica_id)


def _is_unseen_only(gpu: Gpu) -> bool:
    """No stranger can be named: memory that a program which has just ended gives back only now looks like that."""
    return foreign(0, gpu.memory_total_mib, gpu.processes) is None


def _name(other: Other) -> str:
    return f"{other.assigned.run_name}-{other.assigned.index} ({other.assigned.replica_id})"
