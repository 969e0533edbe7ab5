"""PURE: how GPUs are asked of this Docker: by its nvidia driver, or as CDI devices; and what a container's variables say.

The driver `nvidia` of Docker exists where `nvidia-container-runtime-hook` was on dockerd's PATH when it started
(moby daemon/nvidia_linux.go). It is preferred where it exists: a CDI specification is a file that may be out of date, which
breaks MIG instances above all (moby pull requests 52704 and 50228). Without the hook (nvidia-container-toolkit-base
installs none, see NVIDIA's "Support for Container Device Interface") only CDI is left: Docker has it behind a feature flag
since 25, by itself since 28.3, and lists in `docker info` the devices that it found since 28.2 (moby pull request 49980).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HOOK = "nvidia-container-runtime-hook"
CDI_KIND = "nvidia.com/gpu"
LISTS_DEVICES = (1, 50)  # the API version that does: without it, silence in `docker info` says nothing
# "void": the hook, or a default runtime of NVIDIA's, gives none. Many CUDA images carry "all" in their own environment.
VISIBLE, NONE = "NVIDIA_VISIBLE_DEVICES", "void"


@dataclass(frozen=True, slots=True)
class GpuWays:
    """What this engine can do about GPUs."""

    has_hook: bool = False
    has_cdi: bool = False  # it looks into directories with CDI specifications
    cdi_devices: frozenset[str] | None = None  # qualified names; None: the engine does not list them


@dataclass(frozen=True, slots=True)
class GpuRequest:
    driver: str  # "nvidia" or "cdi"
    device_ids: tuple[str, ...]


def ways_of(info: Mapping[str, Any], api_version: str, has_hook: bool) -> GpuWays:
    """Of the answer of `docker info` and the API version of `docker version`."""
    listed: frozenset[str] | None = None
    if _numbers(api_version) >= LISTS_DEVICES:
        rows = info.get("DiscoveredDevices") or ()
        listed = frozenset(str(row.get("ID") or row.get("Name") or "") for row in rows if row.get("Source") == "cdi")
    return GpuWays(has_hook, bool(info.get("CDISpecDirs")), listed)


def request(uuids: Sequence[str], ways: GpuWays) -> GpuRequest:
    """GPUs and MIG instances by UUID, never by number. Where there is no way, Docker's own refusal is the clearest."""
    names = tuple(f"{CDI_KIND}={uuid}" for uuid in uuids)
    if not ways.has_hook and ways.has_cdi and (ways.cdi_devices is None or ways.cdi_devices.issuperset(names)):
        return GpuRequest("cdi", names)
    return GpuRequest("nvidia", tuple(uuids))


def environment(env: Sequence[tuple[str, str]], uuids: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The variables of a container, where the one that NVIDIA's tools obey says its GPUs and nothing else: what an image or
    a file says there would otherwise give it those of others."""
    return (*(it for it in env if it[0] != VISIBLE), (VISIBLE, ",".join(uuids) or NONE))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
