"""GPUs for tests: compiles the fake NVML library and writes the state that it shows.

Covers the library and its state file. A process sees it when it is started with `environment()`: the dynamic linker
reads LD_LIBRARY_PATH only at the start of a process.
"""

import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("fake_nvml.c")
MIB = 2**20


def compile_library(folder: Path) -> Path:
    """The library in `folder`; needs gcc."""
    library = folder / "libnvidia-ml.so.1"
    flags = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{library.name}"]
    subprocess.run(["gcc", *flags, "-o", str(library), str(SOURCE)], check=True, timeout=60)
    return library


class FakeGpus:
    """State of the library: `set` changes it for every process that has it loaded."""

    def __init__(
        self, folder: Path, count: int = 2, memory_mib: int = 81920, name: str = "NVIDIA H100 80GB HBM3"
    ) -> None:
        self.library_folder = folder
        self.path = folder / "nvml.conf"
        self._state: dict[str, str] = {"count": str(count), "driver": "570.86.15", "cuda": "12080"}
        for index in range(count):
            self._state |= {
                f"gpu{index}.uuid": self.uuid(index),
                f"gpu{index}.name": name,
                f"gpu{index}.mem_total": str(memory_mib * MIB),
                f"gpu{index}.mem_used": "0",
            }
        self._write()

    @staticmethod
    def uuid(index: int) -> str:
        return f"GPU-00000000-0000-4000-8000-{index:012d}"

    def set(self, **values: str | int | None) -> None:
        """`gpu0__mem_used=5` sets gpu0.mem_used; None removes a key."""
        for name, value in values.items():
            key = name.replace("__", ".")
            if value is None:
                self._state.pop(key, None)
            else:
                self._state[key] = str(value)
        self._write()

    def environment(self) -> dict[str, str]:
        return {**os.environ, "LD_LIBRARY_PATH": str(self.library_folder), "FAKE_NVML": str(self.path)}

    def _write(self) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text("".join(f"{key}={value}\n" for key, value in self._state.items()))
        fresh.replace(self.path)
