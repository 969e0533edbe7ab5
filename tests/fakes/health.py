"""A host's GPUs over time, for stories about health: each second one look, in between what the driver tells."""

from dataclasses import replace

from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Finding, Gpu, GpuReading, GpuTrouble, XidEvent
from homeport_agent.health import judge
from homeport_agent.health.model import HostLook, Memory, Outcome, Verdict
from homeport_agent.health.xids import BUILT_IN, Table

START_S = 1_800_000_000.0


def uuid(index: int) -> str:
    return f"GPU-{index}"


class Watch:
    """Two GPUs and an eye on them; `see` changes what is to be seen."""

    def __init__(self, count: int = 2, table: Table = BUILT_IN) -> None:
        self.now_s = START_S
        self.memory = Memory()
        self.host = HostLook()
        self.table = table
        self.gpus = {
            uuid(it): Gpu(uuid(it), "NVIDIA H100", 81920, 0, pci_bus_id=f"0000:{it}7:00.0") for it in range(count)
        }
        self.readings = {it: GpuReading(it) for it in self.gpus}
        self.troubles: dict[str, GpuTrouble] = {}
        self.driver = ("", "")

    def sample(self) -> GpuSample:
        if self.driver[0]:
            return GpuSample(unavailable=self.driver[1], driver_trouble=self.driver[0])
        there = [it for it in self.gpus if it not in self.troubles]
        return GpuSample(
            gpus=tuple(self.gpus[it] for it in there),
            unavailable=self.driver[1],
            readings=tuple(self.readings[it] for it in there),
            troubles=tuple(self.troubles.values()),
        )

    def look(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.now_s += 1
            self.memory = judge.look(self.memory, self.sample(), self.host, self.now_s)

    def reads(self, index: int = 0, **values: object) -> None:
        self.readings[uuid(index)] = replace(self.readings[uuid(index)], **values)  # type: ignore[arg-type]

    def has_trouble(self, kind: str, index: int = 0) -> None:
        self.troubles[uuid(index)] = GpuTrouble(uuid(index), kind, f"nvmlDeviceGetMemoryInfo: {kind}")

    def xid(self, code: int, index: int = 0, detail: str = "") -> None:
        self.memory = judge.xid(self.memory, XidEvent(uuid(index), code, self.now_s, detail), self.table, self.now_s)

    def checked(self, verdict: Verdict = Verdict.PASSED, index: int = 0, sentence: str = "it computed") -> None:
        self.memory = judge.checked(self.memory, uuid(index), Outcome(verdict, sentence), self.now_s)

    @property
    def due(self) -> str:
        gpu = judge.due(self.memory, self.now_s)
        return gpu.uuid if gpu else ""

    @property
    def findings(self) -> tuple[Finding, ...]:
        return judge.findings(self.memory)

    @property
    def codes(self) -> list[str]:
        """ "GPU-0 xid-79 failing", in the order in which they are told."""
        return [f"{it.gpu_uuid or 'host'} {it.code} {it.severity}" for it in self.findings]
