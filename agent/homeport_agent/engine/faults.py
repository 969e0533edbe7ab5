"""What Docker's errors mean: its texts and status codes in, one EngineError with a sentence for a user out.

Covers only the meaning. Docker gives no error codes, so its words must be matched, unfortunately; each was seen on
engine 20.10 (some on 26.1 and 28.5 too). See also base, which draws the tree.
"""

import os
import re
import shutil
from pathlib import Path

import requests
from docker.errors import APIError, DockerException

from homeport_agent.engine.base import (
    BadContainer,
    EngineDown,
    EngineError,
    EngineHung,
    GpuRefused,
    ImageNotFound,
    NoSpace,
    NoSuchContainer,
    PullDenied,
    RegistryUnreachable,
)

_UNREACHABLE = (
    "connection refused",
    "no such host",
    "i/o timeout",
    "unexpected eof",
    "connection reset",
    "tls handshake timeout",
    "client.timeout",
    "context deadline exceeded",
    "no route to host",
    "network is unreachable",
    "server misbehaving",
    "temporary failure in name resolution",
    "x509:",
    "http response to https client",
    "toomanyrequests",
    "received unexpected http status: 5",
)
_FULL_BYTES = 1 << 20
_NOT_FOUND = ("manifest unknown", "not found", "no such image", "name unknown", "repository does not exist")
_DENIED = ("no basic auth credentials", "unauthorized", "authentication required", "denied")


def how_to_start_docker() -> str:
    """The command that starts Docker on this machine."""
    if Path("/run/systemd/system").is_dir():
        return "systemctl start docker"
    return "service docker start" if Path("/etc/init.d/docker").exists() else "dockerd"


def engine_down(socket_path: str, error: BaseException) -> EngineDown:
    """The engine cannot be reached at all."""
    text = str(error)
    if not os.path.exists(socket_path):
        why = "there is no such socket" if shutil.which("dockerd") else "Docker is not installed"
    elif "Permission denied" in text or "PermissionError" in text:
        return EngineDown(
            f"Docker does not answer at {socket_path}: permission denied; run the agent as root or in the group docker"
        )
    elif "Connection refused" in text or "ConnectionRefused" in text:
        why = "connection refused, it is not running"
    elif "aborted" in text or "RemoteDisconnected" in text or "reset" in text:
        why = "it closed the connection"
    else:
        why = " ".join(text.split())[:200]
    return EngineDown(f"Docker does not answer at {socket_path}: {why}; start it with: {how_to_start_docker()}")


def no_space(data_root: str, doing: str) -> NoSpace:
    """The disk is full: says how much is left, and what frees some."""
    try:
        free_mib = shutil.disk_usage(data_root).free // 2**20
        left = f"{free_mib} MiB free on {data_root}"
    except OSError:
        left = f"on {data_root}"
    return NoSpace(f"no space left on device while {doing} ({left}); free some, for example with: docker system prune")


def of_pull(image: str, text: str, data_root: str) -> EngineError:
    """What a failed pull means: the text of an API error, or of an error event inside a stream that began well."""
    low = text.lower()
    short = " ".join(text.split())[:300]
    if "no space left on device" in low:
        return no_space(data_root, f"pulling {image}")
    if any(word in low for word in _UNREACHABLE):
        return RegistryUnreachable(f"the registry of {image} cannot be reached: {short}")
    if "pull access denied" in low:
        return ImageNotFound(f"image {image} does not exist, or needs credentials: check its name or set registry_auth")
    if any(word in low for word in _DENIED):
        return PullDenied(f"the registry refused to give {image}: {short}; check registry_auth")
    if any(word in low for word in _NOT_FOUND):
        return ImageNotFound(f"image {image} does not exist: {short}; check its name and tag")
    if "invalid reference format" in low:
        return ImageNotFound(f"{image!r} is no valid image name: {short}")
    return EngineError(f"pulling {image} failed: {short}")


def of_container(image: str, text: str, data_root: str) -> EngineError:
    """What a failed create or start means."""
    low = text.lower()
    short = " ".join(text.split())[:300]
    program = re.search(r'exec: \\?"([^"\\]*)\\?"', text)
    name = program.group(1) if program else ""
    if "no space left on device" in low:
        return no_space(data_root, "starting the container")
    if of_gpus := _of_gpus(image, text):
        return of_gpus
    if "executable file not found" in low or ("exec:" in low and "no such file or directory" in low):
        return BadContainer(f"image {image} has no program {name!r}: check commands, entrypoint or shell")
    if "exec:" in low and "permission denied" in low:
        return BadContainer(f"{name!r} in image {image} may not be executed (permission denied)")
    if "no command specified" in low:
        return BadContainer(f"image {image} has no command of its own: set commands")
    if "unable to find user" in low or "unable to find group" in low:
        return BadContainer(f"image {image} does not know this user: {short}; check user")
    if "unable to apply caps" in low or "error setting rlimits" in low:
        return BadContainer(f"this machine may not give the container these rights: {short}")
    if "no such image" in low:
        return ImageNotFound(f"image {image} is not on this host any more")
    return EngineError(f"the container of {image} did not start: {short}")


def _of_gpus(image: str, text: str) -> EngineError | None:
    """What NVIDIA's tools say; None: nothing. All but one are faults of this host: another may run the same container."""
    low = text.lower()
    if "could not select device driver" in low:
        return GpuRefused("Docker has no NVIDIA support: install nvidia-container-toolkit and restart docker")
    if "cdi device injection failed" in low or "unresolvable cdi devices" in low:
        name = re.search(r"nvidia\.com/gpu=([^\s,:]+)", text)
        gpu = name.group(1) if name else "the GPU"
        return GpuRefused(
            f"Docker does not know {gpu}: its CDI specification is out of date; "
            "run `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"
        )
    if "nvidia-container-runtime-hook" in low and "no such file" in low:
        return GpuRefused("the NVIDIA container toolkit was removed under Docker: install it again and restart docker")
    said = re.search(r"nvidia-container-cli: (.*)", " ".join(text.split()))
    if said is None:
        return None
    words = said.group(1).removesuffix(": unknown").removesuffix(": unknown.")[:200]
    if "mount error" in low and "file exists" in low:  # libraries of a driver were baked into the image
        return BadContainer(f"image {image} has files of an NVIDIA driver in it, where the host's belong: {words}")
    if "driver/library version mismatch" in low:
        return GpuRefused(
            "the NVIDIA driver was updated while its old kernel module runs (driver/library version mismatch); "
            "reboot this host, or reload the module"
        )
    if "driver not loaded" in low or "libnvidia-ml" in low:
        return GpuRefused(f"the NVIDIA driver is not loaded: {words}; look at `nvidia-smi` there")
    if unknown := re.search(r"device error: (\S+): unknown device", words):
        return GpuRefused(f"{unknown.group(1)} is not there any more, says NVIDIA's container tool")
    if "requirement error" in low:
        return GpuRefused(f"this host's NVIDIA driver is too old for image {image}: {words}; update the driver")
    return GpuRefused(f"NVIDIA's container tool refused: {words}")


def of_put(text: str, data_root: str) -> EngineError:
    """What it means that files could not be put in a container."""
    short = " ".join(text.split())[:300]
    if "no space left on device" in text.lower() or "disk quota exceeded" in text.lower():
        return no_space(data_root, "laying files in a container")
    return EngineError(f"files could not be laid in the container: {short}")


def is_full(data_root: str) -> bool:
    try:
        return shutil.disk_usage(data_root).free < _FULL_BYTES
    except OSError:
        return False


def of_call(error: Exception, socket_path: str) -> EngineError:
    """What any other failed call means."""
    if isinstance(error, EngineError):
        return error
    if isinstance(error, requests.exceptions.Timeout | TimeoutError):
        return EngineHung("Docker took a call and did not answer in time; look at its log, or restart it")
    if isinstance(error, APIError):
        text = str(error.explanation or error)
        if error.status_code == 404 and "no such container" in text.lower():
            return NoSuchContainer(text)
        if "dead or marked for removal" in text.lower():  # as good as gone; what it wrote is kept already
            return NoSuchContainer(text)
        if "no space left on device" in text.lower():
            return no_space("/", "working")
        return EngineError(f"Docker refused: {' '.join(text.split())[:300]}")
    if isinstance(error, requests.exceptions.ConnectionError | DockerException | OSError):
        return engine_down(socket_path, error)
    return EngineError(f"Docker: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
