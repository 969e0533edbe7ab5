"""`doctor --host`: every look at this host in its order, each with a deadline, and what it says.

Covers order and deadlines. Does not cover how is looked (machine, container, gpus) nor the judging (checks).
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import docker

from homeport_agent.engine import faults
from homeport_agent.engine.base import EngineError
from homeport_agent.envoy import admin
from homeport_agent.envoy.host import run_dir
from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.nvml import NvmlGpus
from homeport_agent.journal import decode
from homeport_agent.model import GatewayRole
from homeport_agent.preflight import checks, container, machine
from homeport_agent.preflight.checks import Check, PciGpu
from homeport_agent.preflight.machine import Machine
from homeport_agent.settings import AgentSettings

LOOK_S = 5.0
NVML_S = 15.0  # it has a deadline of its own, and says what hangs
DOCKER_S = 10.0
TRIAL_S = 60.0  # an image, a container and a hook on a slow disk
Found = TypeVar("Found")


def examine(settings: AgentSettings, here: Machine) -> Iterator[Check]:
    """The findings, as they are found; what cannot be looked at because of one before it is left out."""
    slots, sample = here.gpu_slots(), _sample()
    yield checks.gpus(slots, sample)
    version = here.driver_version()
    if slots or sample.gpus:
        yield from _gpus(slots, sample, version, here)
    if settings.docker_socket is not None:
        yield from _docker(settings.docker_socket, [it.uuid for it in sample.gpus if not it.mig_enabled])
    yield checks.clock(machine.is_clock_synchronised())
    yield from _ports(settings)


def within(limit_s: float, look: Callable[[], Found]) -> Found:
    """`look()`; TimeoutError when it takes longer: the thread that hangs is left to itself."""
    found: list[Found] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            found.append(look())
        except Exception as error:  # raised again where it is waited for
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit_s)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError(f"no answer within {limit_s:g} s")
    return found[0]


def _sample() -> GpuSample:
    async def once() -> GpuSample:
        gpus = NvmlGpus()
        try:
            return await gpus.sample()
        finally:
            await gpus.close()

    try:
        return within(NVML_S, lambda: asyncio.run(once()))
    except TimeoutError:
        return GpuSample(
            unavailable=f"the NVIDIA driver does not answer within {NVML_S:g} s (NVML hangs)", driver_trouble="hung"
        )


def _gpus(slots: tuple[PciGpu, ...], sample: GpuSample, version: str, here: Machine) -> Iterator[Check]:
    # Where NVML answers about GPUs that no slot shows (a virtual machine of Windows, a board without PCI) there is a driver.
    if slots or version:
        yield checks.driver(slots, version, has_nouveau=here.has_nouveau())
    if not slots or any(it.driver != "vfio-pci" for it in slots):
        yield checks.nvml(slots, sample, version)
    yield from checks.modes(checks.whole(sample))
    yield checks.kernel_log(here.kernel_log_problem())


def _docker(socket_path: str, usable: list[str]) -> Iterator[Check]:
    try:
        info = _docker_info(socket_path)
    except EngineError as error:
        yield Check("fail", "Docker", str(error))
        return
    yield checks.docker(info)
    if usable:
        yield _trial(socket_path, usable[0])
    yield _disk(str(info.get("DockerRootDir") or "/var/lib/docker"))


def _docker_info(socket_path: str) -> dict[str, Any]:
    """Raises EngineError."""

    def ask() -> dict[str, Any]:
        client = docker.APIClient(f"unix://{socket_path}", version="auto", timeout=int(DOCKER_S))
        try:
            answer: dict[str, Any] = client.info()
            return answer
        finally:
            client.close()

    try:
        return within(DOCKER_S, ask)
    except Exception as error:  # whatever the client raises means one of the engine's faults
        raise faults.of_call(error, socket_path) from None


def _trial(socket_path: str, gpu_uuid: str) -> Check:
    try:
        refused = within(TRIAL_S, lambda: asyncio.run(container.refusal(socket_path, gpu_uuid)))
    except TimeoutError as error:
        refused = f"Docker did not start a container with a GPU: {error}"
    return checks.containers(refused, gpu_uuid)


def _disk(path: str) -> Check:
    try:
        free_mib, total_mib = within(LOOK_S, lambda: machine.disk(path))
    except OSError as error:  # a TimeoutError too
        return Check("warn", "disk", f"{path}: {error.strerror or error}")
    return checks.disk(path, free_mib, total_mib)


def _ports(settings: AgentSettings) -> Iterator[Check]:
    """One for each place where a gateway of this host listens; one that says that it is none."""
    roles = _roles(settings)
    if not roles:
        yield checks.port(None, "", is_ours=False)
    for role in roles:
        state = admin.look(run_dir(settings.state_dir, role.name))
        for place in role.places:
            is_ours = state is not None and place in state.listening
            yield checks.port(place, "" if is_ours else admin.port_problem(*place), is_ours=is_ours)


def _roles(settings: AgentSettings) -> tuple[GatewayRole, ...]:
    """As the agent was told last. Its own reading moves a broken file aside; a look changes nothing."""
    try:
        return decode((settings.state_dir / "journal.json").read_bytes()).assignment.gateways
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ()
