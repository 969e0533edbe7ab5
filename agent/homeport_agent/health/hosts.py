"""What one look at the host tells against it. Pure.

A driver that does not work fails each GPU (signs) and only warns of the host: what needs no GPU goes on there.
"""

from collections.abc import Iterator

from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Severity
from homeport_agent.health.model import HostLook, Sign
from homeport_agent.health.signs import DRIVER

DOCKER_S = 15.0  # an engine that is restarted by its update is back within it
# The kubelet evicts below 10 %; of a large disk that is much, so 20 GiB (one large image and its unpacking) will do.
DISK_SHARE, DISK_MIB = 0.10, 20 * 1024
CLOCK_S = 5.0  # certificates begin 5 minutes early, but logs and times of events are wrong before that
LASTS_S = 10.0


def of_host(sample: GpuSample, host: HostLook, known: int) -> Iterator[Sign]:
    """`known`: how many GPUs were ever seen here and were not taken out."""
    if host.docker_unavailable:
        action = "start it (systemctl start docker), look at journalctl -u docker"
        yield Sign(
            "docker", f"Docker does not answer: {host.docker_unavailable}", action, after_s=DOCKER_S, ends_after_s=5
        )
    if host.disk_total_mib and host.disk_free_mib < min(DISK_SHARE * host.disk_total_mib, DISK_MIB):
        free, total = f"{host.disk_free_mib / 1024:.1f}", f"{host.disk_total_mib / 1024:.1f}"
        reason = f"{free} of {total} GiB are free on the disk of Docker's root"
        yield _warning("disk", reason, "remove what is not needed: docker system df, docker image prune")
    if host.clock_offset_s is not None and abs(host.clock_offset_s) > CLOCK_S:
        side = "ahead of" if host.clock_offset_s > 0 else "behind"
        reason = f"its clock is {abs(host.clock_offset_s):.0f} s {side} the server's: certificates may fail"
        yield _warning("clock", reason, "set it: timedatectl set-ntp true")
    if sample.driver_trouble and (known or sample.driver_trouble != "not-loaded"):
        code, action = DRIVER.get(sample.driver_trouble, (f"driver-{sample.driver_trouble}", "look at dmesg"))
        yield _warning(code, sample.unavailable, action)
    unnamed = [it for it in sample.troubles if not it.uuid]
    # One that was known before the agent was started is missing, and said so with its name.
    strange = len(unnamed) - (known - len(sample.gpus) - (len(sample.troubles) - len(unnamed)))
    if unnamed and strange > 0:
        reason = f"{strange} {'GPU has' if strange == 1 else 'GPUs have'} never answered: {unnamed[0].reason}"
        yield _warning("gpu-unknown", reason, "look at the kernel log (dmesg) and nvidia-smi -L")


def _warning(code: str, reason: str, action: str) -> Sign:
    return Sign(code, reason, action, Severity.WARNING, after_s=LASTS_S, ends_after_s=60.0)
