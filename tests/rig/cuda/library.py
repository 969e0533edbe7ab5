"""The fake libcuda.so.1 for tests: compiles it. Its state is that of the fake NVML (tests/rig/nvml)."""

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("fake_cuda.c")


def compile_library(folder: Path) -> Path:
    """The library in `folder`, beside the fake NVML; needs gcc."""
    library = folder / "libcuda.so.1"
    flags = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{library.name}"]
    subprocess.run(["gcc", *flags, "-o", str(library), str(SOURCE)], check=True, timeout=60)
    return library
