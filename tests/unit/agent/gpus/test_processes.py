"""gpus/processes: who holds memory of a GPU."""

import os
import subprocess

from rig.nvml.gpus import FakeGpus
from rig.nvml.inside import inside

READ = """
from dataclasses import asdict
from homeport_agent.gpus.calls import Calls
from homeport_agent.gpus.processes import read_processes
calls = Calls(pynvml)
said += [asdict(it) for it in read_processes(calls, handles[0])]
"""


def test_by_pid_with_names_of_the_system_and_memory_rounded_up(gpus: FakeGpus) -> None:
    with subprocess.Popen(["sleep", "600"]) as sleeper:
        try:
            gpus.hold(0, sleeper.pid, 512)
            gpus.hold(0, 1, None)
            first, second = inside(gpus, READ)
        finally:
            sleeper.kill()
    assert (first["pid"], first["memory_mib"], bool(first["name"])) == (1, None, True)
    assert (second["pid"], second["name"], second["memory_mib"]) == (sleeper.pid, "sleep", 512)


def test_one_that_computes_and_draws_is_there_once_as_one_that_computes(gpus: FakeGpus) -> None:
    gpus.hold(0, os.getpid(), 100, "graphics")
    gpus.hold(0, os.getpid(), 300, "compute")
    (it,) = inside(gpus, READ)
    assert (it["graphics"], it["memory_mib"]) == (False, 300)


def test_one_that_the_system_does_not_know_has_the_file_that_nvml_names_or_nothing(gpus: FakeGpus) -> None:
    gpus.hold(0, 4_000_000, 1, name="/usr/bin/python3 -m secret")
    gpus.hold(0, 4_000_001, 1)
    assert [it["name"] for it in inside(gpus, READ)] == ["python3", ""], "never its arguments"


def test_a_gpu_that_names_nobody_has_nobody(gpus: FakeGpus) -> None:
    gpus.hold(0, os.getpid(), 1)
    for function in ("ComputeRunningProcesses", "GraphicsRunningProcesses"):
        gpus.fail(function, 3)
    assert inside(gpus, READ + "said.append(calls.faults)") == [{}]
