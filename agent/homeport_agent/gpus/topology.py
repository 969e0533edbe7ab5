"""How the GPUs of a host reach each other, in the words of `nvidia-smi topo -m`. Runs in the thread of one of them.

Covers whole GPUs: instances of one GPU have no ways of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeport_agent.gpus.calls import Calls, GpuError, text
from homeport_agent.gpus.model import GpuNear
from homeport_agent.gpus.words import PATHS


@dataclass(frozen=True, slots=True)
class Peer:
    """A whole GPU as another one sees it."""

    uuid: str
    handle: Any
    pci_bus_id: str
    links: int  # NVLinks that are up


def find_near(nvml: Any, own: Peer, links: Sequence[int], others: Sequence[Peer]) -> tuple[GpuNear, ...]:
    """The ways from `own` to the others, by their UUID; those that the driver does not tell are left out."""
    calls = Calls(nvml)
    ends = _ends(calls, own, links)
    found = []
    for other in sorted(others, key=lambda it: it.uuid):
        try:
            path = _path(nvml, calls, own, other, ends)
        except GpuError:
            continue  # the other one is lost: its own sample says so
        if path:
            found.append(GpuNear(other.uuid, path))
    return tuple(found)


def _ends(calls: Calls, own: Peer, links: Sequence[int]) -> dict[str, int]:
    """How many links end at each PCI device."""
    ends: dict[str, int] = {}
    for link in links:
        remote = calls.ask("nvmlDeviceGetNvLinkRemotePciInfo", own.handle, link)
        if remote is not None:
            bus_id = text(remote.busId).lower()
            ends[bus_id] = ends.get(bus_id, 0) + 1
    return ends


def _path(nvml: Any, calls: Calls, own: Peer, other: Peer, ends: Mapping[str, int]) -> str:
    if other.pci_bus_id in ends:
        return f"NV{ends[other.pci_bus_id]}"
    # The links end at a switch: all that hang on it reach each other with all their links.
    if own.links and other.links:
        state = calls.ask("nvmlDeviceGetP2PStatus", own.handle, other.handle, nvml.NVML_P2P_CAPS_INDEX_NVLINK)
        if state == nvml.NVML_P2P_STATUS_OK:
            return f"NV{min(own.links, other.links)}"
    level = calls.ask("nvmlDeviceGetTopologyCommonAncestor", own.handle, other.handle)
    return "" if level is None else PATHS.get(level, "")
