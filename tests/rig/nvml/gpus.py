"""GPUs for tests: compiles the fake NVML library and writes the state that it shows.

Covers the library and its state file (fake_nvml.c lists the keys). A process sees it when it is started with
`environment()`: the dynamic linker reads LD_LIBRARY_PATH only at the start of a process.
"""

import os
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent
MIB = 2**20


def compile_library(folder: Path, *flags: str, sources: Path = FOLDER) -> Path:
    """The library in `folder`; needs gcc. Raises CalledProcessError with gcc's words."""
    library = folder / "libnvidia-ml.so.1"
    command = ["gcc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-pthread", f"-Wl,-soname,{library.name}", *flags]
    files = [str(path) for path in sorted(sources.glob("fake_*.c"))]
    subprocess.run([*command, "-o", str(library), *files], check=True, timeout=60, capture_output=True, text=True)
    return library


class FakeGpus:
    """State of the library: `set` and what stands below it change it for every process that has it loaded."""

    def __init__(
        self,
        folder: Path,
        count: int = 2,
        memory_mib: int = 81920,
        name: str = "NVIDIA H100 80GB HBM3",
        batch: int = 0,  # the first part of the UUIDs: several at a time must differ where they meet
    ) -> None:
        self._batch = batch
        self.library_folder = folder
        self.path = folder / "nvml.conf"
        self._events = 0
        self._state: dict[str, str] = {"count": str(count), "driver": "570.86.15", "cuda": "12080"}
        for index in range(count):
            self._state |= {
                f"gpu{index}.uuid": self.uuid(index),
                f"gpu{index}.name": name,
                f"gpu{index}.mem_total": str(memory_mib * MIB),
                f"gpu{index}.mem_used": "0",
            }
        self._write()

    @classmethod
    def at(cls, path: str) -> "FakeGpus":
        """The state that another process has made, to change it from here."""
        found = cls.__new__(cls)
        found.path, found.library_folder, found._events, found._batch = Path(path), Path(path).parent, 0, 0
        found._state = dict(line.split("=", 1) for line in found.path.read_text().splitlines())
        return found

    @property
    def tests_folder(self) -> Path:
        return FOLDER.parents[1]

    def uuid(self, index: int) -> str:
        return f"GPU-{self._batch:08x}-0000-4000-8000-{index:012d}"

    def mig_uuid(self, index: int, instance: int) -> str:
        return f"MIG-{self._batch:08x}-0000-4000-8000-{index:06d}{instance:06d}"

    def set(self, **values: str | int | None) -> None:
        """`gpu0__mem_used=5` sets gpu0.mem_used; None removes a key."""
        self._put({name.replace("__", "."): value for name, value in values.items()})

    def lose(self, index: int) -> None:
        """It falls off the bus: every call on it fails."""
        self.set(**{f"gpu{index}__lost": 1})

    def find(self, index: int) -> None:
        """It is back."""
        self.set(**{f"gpu{index}__lost": None})

    def xid(self, index: int, code: int) -> None:
        """The driver tells an XID, once, to all who have asked for events."""
        self._events += 1
        self._put({f"xid.{self._events}": f"{index}:{code}"})

    def fail(self, function: str, error: int | None, index: int | None = None) -> None:
        """That function ("PowerUsage") fails with NVML's error number, on one GPU or on all; None: no longer."""
        self._put({self._of(index, f"error.{function}"): error})

    def hang(self, function: str, is_hanging: bool = True, index: int | None = None) -> None:
        """That function does not come back, on one GPU or on all, until it is told otherwise."""
        self._put({self._of(index, f"delay.{function}"): 10**9 if is_hanging else None})

    def hold(self, index: int, pid: int, memory_mib: int | None, kind: str = "compute", name: str = "") -> None:
        """A process holds memory of that GPU (`mem_used` is not changed by it). None: the driver does not tell how much."""
        slot = 0
        while f"gpu{index}.proc{slot}" in self._state:
            slot += 1
        value = -3 if memory_mib is None else memory_mib * MIB
        self._put({f"gpu{index}.proc{slot}": f"{pid},{value},{kind}" + (f",{name}" if name else "")})

    def release(self, index: int) -> None:
        """No process holds memory of that GPU any more."""
        self._put({key: None for key in list(self._state) if key.startswith(f"gpu{index}.proc")})

    def cut(self, index: int, *memories_mib: int) -> None:
        """MIG is on, with one instance for each memory."""
        values: dict[str, str | int | None] = {f"gpu{index}.mig": 1}
        for at, memory_mib in enumerate(memories_mib):
            own = f"gpu{index}.mig{at}"
            values |= {f"{own}.uuid": self.mig_uuid(index, at), f"{own}.mem_total": memory_mib * MIB}
            values |= {f"{own}.mem_used": 0, f"{own}.gi": at + 1}
            values[f"{own}.name"] = f"{self._state[f'gpu{index}.name']} MIG 1g.{round(memory_mib / 1024)}gb"
        self._put(values)

    def reload(self) -> None:
        """The driver is unloaded and loaded again: what was initialised before is no longer."""
        self._put({"gone": int(self._state.get("gone", "0")) + 1})

    def environment(self) -> dict[str, str]:
        return {**os.environ, "LD_LIBRARY_PATH": str(self.library_folder), "FAKE_NVML": str(self.path)}

    @staticmethod
    def _of(index: int | None, key: str) -> str:
        return key if index is None else f"gpu{index}.{key}"

    def _put(self, values: dict[str, str | int | None]) -> None:
        for key, value in values.items():
            if value is None:
                self._state.pop(key, None)
            else:
                self._state[key] = str(value)
        self._write()

    def _write(self) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text("".join(f"{key}={value}\n" for key, value in self._state.items()))
        fresh.replace(self.path)
