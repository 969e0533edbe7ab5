"""Runs a piece of Python where NVIDIA's binding finds the fake library, and gives back what it said.

A process of its own, for the dynamic linker looks where a process says only at its start, and the tests' process must not
believe that it has GPUs.
"""

import json
import subprocess
import sys
import textwrap
from typing import Any

from rig.nvml.gpus import FakeGpus

START = """
import json, os
import pynvml
from rig.nvml.gpus import FakeGpus
gpus = FakeGpus.at(os.environ["FAKE_NVML"])
pynvml.nvmlInit()
handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
said = []
"""
END = "\nprint(json.dumps(said))\n"


def inside(gpus: FakeGpus, code: str) -> list[Any]:
    """`code` finds `pynvml`, `handles`, and `gpus` to change the state; what it appends to `said` comes back."""
    program = START + textwrap.dedent(code) + END
    environment = gpus.environment() | {"PYTHONPATH": str(gpus.tests_folder)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return said
