"""The GPU port: which GPUs this host has now, or why none."""

from dataclasses import dataclass
from typing import Protocol

from homeport_agent.model import Gpu


@dataclass(frozen=True, slots=True)
class GpuSample:
    gpus: tuple[Gpu, ...] = ()
    unavailable: str = ""  # why there are none, or why some are missing; one sentence


class Gpus(Protocol):
    async def sample(self) -> GpuSample:
        """Never raises and always ends within a deadline of its own."""

    async def close(self) -> None: ...
