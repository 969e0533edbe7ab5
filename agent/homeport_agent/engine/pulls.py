"""PURE: how far a pull is, from Docker's events about its layers.

Covers adding up bytes. Docker names a layer's size only once its download begins, so the total grows at first.
"""

from collections.abc import Mapping
from typing import Any


class PullLedger:
    def __init__(self) -> None:
        self._done: dict[str, int] = {}
        self._total: dict[str, int] = {}

    @property
    def done_bytes(self) -> int:
        return sum(self._done.values())

    @property
    def total_bytes(self) -> int:
        return sum(self._total.values())

    def note(self, event: Mapping[str, Any]) -> bool:
        """Take one event; True when the numbers changed."""
        layer, status = str(event.get("id", "")), str(event.get("status", ""))
        before = (self._done.get(layer), self._total.get(layer))
        if status == "Downloading":
            detail = event.get("progressDetail") or {}
            self._done[layer] = int(detail.get("current") or 0)
            self._total[layer] = max(int(detail.get("total") or 0), self._done[layer])
        elif status in ("Download complete", "Pull complete") and layer in self._total:
            self._done[layer] = self._total[layer]
        return (self._done.get(layer), self._total.get(layer)) != before
