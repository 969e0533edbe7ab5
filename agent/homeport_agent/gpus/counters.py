"""A GPU's slow counters: errors of its memory, of its bus and of its links. One batch each, asked for only now and then.

Covers reading them. What they mean is decided in health.
"""

from dataclasses import dataclass
from typing import Any

from homeport_agent.gpus.calls import Calls

# Field values of nvml.h, with the function that told the same before them and that a fault is named by.
_ECC, _RETIRED, _PENDING, _REMAPPED, _PCIE = (
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetRetiredPages",
    "nvmlDeviceGetRetiredPagesPendingStatus",
    "nvmlDeviceGetRemappedRows",
    "nvmlDeviceGetPcieReplayCounter",
)
_FIELDS = {
    "ecc_volatile_corrected": (3, _ECC),
    "ecc_volatile_uncorrected": (4, _ECC),
    "ecc_aggregate_corrected": (5, _ECC),
    "ecc_aggregate_uncorrected": (6, _ECC),
    "retired_pages_corrected": (29, _RETIRED),
    "retired_pages_uncorrected": (30, _RETIRED),
    "retired_pages_pending": (31, _PENDING),
    "pcie_replays": (94, _PCIE),
    "remapped_rows_corrected": (142, _REMAPPED),
    "remapped_rows_uncorrected": (143, _REMAPPED),
    "remapped_rows_pending": (144, _REMAPPED),
    "remapped_rows_failed": (145, _REMAPPED),
}
_YES_NO = ("retired_pages_pending", "remapped_rows_pending", "remapped_rows_failed")
_NVLINK = "nvmlDeviceGetNvLinkErrorCounter"
_NVLINK_TOTALS = (38, 45, 52, 59, 160)  # CRC of flits and of data, replays, recoveries, ECC: of all links together
_NVLINK_EACH = (161, 162, 163)  # replays, recoveries and CRC of one link: newer parts have no totals
NVLINKS_MAX = 36  # NVML_NVLINK_MAX_LINKS


@dataclass(frozen=True, slots=True)
class Counters:
    """Fields of GpuReading by name; `active_links` are the numbers of the NVLinks that are up."""

    values: dict[str, Any]
    active_links: tuple[int, ...]


class CounterReader:
    """Asks one device."""

    def __init__(self, calls: Calls, nvml: Any, handle: Any) -> None:
        self._calls = calls
        self._nvml = nvml
        self._handle = handle
        self._fields = dict(_FIELDS)
        self._links: int | None = None  # how many it has; None: not counted yet

    def read(self) -> Counters:
        """Raises GpuError for a lost GPU, DriverGone."""
        values: dict[str, Any] = dict.fromkeys(_FIELDS)
        told = self._told(dict(self._fields.values()))
        for name, (number, _) in list(self._fields.items()):
            if number in told:
                values[name] = bool(told[number]) if name in _YES_NO else told[number]
        active = self._active_links()
        values["nvlinks_active"] = len(active) if self._links else None
        values["nvlink_errors"] = self._link_errors(active) if self._links else None
        return Counters(values, active)

    def _told(self, fields: dict[int, str], scopes: tuple[int, ...] = (0,)) -> dict[int, int]:
        """The values that are there, by field; summed over the scopes (links)."""
        asked = [(number, scope) for scope in scopes for number in fields]
        batch = self._calls.ask("nvmlDeviceGetFieldValues", self._handle, asked) if asked else None
        told: dict[int, int] = {}
        for field in batch or ():
            number = int(field.fieldId)
            if self._calls.answers(fields[number], int(field.nvmlReturn)):
                told[number] = told.get(number, 0) + self._value(field)
        return told

    def _value(self, field: Any) -> int:
        n, kind = self._nvml, int(field.valueType)
        if kind == n.NVML_VALUE_TYPE_DOUBLE:
            return int(field.value.dVal)
        if kind == n.NVML_VALUE_TYPE_UNSIGNED_INT:
            return int(field.value.uiVal)
        if kind == n.NVML_VALUE_TYPE_SIGNED_LONG_LONG:
            return int(field.value.sllVal)
        return int(field.value.ullVal)

    def _active_links(self) -> tuple[int, ...]:
        """Counts the links once: the first number that is none ends them."""
        active, found = [], 0
        for link in range(NVLINKS_MAX if self._links is None else self._links):
            state = self._calls.ask("nvmlDeviceGetNvLinkState", self._handle, link) if self._links != 0 else None
            if state is None:
                break
            found += 1
            if state == 1:
                active.append(link)
        if self._links is None:
            self._links = found
            # "Invalid argument" for the first link too many is how NVML ends the list.
            self._calls.faults.pop("nvmlDeviceGetNvLinkState", None)
        return tuple(active)

    def _link_errors(self, active: tuple[int, ...]) -> int | None:
        told = self._told(dict.fromkeys(_NVLINK_TOTALS, _NVLINK))
        if not told:
            told = self._told(dict.fromkeys(_NVLINK_EACH, _NVLINK), active)
        return sum(told.values()) if told else None
