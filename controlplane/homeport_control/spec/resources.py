"""`resources`: what one replica needs of its host, and how a plan writes it."""

from typing import Annotated, Any

from pydantic import Field

from homeport_control.spec.base import Model, Shown, reads
from homeport_control.spec.gpu import GpuSpec, MemoryRange, gpu_text, memory_range_text
from homeport_control.spec.ranges import Range, parse_range, range_text
from homeport_control.spec.scalars import memory_text, parse_memory_mib, whole

__all__ = ["GpuSpec", "Range", "Resources", "resources_text"]


def _cpu(value: object) -> Range[int]:
    return parse_range(value, lambda end: whole(end, least=1, most=100_000), "range of cpus")


class Resources(Model):
    """None: no minimum."""

    cpu: Annotated[Range[int] | None, reads(_cpu), Shown(lambda cpu: range_text(cpu, str))] = Field(
        None,
        description="CPU cores: a number, or a range like `2..`. The lower end is reserved, an upper end limits the "
        "container",
    )
    memory_mib: MemoryRange = Field(
        None,
        alias="memory",
        description="Memory: `16GB`, or a range like `16GB..`. The lower end is reserved, an upper end limits the "
        "container",
    )
    disk_mib: MemoryRange = Field(
        None, alias="disk", description="Disk that must be free when the replica is placed, like `100GB..`"
    )
    shm_size_mib: Annotated[int | None, reads(parse_memory_mib), Shown(memory_text)] = Field(
        None,
        alias="shm_size",
        description="Size of `/dev/shm`, like `8GB`, which PyTorch's workers share; Docker's own 64MB when left out",
    )
    gpu: GpuSpec | None = Field(
        None,
        description="GPUs of each replica, whole ones of its own: a number, words joined by `:` in any order (`24GB`,"
        " `A100:80GB:2`, `A10G,A100`, `nvidia`, `80GB:1..8`), or a map. `0`: none",
    )

    @classmethod
    def long_form(cls, value: Any) -> Any:
        # `gpu: 0` says "none" in words of its own; a count of 0 anywhere else is a mistake.
        if isinstance(value, dict) and value.get("gpu") in (0, "0") and not isinstance(value.get("gpu"), bool):
            return {**value, "gpu": None}
        disk = value.get("disk") if isinstance(value, dict) else None
        if isinstance(disk, dict) and set(disk) == {"size"}:
            return {**value, "disk": disk["size"]}
        return value


def resources_text(resources: Resources) -> str:
    """`2..xCPU, 16GB.., A100:80GB:2, 100GB.. disk, 8GB shm`; `any` when nothing is asked."""
    parts = []
    if resources.cpu is not None:
        parts.append(f"{range_text(resources.cpu, str)}xCPU")
    if resources.memory_mib is not None:
        parts.append(memory_range_text(resources.memory_mib))
    if resources.gpu is not None:
        parts.append(gpu_text(resources.gpu))
    if resources.disk_mib is not None:
        parts.append(f"{memory_range_text(resources.disk_mib)} disk")
    if resources.shm_size_mib is not None:
        parts.append(f"{memory_text(resources.shm_size_mib)} shm")
    return ", ".join(parts) or "any"
