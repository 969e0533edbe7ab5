"""How near the GPUs of a host are to each other, and which of them a replica with several should get.

Pure. The paths are those of `nvidia-smi topo -m`, as the agent reports them. Does not decide which GPUs are free (capacity)
nor which kind a replica gets (choice).
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from math import comb

from homeport_control.domain.hosts import Gpu

# By falling bandwidth. Any number of NVLinks is nearer than any way over PCIe, and more links are nearer than fewer.
_PCIE = {"PIX": 30, "PXB": 40, "PHB": 50, "NODE": 60, "SYS": 70}
_NVLINK = 20  # less the number of links, of which today's GPUs have at most 18
_UNTOLD = 80
EXACT_SETS = 100  # up to 8 GPUs every set is looked at (4 of 8 are 70), of more the best is grown

Matrix = tuple[tuple[int, ...], ...]


@lru_cache(maxsize=256)
def distance(path: str) -> int:
    """Of two GPUs, less is nearer."""
    links = path[2:]
    if path.startswith("NV") and links.isdigit():
        return max(1, _NVLINK - int(links))
    return _PCIE.get(path, _UNTOLD)


class Near:
    """The distances on one host, worked out when somebody first asks, since most replicas have one GPU."""

    __slots__ = ("_gpus", "_index", "_matrix")

    def __init__(self, gpus: Sequence[Gpu]) -> None:
        self._gpus = gpus
        self._index: dict[str, int] = {}
        self._matrix: Matrix | None = None

    def best(self, gpus: Sequence[Gpu], count: int) -> tuple[tuple[Gpu, ...], int, int]:
        """`count` of `gpus` (by UUID), and between them: the worst distance, which sets the pace, and the sum."""
        if count < 2:
            return tuple(gpus[:count]), 0, 0
        if self._matrix is None:
            ordered = sorted(self._gpus, key=lambda gpu: gpu.uuid)
            self._index = {gpu.uuid: at for at, gpu in enumerate(ordered)}
            self._matrix = matrix(ordered)
        by_index = {self._index[gpu.uuid]: gpu for gpu in gpus}
        found, worst, total = best_set(self._matrix, tuple(sorted(by_index)), count)
        return tuple(by_index[at] for at in found), worst, total


def matrix(gpus: Sequence[Gpu]) -> Matrix:
    """Of two that say different things about their path the nearer word counts, so that the order of both is nothing."""
    told = [{near.uuid: distance(near.path) for near in gpu.near} for gpu in gpus]
    return tuple(
        tuple(min(told[a].get(other.uuid, _UNTOLD), told[b].get(gpu.uuid, _UNTOLD)) for b, other in enumerate(gpus))
        for a, gpu in enumerate(gpus)
    )


@lru_cache(maxsize=20_000)
def best_set(paths: Matrix, candidates: tuple[int, ...], count: int) -> tuple[tuple[int, ...], int, int]:
    """Least worst distance, then least sum, then first by index. Remembered: the hosts of a fleet are much alike."""
    if comb(len(candidates), count) <= EXACT_SETS:
        sets = combinations(candidates, count)
        return min(((some, *_cost(paths, some)) for some in sets), key=lambda it: (it[1], it[2], it[0]))
    grown = (_grow(paths, candidates, start, count) for start in candidates)
    return min(((some, *_cost(paths, some)) for some in grown), key=lambda it: (it[1], it[2], it[0]))


def _grow(paths: Matrix, candidates: tuple[int, ...], start: int, count: int) -> tuple[int, ...]:
    chosen = [start]
    while len(chosen) < count:
        rest = (it for it in candidates if it not in chosen)
        chosen.append(
            min(rest, key=lambda it: (max(paths[it][a] for a in chosen), sum(paths[it][a] for a in chosen), it))
        )
    return tuple(sorted(chosen))


def _cost(paths: Matrix, some: tuple[int, ...]) -> tuple[int, int]:
    between = [paths[a][b] for a, b in combinations(some, 2)]
    return max(between), sum(between)
