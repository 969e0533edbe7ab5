"""What the agent costs on a host with eight GPUs, and how soon a sick one is cordoned.

  python tests/bench/bench_agent.py [SECONDS]

A real server and a real agent over the fake NVML library (tests/rig/nvml), whose cost is in the numbers. Prints a table; it
asserts nothing.
"""

import json
import os
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig.nvml.gpus import FakeGpus, compile_library
from rig.stack import Stack, stack, wait_for

GPUS = 8
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(pid: int, what: str) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def share(pid: int, seconds: float, gpus: FakeGpus | None = None) -> float:
    """Percent of one core over so many seconds; with `gpus` their readings are other ones each second."""
    before_s, began_s = cpu_s(pid), time.monotonic()
    while (left_s := began_s + seconds - time.monotonic()) > 0:
        if gpus is not None:
            pick = random.Random(left_s)  # noqa: S311 - readings
            gpus.set(**{f"gpu{at}__{key}": pick.randint(1, most) for at in range(GPUS) for key, most in MOVING.items()})
        time.sleep(min(1.0, left_s))
    return 100 * (cpu_s(pid) - before_s) / (time.monotonic() - began_s)


MOVING = {"busy": 100, "temp": 90, "power": 700_000, "mem_used": 2**36}


def cordoned_ms(homeport: Stack, gpus: FakeGpus, index: int) -> float:
    """From an XID that the driver tells to the API that says that the GPU is failing."""
    began_s = time.monotonic()
    gpus.xid(index, 79)

    def is_failing() -> bool:
        host = json.loads(homeport.homeport("fleet", "get", "test-host", "--json").stdout)
        return any(it["uuid"] == gpus.uuid(index) and it["health"] == "failing" for it in host["gpus"])

    wait_for("the GPU is failing", is_failing)
    return 1000 * (time.monotonic() - began_s)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    with tempfile.TemporaryDirectory() as folder:
        compile_library(Path(folder))
        gpus = FakeGpus(Path(folder), count=GPUS, batch=secrets.randbits(32))
        with stack(gpus=gpus) as homeport:
            pid = homeport.agent.pid
            rest = share(pid, seconds)
            moving = share(pid, seconds, gpus)
            rss, pss = memory_mib(pid, "Rss"), memory_mib(pid, "Pss")
            took = sorted(cordoned_ms(homeport, gpus, index) for index in range(5))
    print(f"agent with {GPUS} fake GPUs, sampled each second          measured      bar")
    print(f"  of one core, readings at rest              {rest:9.2f} %     1 %")
    print(f"  of one core, all readings move each second {moving:9.2f} %     1 %")
    print(f"  resident / proportional memory         {rss:6.1f} / {pss:.1f} MB   64 MB")
    print("  from an XID to an API that says failing, with the start of the CLI that asks,")
    print(f"  median / most of {len(took)}                       {took[2]:6.0f} / {took[-1]:.0f} ms   2000 ms")


main()
