"""What a GPU is called and how large it counts: by name and memory as people write them, not as NVML reports them.

Pure. Does not choose GPUs (placement).
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from homeport_control.domain.hosts import Gpu
from homeport_control.spec.resources import Range

# Cards report less than the number on the box: ECC takes 1/16 (an L4 or A10G of 24GB reports 22.5GB, a T4 of 16GB
# 14.8GB), the firmware some more (an 80GB H100 reports 81559 MiB). 8 % holds all of these and still tells 22 from 24.
LEAST_SHARE = 0.92
MOST_SHARE = 1.05
SIZES_GB = (4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 94, 96, 120, 128, 141, 144, 180, 192, 256, 288)

_WORD = re.compile(r"[a-z0-9]+")
_NOISE = re.compile(r"nvidia|geforce|tesla|quadro|generation|laptop|gpu|\d+gb|sxm\d*|pcie|hbm\w*", re.IGNORECASE)


def is_named(gpu: Gpu, name: str) -> bool:
    """`A100` and `a100-sxm4` name "NVIDIA A100-SXM4-80GB", `A10` does not; `RTX4090` names "... GeForce RTX 4090"."""
    return _is_named(gpu.name, name)


@lru_cache(maxsize=4096)
def _is_named(full: str, name: str) -> bool:
    words = _WORD.findall(full.lower())
    wanted = "".join(_WORD.findall(name.lower()))
    return any("".join(words[i:j]) == wanted for i in range(len(words)) for j in range(i + 1, len(words) + 1))


def has_memory(mib: int, wanted: Range[int] | None) -> bool:
    """`24GB` is exact, `24GB..` is a minimum; both by the number on the box."""
    if wanted is None:
        return True
    if wanted.min is not None and mib < wanted.min * LEAST_SHARE:
        return False
    return wanted.max is None or mib <= wanted.max * MOST_SHARE


def has_capability(gpu: Gpu, wanted: Range[float] | None) -> bool:
    """One that does not say its compute capability has none."""
    if wanted is None:
        return True
    try:
        return float(gpu.compute_capability) in wanted
    except ValueError:
        return False


def short_name(gpu: Gpu) -> str:
    """ "A100", "RTX4090", "A5000"."""
    return _shortened(gpu.name)


@lru_cache(maxsize=4096)  # a fleet has few kinds
def _shortened(name: str) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word and not _NOISE.fullmatch(word)]
    if len(words) > 1 and words[0].upper() == "RTX" and re.fullmatch(r"[A-Z]\d+", words[1]):
        words = words[1:]
    return "".join(words) or name


@lru_cache(maxsize=4096)
def size_gb(memory_mib: int) -> int:
    """The number on the box."""
    real = memory_mib / 1024
    return next((size for size in SIZES_GB if LEAST_SHARE * size <= real <= 1.02 * size), round(real))


def gpus_text(gpus: Iterable[Gpu]) -> tuple[str, ...]:
    """("A5000:24GB:2",): one for each kind, in the order of its text."""
    kinds: dict[str, int] = {}
    for gpu in gpus:
        if not gpu.mig_enabled:
            kind = _kind(gpu.name, gpu.memory_total_mib)
            kinds[kind] = kinds.get(kind, 0) + 1
    return tuple(f"{kind}:{count}" for kind, count in sorted(kinds.items()))


@lru_cache(maxsize=4096)
def _kind(name: str, memory_mib: int) -> str:
    return f"{_shortened(name)}:{size_gb(memory_mib)}GB"
