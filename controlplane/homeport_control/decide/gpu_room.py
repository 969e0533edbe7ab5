"""What is left of one GPU: by what is reserved on it, by what is measured on it, and by how it is.

Pure. Whose memory is whose is told by one rule that the agent has too (homeport_protos.gpu_memory).

A replica of ours with a reservation counts with what it reserved, or with what it holds where that is more. A process of
ours without one (it has ended, and still dies) counts like a stranger's. What is measured and belongs to no process (the
driver's own share, about 600 MiB on an H100) makes no GPU ineligible, but nobody can be promised it: it is not free.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from homeport_protos.gpu_memory import Foreign, foreign, gigabytes

from homeport_control.domain.hosts import Gpu, GpuProcess, Reservation


@dataclass(frozen=True, slots=True)
class GpuRoom:
    """`is_whole`: a replica may have it for itself. `free_mib`: what a shared one could reserve of it."""

    gpu: Gpu
    total_mib: int
    free_mib: int
    is_whole: bool
    holders: tuple[Reservation, ...] = ()  # by replica
    strange: Foreign | None = None
    barred: str = ""  # "is failing: ...", "is drained", "is in compute mode prohibited"
    warned: bool = False

    @property
    def is_shareable(self) -> bool:
        return not (self.barred or is_for_one_process(self.gpu) or any(it.exclusive for it in self.holders))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why all of it, or a part, is not to be had. Each a sentence without an end."""
        if self.barred:
            return (f"a GPU {self.barred}",)
        alone = next((it for it in self.holders if it.exclusive), None)
        if alone is not None:
            return (f"a replica of {alone.run_name or 'another run'} holds it",)
        found = []
        if self.holders:
            runs = sorted({it.run_name or "another run" for it in self.holders})
            who = (
                f"{'a replica' if len(self.holders) == 1 else f'{len(self.holders)} replicas'} of {' and '.join(runs)}"
            )
            verb = "shares it and has" if len(self.holders) == 1 else "share it and have"
            found.append(f"{who} {verb} {gigabytes(sum(it.gpu_memory_mib for it in self.holders))}")
        if self.strange is not None:
            found.append(self.strange.text)
        return tuple(found)


def is_for_one_process(gpu: Gpu) -> bool:
    """It lets in one process at a time, so nobody can share it."""
    return gpu.compute_mode.lower().startswith("exclusive")


def gpu_room(
    gpu: Gpu, host_memory_mib: int, holders: Sequence[Reservation] = (), barred: str = "", warned: bool = False
) -> GpuRoom:
    """What is left of `gpu`.

    host_memory_mib: what a GPU has that shares its host's memory.
    holders: the reservations on it, or on the GPU that it is an instance of.
    """
    if not barred and gpu.compute_mode.lower() == "prohibited":
        barred = "is in compute mode prohibited"
    total_mib = (host_memory_mib or gpu.memory_total_mib) if gpu.unified_memory else gpu.memory_total_mib
    if len(holders) > 1:
        holders = sorted(holders, key=lambda it: it.replica_id)
    if any(it.exclusive for it in holders):  # whatever is measured there
        return GpuRoom(gpu, total_mib, 0, is_whole=False, holders=tuple(holders), barred=barred, warned=warned)
    # Of unified memory the driver tells what each process has, and nothing of the rest.
    used_mib = _known_mib(gpu) if gpu.unified_memory else gpu.memory_used_mib
    if holders or gpu.processes:
        strange, taken_mib = _measured(gpu, used_mib, total_mib, holders)
    else:
        strange, taken_mib = foreign(used_mib, total_mib, ()), used_mib
    return GpuRoom(
        gpu,
        total_mib,
        free_mib=0 if barred else max(0, total_mib - taken_mib),
        is_whole=not holders and strange is None and not barred,
        holders=tuple(holders),
        strange=strange,
        barred=barred,
        warned=warned,
    )


def _measured(gpu: Gpu, used_mib: int, total_mib: int, holders: Sequence[Reservation]) -> tuple[Foreign | None, int]:
    """What strangers hold, and how much is not free altogether."""
    reserved_mib = {it.replica_id: it.gpu_memory_mib for it in holders}
    ours: dict[str, int] = {}
    for process in gpu.processes:
        if process.replica_id in reserved_mib:
            told_mib = reserved_mib[process.replica_id] if process.memory_mib is None else process.memory_mib
            ours[process.replica_id] = ours.get(process.replica_id, 0) + told_mib
    # A replica of which no process is seen holds some of what is used: not yet anything, or where NVML does not look.
    hidden_mib = sum(mib for replica_id, mib in reserved_mib.items() if replica_id not in ours)
    seen_mib = max(0, used_mib - hidden_mib)
    strange = foreign(seen_mib, total_mib, [_owned(it, reserved_mib) for it in gpu.processes])
    claimed_mib = sum(max(mib, ours.get(replica_id, 0)) for replica_id, mib in reserved_mib.items())
    others_mib = max(0, seen_mib - sum(ours.values()), strange.mib if strange else 0)
    return strange, claimed_mib + others_mib


def _owned(process: GpuProcess, replica_ids: Collection[str]) -> GpuProcess:
    """Of a replica without a reservation there: a stranger's, and called what it is."""
    if not process.replica_id or process.replica_id in replica_ids:
        return process
    return replace(process, replica_id="", name=f"{process.name} of a replica that has ended")


def _known_mib(gpu: Gpu) -> int:
    return sum(it.memory_mib or 0 for it in gpu.processes)
