"""What strikes, and what is looked at: processes stopped, disks filled, containers ended, and what Envoy has in rotation.

Covers what more than one test does. Machines, networks, clocks: rig/machine.py, rig/clock.
"""

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from homeport_agent.envoy import admin, supervisor
from homeport_agent.envoy.host import run_dir
from rig.nothing_lost import Stage
from rig.stack import engine

FILLER = "filler"


def envoys(stage: Stage) -> Path:
    """The folder of the gateway's Envoy."""
    return run_dir(stage.stack.agent_state, "local")


def in_rotation(stage: Stage) -> int:
    """So many endpoints of the service get requests, as Envoy itself counts them; -1: it does not say."""
    with suppress(OSError, ValueError, IndexError):
        found = admin.get(envoys(stage), f"/stats?filter=^cluster.{stage.name}.membership_healthy$")
        return int(found.split(b":")[1])
    return -1


def gateway_pids(stage: Stage) -> tuple[int, int]:
    """The supervisor of the gateway's Envoy, and Envoy."""
    parent, envoy = supervisor.find(envoys(stage)), supervisor.envoy_pid(envoys(stage))
    assert parent is not None
    assert envoy is not None
    return parent, envoy


def containers(stage: Stage) -> dict[str, str]:
    """By the id of each container of the service that runs: when it was started, to see that nobody touched it."""
    return {it.id: it.attrs["State"]["StartedAt"] for it in stage.stack.containers(stage.name, everything=False)}


def program_pids(stage: Stage) -> dict[str, int]:
    """By the id of each container that runs: its first process, as this machine counts."""
    with engine() as client:
        return {id_: int(client.api.inspect_container(id_)["State"]["Pid"]) for id_ in containers(stage)}


def document(stage: Stage) -> str:
    """What is applied; the limit of memory is for the fault that passes it."""
    return stage.document(more="resources: {memory: 64MB..256MB}")


def applied(stage: Stage) -> bool:
    """Whether the server takes a change now: the same revision once more with another number of seconds to stop."""
    stage.stop_duration_s = 61 if stage.stop_duration_s == 60 else 60
    done = stage.stack.apply(document(stage), timeout_s=60)
    return done.returncode == 0


def refusal(stage: Stage, *words: str) -> str:
    """What an apply says that the server cannot take now; empty when it takes it, or says none of the words."""
    done = stage.stack.apply(document(stage).replace(f"name: {stage.name}", "name: refused"), "-d", timeout_s=60)
    said = done.stdout + done.stderr
    return said if done.returncode and all(word in said for word in words) else ""


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """SIGSTOP, and SIGCONT at the end."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not a byte is left on the disk of this folder, until the end. Only for one that is small."""
    place = os.statvfs(folder)
    assert place.f_blocks * place.f_frsize < 1 << 30, f"{folder} is not on a small disk of its own"
    filler = folder / FILLER
    with filler.open("wb", buffering=0) as file:
        with suppress_full():
            while True:
                file.write(b"0" * (1 << 16))
        with suppress_full():
            while True:
                file.write(b"0")
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def suppress_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def until_connected(stage: Stage) -> bool:
    """For `until`: the host is connected, and the server says so."""
    done = stage.stack.homeport("fleet", "list", "--json")
    return done.returncode == 0 and '"connected"' in done.stdout
