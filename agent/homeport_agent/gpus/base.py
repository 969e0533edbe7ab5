"""The GPU port: what GPUs this host has now and how they are, and what their driver tells of them."""

from dataclasses import dataclass
from typing import Protocol

from homeport_agent.gpus.model import Gpu, GpuReading, GpuTrouble, XidEvent
from homeport_agent.model import GpuUsage


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One look at all GPUs. Those that answer are in `gpus` and `readings`, the others in `troubles`."""

    gpus: tuple[Gpu, ...] = ()  # by UUID
    unavailable: str = ""  # why there are none, or why some are missing; one sentence
    readings: tuple[GpuReading, ...] = ()  # by UUID
    troubles: tuple[GpuTrouble, ...] = ()
    driver_trouble: str = (
        ""  # "hung", "mismatch", "not-loaded": the driver as a whole does not work; `unavailable` says how
    )


class Gpus(Protocol):
    async def sample(self) -> GpuSample:
        """Never raises and always ends within a deadline of its own, whatever hangs."""

    async def usage(self) -> tuple[GpuUsage, ...]:
        """How busy each GPU is now; empty when the driver does not say. As `sample` never raises and always ends."""

    async def xids(self) -> tuple[XidEvent, ...]:
        """Wait for what the driver tells next. Comes back empty-handed now and then; never raises."""

    async def close(self) -> None: ...
