"""How many replicas a second placement decides: 1,000 hosts x 8 GPUs, from empty to full, and 10 hosts for comparison.

  python tests/bench/bench_placement.py [HOSTS]

Mixed fleets (five kinds of GPU, wired as in such machines, hosts without any, MIG, foreign processes, sick GPUs and hosts) and
mixed asks (one GPU by memory or name, 2, 4 and 8, shared 4 to 24 GB, without GPUs, by filters, images that hosts have or have
not, some that fit nowhere). A decision is one ask answered with its claim taken in; "board" is what each call of `place`
pays once for reading the hosts. It asserts nothing.
"""

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fakes.hosts import NOW, ask, finding, gpu, host, process
from homeport_control.decide.ask import Ask, Filters
from homeport_control.decide.board import Board
from homeport_control.decide.placement import NO_VOLUMES, Placed, decide, place
from homeport_control.domain.hosts import Connection, Gpu, GpuNear, Health, Host

KINDS = (
    ("NVIDIA RTX A5000", 24564, "8.6"),
    ("NVIDIA L40S", 46068, "8.9"),
    ("NVIDIA A100-SXM4-80GB", 81920, "8.0"),
    ("NVIDIA H100 80GB HBM3", 81559, "9.0"),
    ("Tesla T4", 15360, "7.5"),
)
IMAGES = tuple(f"registry.example/model-{number}:1" for number in range(40))
GPUS = 8


def near(uuids: Sequence[str], at: int, nvlink: bool) -> tuple[GpuNear, ...]:
    """NVLink in fours, else PCIe switches of two under two sockets."""

    def path(to: int) -> str:
        if nvlink:
            return "NV12" if at // 4 == to // 4 else "NV4"
        return "PIX" if at // 2 == to // 2 else "NODE" if at // 4 == to // 4 else "SYS"

    return tuple(GpuNear(uuid, path(to)) for to, uuid in enumerate(uuids) if to != at)


def one_gpu(chance: random.Random, uuids: Sequence[str], at: int, kind: tuple[str, int, str]) -> Gpu:
    name, memory_mib, cc = kind
    nvlink = "SXM" in name or "H100" in name
    found = gpu(uuids[at], name, memory_mib, chance.randint(4, 600), cc, near=near(uuids, at, nvlink))
    if chance.random() < 0.08:
        held_mib = chance.randint(500, memory_mib // 2)
        found = replace(
            found, memory_used_mib=held_mib + 400, processes=(process(held_mib, pid=chance.randint(2, 9999)),)
        )
    return found


def fleet(number: int, chance: random.Random) -> list[Host]:
    hosts = []
    for at in range(number):
        kinds = chance.sample(KINDS, 2) if chance.random() < 0.1 else [chance.choice(KINDS)]
        count = 0 if chance.random() < 0.05 else GPUS
        uuids = [f"GPU-{at:04d}-{index}" for index in range(count)]
        gpus = [one_gpu(chance, uuids, index, kinds[index % len(kinds)]) for index in range(count)]
        if count and chance.random() < 0.03:
            gpus[0] = replace(gpus[0], mig_enabled=True, processes=())
            gpus += [
                gpu(f"MIG-{at:04d}-{part}", f"{gpus[0].name} MIG 1g.10gb", 9728, mig_parent=uuids[0])
                for part in range(7)
            ]
        sick = [finding(uuid) for uuid in uuids if chance.random() < 0.01]
        sick += [finding(uuid, Health.WARNING) for uuid in uuids if chance.random() < 0.02]
        made = host(
            f"h{at:04d}",
            *gpus,
            cpus=chance.choice([32, 64, 128]),
            memory_mib=chance.choice([128, 256, 512]) * 1024,
            facts={"disk_free_mib": chance.choice([200, 900, 1800]) * 1024, "images": tuple(chance.sample(IMAGES, 8))},
            findings=tuple(sick),
            fleet=chance.choice(["lab", "prod"]),
            labels=(("rack", chance.choice("abcd")),),
            cordoned=chance.random() < 0.02,
        )
        hosts.append(replace(made, connection=Connection.UNREACHABLE) if chance.random() < 0.02 else made)
    return hosts


def asks(number: int, chance: random.Random) -> list[Ask]:
    """Of 200 runs, each with its own way of asking."""
    ways: list[tuple[int, dict[str, object], Filters]] = [
        (20, {"gpu": "24GB..", "cpu": "2..", "memory": "8GB.."}, Filters()),
        (10, {"gpu": "16GB"}, Filters()),
        (10, {"gpu": "A100"}, Filters()),
        (8, {"gpu": "L40S,H100", "cpu": "4.."}, Filters()),
        (8, {"gpu": "40GB..:2"}, Filters()),
        (6, {"gpu": "A100:4", "cpu": "16.."}, Filters()),
        (2, {"gpu": "H100:8"}, Filters()),
        (6, {"gpu": {"total_memory": "150GB..", "count": "1..4"}}, Filters()),
        (6, {"gpu": {"compute_capability": "8.9..", "memory": "40GB.."}}, Filters(fleets=("prod",))),
        (12, {"cpu": "2..", "memory": "4GB.."}, Filters()),
        (4, {"cpu": "1..", "memory": "1GB..", "disk": "500GB.."}, Filters(labels=("rack=a",))),
        (1, {"gpu": "B200:8"}, Filters()),
        (1, {"gpu": "24GB", "cpu": "512.."}, Filters()),
    ]
    ways += [(3, {"gpu": {"memory": f"{gb}GB", "shared": True}}, Filters()) for gb in (4, 6, 8, 12, 16, 24)]
    runs = []
    for at in range(200):
        _, resources, filters = chance.choices(ways, [weight for weight, _, _ in ways])[0]
        runs.append(
            replace(ask("", f"run-{at}", filters, **resources), image=chance.choice((*IMAGES, "new:1", "newer:1")))
        )
    return [replace(chance.choice(runs), replica_id=f"r{at}") for at in range(number)]


def measure(number: int) -> None:
    chance = random.Random(4)  # noqa: S311 - a fleet, no secret
    hosts = fleet(number, chance)
    wanted = asks(number * GPUS * 2, chance)
    began_s = time.perf_counter()
    board = Board(hosts, (), NOW, NO_VOLUMES)
    board_s = time.perf_counter() - began_s
    took_s, placed = [], 0
    for asked in wanted:
        began_s = time.perf_counter()
        answer = decide(board, asked)
        took_s.append(time.perf_counter() - began_s)
        placed += isinstance(answer, Placed)
    by_time = sorted(took_s)
    each = len(wanted) // 4
    held = [claim for host_claims in board.held for claim in host_claims]
    began_s = time.perf_counter()
    place(hosts, held, wanted[:1], NOW)
    alone_s = time.perf_counter() - began_s
    p50, p99 = (by_time[int(len(by_time) * share)] * 1000 for share in (0.5, 0.99))
    quarters = "  ".join(f"{each / sum(took_s[part * each : (part + 1) * each]):7,.0f}" for part in range(4))
    print(
        f"{number:5d}  {len(wanted):6d}  {placed:6d}  {len(wanted) / sum(took_s):8,.0f}  {p50:7.2f}  {p99:7.2f}"
        f"  {by_time[-1] * 1000:7.1f}  {quarters}  {board_s * 1000:7.1f}  {alone_s * 1000:7.1f}"
    )


def main() -> None:
    numbers = [int(sys.argv[1])] if len(sys.argv) > 1 else [10, 100, 1000]
    print(
        "                        decisions      ms each            decisions/s by quarter, empty to full     ms, full fleet"
    )
    print(
        "hosts    asks  placed        /s      p50      p99      max     1st      2nd      3rd      4th    board  one ask"
    )
    for number in numbers:
        measure(number)


if __name__ == "__main__":
    main()
