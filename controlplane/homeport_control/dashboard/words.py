"""Numbers as a reader wants them, and what a colour stands for. Pure.

Sizes are in GB as `nvidia-smi` counts them; a number that is not known is empty.
"""

import hashlib
import re
from functools import lru_cache

MIB = 1024.0  # of a GB
TONES = {
    "ok": frozenset({"connected", "healthy", "running", "idle", "busy", "ready", "done"}),
    "warn": frozenset({"warning", "draining", "pending", "pulling", "starting", "probing", "queued", "provisioning"}),
    "bad": frozenset({"failing", "failed", "unreachable"}),
}
_TONE_OF = {word: name for name, words in TONES.items() for word in words}


def tone(word: str) -> str:
    """ "ok", "warn", "bad", or "off" for what is at rest."""
    return _TONE_OF.get(word, "off")


def gb(mib: float) -> str:
    """ "24", "10.7", without the unit."""
    return f"{mib / MIB:.1f}".removesuffix(".0")


def gb_of(used_mib: float, total_mib: float) -> str:
    return f"{used_mib / MIB:.1f} / {gb(total_mib)} GB"


def percent(part: float, whole: float) -> int:
    """0 to 100; what is there at all is seen."""
    if whole <= 0 or part <= 0:
        return 0
    return min(100, max(1, round(part / whole * 100)))


def rate(per_s: float) -> str:
    return f"{per_s:.0f}" if per_s >= 100 or per_s == 0 else f"{per_s:.1f}"


def milliseconds(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


@lru_cache(1024)  # a fleet has few kinds
def gpu_name(name: str) -> str:
    """ "NVIDIA A100-SXM4-80GB" as a row has room for it: its memory stands beside it."""
    return re.sub(r"[- ]\d+GB( HBM\w*)?$", "", name.removeprefix("NVIDIA ").removeprefix("GeForce ")) or name


def gpus_text(said: str) -> str:
    """ "A5000:24GB:2" of the API: "2 x A5000"."""
    name, _, count = said.rpartition(":")
    shown = gpu_name(name.rpartition(":")[0])
    return said if not shown else shown if count == "1" else f"{count} × {shown}"


def key_of(kind: str, name: str) -> str:
    """An id of the page for a thing whose own name may hold anything."""
    return kind + hashlib.sha256(name.encode()).hexdigest()[:10]
