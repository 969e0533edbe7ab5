"""The GPU port: which GPUs this host has now, or why none."""

from dataclasses import dataclass
from typing import Protocol

from homeport_agent.model import Gpu, GpuUsage


@dataclass(frozen=True, slots=True)
class GpuSample:
    gpus: tuple[Gpu, ...] = ()
    unavailable: str = ""  # why there are none, or why some are missing; one sentence


class Gpus(Protocol):
    async def sample(self) -> GpuSample:
        """Never raises and always ends within a deadline of its own."""

    async def usage(self) -> tuple[GpuUsage, ...]:
        """How busy each GPU is now; empty when the driver does not say. As `sample` never raises and always ends."""

    async def close(self) -> None: ...
