"""`resources.gpu`: a number, tokens joined by `:`, or a map. Does not decide which GPU fits (decide/placement)."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from homeport_control.spec.base import Model, Shown, reads
from homeport_control.spec.problems import Mistake, closest, quoted
from homeport_control.spec.ranges import Range, parse_range, range_text
from homeport_control.spec.scalars import memory_text, number, parse_memory_mib, whole, yes_or_no

Vendor = Literal["nvidia", "amd", "intel", "google", "tenstorrent"]
VENDORS: Mapping[str, Vendor] = {
    "nvidia": "nvidia",
    "amd": "amd",
    "intel": "intel",
    "google": "google",
    "tpu": "google",
    "tenstorrent": "tenstorrent",
}

_COUNT = re.compile(r"[0-9]+|[0-9]*\.{2,}[0-9]*")
_MEMORY = re.compile(r"[0-9. ]*(mb|gb|tb)[0-9. ]*(mb|gb|tb)?[. ]*", re.IGNORECASE)
_ALMOST_MEMORY = re.compile(r"[0-9.]+\s*([kmgtp]i?b?|[kp]b)", re.IGNORECASE)
_NAME = re.compile(r"(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9][A-Za-z0-9 _+-]{0,39}")
_FORMS = "Write it like `24GB`, `A100:80GB:2`, `24GB..40GB:2` or `nvidia:1..8`"


def parse_memory_range(value: object) -> Range[int]:
    return parse_range(value, parse_memory_mib, "range of memory")


def memory_range_text(value: Range[int]) -> str:
    return range_text(value, memory_text)


def parse_count(value: object) -> Range[int]:
    """How many GPUs: at least one."""
    count = parse_range(value, lambda end: whole(end, most=1024), "range of counts")
    if count.min == 0:
        raise Mistake("must be at least 1", "Leave `gpu` out when no GPU is needed")
    return Range(count.min or 1, count.max)


def parse_names(value: object) -> tuple[str, ...]:
    """`A100`, `A10G,A100` or a list; any of them will do."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise Mistake(f"must be a name or names, not {quoted(value)}", "Write `A100` or `A10G,A100`")
    names = tuple(part.strip() for part in parts)
    for name in names:
        if not _NAME.fullmatch(name):
            raise Mistake(f"{quoted(name)} is not the name of a GPU", "Write `A100` or `A10G,A100`")
    return tuple(dict.fromkeys(names))


def parse_vendor(value: object) -> Vendor:
    if isinstance(value, str) and value.strip().lower() in VENDORS:
        return VENDORS[value.strip().lower()]
    raise Mistake(f"{quoted(value)} is not a vendor", closest(str(value)[:60], VENDORS))


def parse_capability(value: object) -> Range[float]:
    return parse_range(value, lambda end: number(end, most=100.0), "range of compute capabilities")


def _capability_text(value: Range[float]) -> str:
    return range_text(value, lambda end: f"{end:.1f}")


def map_of_tokens(text: str) -> dict[str, object]:
    """The map that `A100:80GB:2` stands for. Tokens stand in any order, each kind at most once. Raises Mistake."""
    found: dict[str, object] = {}
    for token in (part.strip() for part in text.split(":")):
        if not token:
            raise Mistake(f"GPU spec contains empty token: {text}", _FORMS)
        if token.lower() in VENDORS:
            kind = "vendor"
        elif _COUNT.fullmatch(token):
            kind = "count"
        elif _MEMORY.fullmatch(token):
            kind = "memory"
        elif _ALMOST_MEMORY.fullmatch(token):
            raise Mistake(f"{quoted(token)} is not an amount of memory", "The units are MB, GB and TB")
        else:
            kind = "name"
        if kind in found:
            raise Mistake(f"GPU spec {kind} conflict: {text}", f"Give one {kind}; names may be joined by `,`")
        found[kind] = token
    for kind, written in found.items():
        _PARSERS[kind](written)  # here, so that the message stands at `gpu` and not at a key that nobody wrote
    return found


_PARSERS = {"vendor": parse_vendor, "name": parse_names, "memory": parse_memory_range, "count": parse_count}

MemoryRange = Annotated[Range[int] | None, reads(parse_memory_range), Shown(memory_range_text)]


class GpuSpec(Model):
    """Which GPUs one replica gets, and how many: whole ones, or with `shared` a part of one's memory."""

    vendor: Annotated[Vendor | None, reads(parse_vendor)] = Field(
        None, description="Who made it: `nvidia`, `amd`, `intel`, `google` (or `tpu`), `tenstorrent`"
    )
    names: Annotated[tuple[str, ...], reads(parse_names), Shown(",".join)] = Field(
        (), alias="name", description="Any of these models, `A100` or `A10G,A100`; every model when left out"
    )
    memory_mib: MemoryRange = Field(
        None, alias="memory", description="Memory of each GPU: `24GB`, or a range like `24GB..40GB`"
    )
    count: Annotated[Range[int], reads(parse_count), Shown(lambda count: range_text(count, str))] = Field(
        Range(1, 1), description="How many: a number, or a range like `1..8`, of which as few as will do are taken"
    )
    total_memory_mib: MemoryRange = Field(
        None, alias="total_memory", description="Memory of all of the replica's GPUs together, like `80GB..`"
    )
    compute_capability: Annotated[Range[float] | None, reads(parse_capability), Shown(_capability_text)] = Field(
        None, description="CUDA compute capability: `8.9`, or a range like `8.0..`"
    )
    shared: Annotated[bool, reads(yes_or_no)] = Field(
        False,
        description="Reserve `memory` of one GPU beside other replicas, instead of a whole GPU",
    )

    @classmethod
    def long_form(cls, value: Any) -> Any:
        if isinstance(value, str) and not value.strip():
            raise Mistake("GPU spec contains empty token: ", _FORMS)
        if isinstance(value, str):
            return map_of_tokens(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return {"count": value}
        if isinstance(value, Mapping):
            return value
        raise Mistake(f"{quoted(value)} is not a GPU spec", _FORMS)

    @model_validator(mode="after")
    def _shared_is_a_part_of_one(self) -> "GpuSpec":
        if self.shared and (self.memory_mib is None or self.memory_mib.min is None):
            raise Mistake("`shared` needs `memory`", "Say how much of one GPU's memory to reserve: `memory: 8GB`")
        if self.shared and self.count != Range(1, 1):
            raise Mistake("`shared` reserves a part of one GPU, so `count` must be 1")
        return self


def gpu_text(gpu: GpuSpec) -> str:
    """`A100:80GB:2`: the field's own short form, as far as it goes; what it has no word for follows in brackets."""
    tokens: list[str] = [gpu.vendor] if gpu.vendor else []
    if gpu.names:
        tokens.append(",".join(gpu.names))
    if gpu.memory_mib is not None:
        tokens.append(memory_range_text(gpu.memory_mib))
    tokens.append(range_text(gpu.count, str))
    more = []
    if gpu.total_memory_mib is not None:
        more.append(f"{memory_range_text(gpu.total_memory_mib)} in total")
    if gpu.compute_capability is not None:
        more.append(f"compute capability {_capability_text(gpu.compute_capability)}")
    if gpu.shared:
        more.append("shared")
    return ":".join(tokens) + (f" ({', '.join(more)})" if more else "")
