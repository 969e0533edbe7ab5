"""Calls into NVML, and what their errors mean: not supported, not now, a fault, a lost GPU, a driver that is gone.

Covers the meaning of NVML's answers. Does not cover which functions are called (sampling, topology, xids).
"""

from typing import Any

# A function with one of these will answer the same again until the driver changes. No permission is among them: an agent
# that is not root cannot see some counters, and its GPUs are well all the same.
_LACKING = {
    3: "NOT_SUPPORTED",
    4: "NO_PERMISSION",
    13: "FUNCTION_NOT_FOUND",
    22: "VGPU_ECC_NOT_SUPPORTED",
    25: "ARGUMENT_VERSION_MISMATCH",
    26: "DEPRECATED",
}
_NOT_NOW = {6: "NOT_FOUND", 7: "INSUFFICIENT_SIZE", 21: "NO_DATA", 27: "NOT_READY"}
_LOST = {15: "GPU_IS_LOST", 28: "GPU_NOT_FOUND"}
_DRIVER_GONE = {1: "UNINITIALIZED", 9: "DRIVER_NOT_LOADED", 18: "LIB_RM_VERSION_MISMATCH"}
NOT_LOADED = 9
MISMATCH = 18


class GpuError(Exception):
    """There is no sample of this GPU now. See gpus/model.GpuTrouble."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class DriverGone(Exception):
    """What was initialised before is no longer: the driver was unloaded, or another one was loaded."""


class Calls:
    """Calls on one device. `faults`: those that failed with anything but "not supported", since `forget_faults`."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._lacking: set[str] = set()
        self.faults: dict[str, str] = {}

    def ask(self, function: str, *arguments: Any, name: str = "") -> Any | None:
        """None: it does not tell. `name`: of the function in NVML, where the binding's own covers several.

        Raises GpuError for a lost GPU, DriverGone.
        """
        name = name or function
        if name in self._lacking:
            return None
        try:
            return getattr(self._nvml, function)(*arguments)
        except self._nvml.NVMLError as error:
            self._judge(name, error)
            return None

    def need(self, function: str, *arguments: Any) -> Any:
        """As `ask`; an error of any kind is one of the GPU."""
        try:
            return getattr(self._nvml, function)(*arguments)
        except self._nvml.NVMLError as error:
            self._judge(function, error)
            raise GpuError("error", f"{function}: {error}") from error

    def answers(self, function: str, code: int) -> bool:
        """Whether a single value of a batch is there; judges its code as one of the function's own."""
        if code:
            self._judge(function, self._nvml.NVMLError(code), is_batch=True)
        return not code

    def is_lacking(self, function: str) -> bool:
        return function in self._lacking

    def forget_what_lacks(self) -> None:
        """The GPU's mode changed, and with it what it can tell."""
        self._lacking.clear()

    def _judge(self, function: str, error: Any, is_batch: bool = False) -> None:
        code = int(error.value)
        if code in _DRIVER_GONE:
            raise DriverGone(f"{function}: {error}") from error
        if code in _LOST:
            raise GpuError("lost", f"{function}: {error}") from error
        if code in _LACKING:
            if not is_batch:
                self._lacking.add(function)
        elif code not in _NOT_NOW:
            self.faults[function] = str(error)


def text(value: str | bytes) -> str:
    """Names come as bytes or as text, as the binding's version has it."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
