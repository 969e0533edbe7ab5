"""PURE: what `doctor --host` says of what was found on this host: facts in, a line with a state, a reason and a fix out.

Does not cover the finding of the facts (machine, container) nor their order (examine). The shape of a check is the
command line's own, which shows them like its other ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from homeport_protos.gpu_memory import gigabytes

from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Gpu

State = Literal["ok", "warn", "fail"]
OLDEST_DOCKER = (20, 10)
DISK_FAIL_MIB, DISK_WARN_MIB = 2 * 1024, 20 * 1024  # a CUDA image alone has 5 to 20 GB
SLOW_STORAGE = frozenset({"vfs", "devicemapper", "aufs"})


@dataclass(frozen=True, slots=True)
class Check:
    state: State
    what: str
    why: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.state:4}  {self.what:13}  — {self.why}" + (f"; {self.do}" if self.do else "")


@dataclass(frozen=True, slots=True)
class PciGpu:
    """A GPU of NVIDIA's in a slot, whether or not anything drives it."""

    address: str  # "0000:3b:00.0"
    driver: str = ""  # the kernel driver that has it: "nvidia", "nouveau", "vfio-pci"; empty: none


def gpus(slots: Sequence[PciGpu], sample: GpuSample) -> Check:
    if not slots and not sample.gpus:
        return Check("ok", "GPUs", "none in this machine")
    models = ", ".join(f"{it.name} ({gigabytes(it.memory_total_mib)})" for it in whole(sample)) or "of NVIDIA's"
    count = len(slots) or len(whole(sample))
    return Check("ok", "GPUs", f"{count} in this machine: {models}")


def whole(sample: GpuSample) -> list[Gpu]:
    """Without the instances that they are cut into."""
    return [it for it in sample.gpus if not it.mig_parent]


def driver(slots: Sequence[PciGpu], version: str, *, has_nouveau: bool) -> Check:
    """`version`: of the loaded kernel module; empty when there is none."""
    what = "driver"
    if version:
        if any(it.driver == "nouveau" for it in slots):
            return Check("fail", what, f"NVIDIA {version} is loaded, but nouveau holds a GPU", _no_nouveau())
        return Check("ok", what, f"NVIDIA {version} is loaded")
    if has_nouveau:
        return Check("fail", what, "nouveau drives the GPUs, and it cannot compute", _no_nouveau())
    away = [it for it in slots if it.driver == "vfio-pci"]
    if away and len(away) == len(slots):
        return Check(
            "warn", what, f"{len(away)} GPUs are given to virtual machines (vfio-pci)", "none of them is offered here"
        )
    return Check(
        "fail",
        what,
        f"{len(slots)} GPUs and no NVIDIA driver loaded",
        "install it (`apt install nvidia-driver`, or NVIDIA's own package), then reboot; with it installed: "
        "`modprobe nvidia`",
    )


def _no_nouveau() -> str:
    return (
        "`echo 'blacklist nouveau' > /etc/modprobe.d/homeport-nouveau.conf`, `update-initramfs -u`, "
        "install NVIDIA's driver and reboot"
    )


def nvml(slots: Sequence[PciGpu], sample: GpuSample, module_version: str) -> Check:
    """Whether NVIDIA's management library answers, for the same driver, about every GPU."""
    what, count = "NVML", len(whole(sample))
    if sample.driver_trouble == "mismatch":
        return Check("fail", what, sample.unavailable, "reboot: the driver was updated while its old module runs")
    if sample.driver_trouble == "hung":
        return Check("fail", what, sample.unavailable, "reboot; before that: `dmesg | grep -i nvrm`")
    if not count:
        return Check("fail", what, sample.unavailable or "it knows no GPU", "install the libraries of the same driver")
    said = sample.gpus[0].driver_version
    if module_version and said and said != module_version:
        return Check("fail", what, f"the library is of {said}, the module of {module_version}", "reboot")
    expected = sum(it.driver != "vfio-pci" for it in slots)
    troubles = "; ".join(it.reason for it in sample.troubles) or sample.unavailable
    if count < expected or troubles:
        lost = troubles or "the others do not answer: fallen off the bus?"
        return Check("fail", what, f"{count} of {max(expected, count)} GPUs: {lost}", "`dmesg | grep -i nvrm`; reboot")
    return Check(
        "ok", what, f"answers, {count} GPUs" + (f", CUDA {cuda}" if (cuda := sample.gpus[0].cuda_version) else "")
    )


def modes(found: Sequence[Gpu]) -> Iterator[Check]:
    """Compute mode and persistence mode."""
    by_mode: dict[str, list[str]] = {}
    for gpu in found:
        by_mode.setdefault(gpu.compute_mode.lower().replace("_", "-"), []).append(gpu.uuid)
    if barred := by_mode.get("prohibited"):
        yield Check("fail", "compute mode", f"prohibited on {_named(barred)}", "`nvidia-smi -c DEFAULT`")
    elif single := by_mode.get("exclusive-process"):
        why = f"exclusive-process on {_named(single)}: shared replicas cannot start beside each other"
        yield Check("warn", "compute mode", why, "`nvidia-smi -c DEFAULT`")
    elif any(by_mode):
        yield Check("ok", "compute mode", "default")
    if off := [it.uuid for it in found if it.persistence_mode is False]:
        why = f"off on {_named(off)}: each first start waits for the driver"
        yield Check("warn", "persistence", why, "`nvidia-smi -pm 1`, or enable nvidia-persistenced")
    elif any(it.persistence_mode for it in found):
        yield Check("ok", "persistence", "on")


def _named(uuids: Sequence[str]) -> str:
    return ", ".join(uuids[:2]) + (f" and {len(uuids) - 2} more" if len(uuids) > 2 else "")


def docker(info: dict[str, Any]) -> Check:
    """Of the answer of `docker info`."""
    what, version = "Docker", str(info.get("ServerVersion", ""))
    storage, cgroup = str(info.get("Driver", "")), str(info.get("CgroupVersion") or "1")
    numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:2] if part.isdecimal())
    why = f"{version}, storage {storage}, cgroup v{cgroup}"
    if numbers and numbers < OLDEST_DOCKER:
        return Check("fail", what, f"{why}: older than 20.10", "update it")
    if storage in SLOW_STORAGE:
        return Check("warn", what, f"{why}: {storage} copies whole images", "use overlay2")
    return Check("ok", what, why)


def containers(refused: str, gpu: str) -> Check:
    """`refused`: why a container could not get a GPU, with what to do; empty: it got `gpu`."""
    if refused:
        return Check("fail", "containers", refused)
    return Check("ok", "containers", f"a container gets {gpu}")


def disk(path: str, free_mib: int, total_mib: int) -> Check:
    why = f"{gigabytes(free_mib)} of {gigabytes(total_mib)} free at {path}"
    state: State = "fail" if free_mib < DISK_FAIL_MIB else "warn" if free_mib < DISK_WARN_MIB else "ok"
    return Check(
        state, "disk", why, "" if state == "ok" else "images need more: `docker system prune`, or a larger disk"
    )


def clock(is_synchronised: bool | None) -> Check:
    """None: the kernel does not say."""
    if is_synchronised:
        return Check("ok", "clock", "synchronised")
    why = "nothing keeps it right" if is_synchronised is False else "the kernel does not say whether it is synchronised"
    do = "`timedatectl set-ntp true`, or install chrony: certificates are refused when it is off by minutes"
    return Check("warn", "clock", why, do)


def port(listens: tuple[str, int] | None, problem: str, *, is_ours: bool) -> Check:
    """`listens`: where this host's gateway does, if it is one."""
    if listens is None:
        return Check("ok", "ports", "this host is no gateway: it needs none but those that Docker picks")
    place = f"{listens[0]}:{listens[1]}"
    if is_ours:
        return Check("ok", "ports", f"the gateway listens on {place}")
    return Check("fail", "ports", problem) if problem else Check("ok", "ports", f"{place} is free for the gateway")


def kernel_log(problem: str) -> Check:
    if problem:
        do = "run the agent as root: without it XIDs of a driver that hangs go unseen"
        return Check("warn", "kernel log", f"cannot be read: {problem}", do)
    return Check("ok", "kernel log", "can be read for XIDs")
