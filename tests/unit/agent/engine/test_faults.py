import pytest
from docker.errors import APIError
from homeport_agent.engine import faults
from homeport_agent.engine.base import BadContainer, EngineError, GpuRefused, ImageNotFound, NoSpace, NoSuchContainer

RUNC = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (RUNC + 'exec: "serve": executable file not found in $PATH: unknown', BadContainer, "has no program 'serve'"),
        (RUNC + 'exec: "/run.sh": no such file or directory: unknown', BadContainer, "has no program '/run.sh'"),
        (RUNC + 'exec: "/etc": permission denied: unknown', BadContainer, "may not be executed"),
        ("No command specified", BadContainer, "set commands"),
        ("unable to find user ghost: no matching entries in passwd file", BadContainer, "check user"),
        (RUNC + "unable to apply caps: operation not permitted: unknown", BadContainer, "may not give the container"),
        ("error creating overlay mount: no space left on device", NoSpace, "docker system prune"),
        ("No such image: app:1", ImageNotFound, "app:1"),
        ("something that nobody has seen", EngineError, "something that nobody has seen"),
    ],
)
def test_a_container_that_does_not_start_says_why_and_what_to_do(text: str, kind: type[EngineError], says: str) -> None:
    error = faults.of_container("app:1", text, "/")
    assert type(error) is kind
    assert says in str(error)


def test_no_words_of_docker_make_more_than_a_line() -> None:
    assert "\n" not in str(faults.of_pull("app:1", "a\nb\n" * 500, "/"))
    assert len(str(faults.of_pull("app:1", "a\nb\n" * 500, "/"))) < 400


def test_a_socket_without_permission_says_so(tmp_path: object) -> None:
    error = faults.engine_down("/", PermissionError(13, "Permission denied"))
    assert "permission denied" in str(error)
    assert "group docker" in str(error)


def test_a_disk_that_fills_up_while_files_are_laid_is_told_with_what_frees_some() -> None:
    full = faults.of_put("Error processing tar file(exit status 1): write /workflow/a: no space left on device", "/")
    assert isinstance(full, NoSpace)
    assert "while laying files in a container" in str(full)
    other = faults.of_put("something\n odd", "/")
    assert str(other) == "files could not be laid in the container: something odd"
    assert other.can_heal


def test_a_container_that_is_being_removed_is_there_no_more() -> None:
    said = "can not get logs from container which is dead or marked for removal"
    error = faults.of_call(APIError("409 Conflict", explanation=said), "/")
    assert isinstance(error, NoSuchContainer)


HOOK = (
    RUNC + "error during container init: error running hook #0: error running hook: exit status 1, stdout: , stderr: "
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            'could not select device driver "nvidia" with capabilities: [[gpu]]',
            "Docker has no NVIDIA support: install nvidia-container-toolkit and restart docker",
        ),
        (
            HOOK + "nvidia-container-cli: device error: GPU-3f2a: unknown device: unknown",
            "GPU-3f2a is not there any more, says NVIDIA's container tool",
        ),
        (
            HOOK + "Auto-detected mode as 'legacy'\nnvidia-container-cli: initialization error: nvml error: "
            "driver/library version mismatch: unknown.",
            "the NVIDIA driver was updated while its old kernel module runs (driver/library version mismatch); "
            "reboot this host, or reload the module",
        ),
        (
            HOOK + "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown",
            "the NVIDIA driver is not loaded: initialization error: nvml error: driver not loaded; "
            "look at `nvidia-smi` there",
        ),
        (
            HOOK + "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.4: unknown",
            "this host's NVIDIA driver is too old for image app:1: requirement error: unsatisfied condition: "
            "cuda>=12.4; update the driver",
        ),
        (
            HOOK + "nvidia-container-cli: detection error: nvml error: gpu is lost: unknown",
            "NVIDIA's container tool refused: detection error: nvml error: gpu is lost",
        ),
        (
            "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=GPU-3f2a",
            "Docker does not know GPU-3f2a: its CDI specification is out of date; "
            "run `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`",
        ),
        (
            RUNC + "error running hook #0: fork/exec /usr/bin/nvidia-container-runtime-hook: no such file or directory",
            "the NVIDIA container toolkit was removed under Docker: install it again and restart docker",
        ),
    ],
)
def test_a_gpu_that_the_host_cannot_give_is_the_hosts_fault_with_what_to_do(text: str, says: str) -> None:
    error = faults.of_container("app:1", text, "/")
    assert (type(error), str(error), error.can_heal) == (GpuRefused, says, False)


def test_an_image_with_a_driver_in_it_is_the_images_own_fault() -> None:
    said = "nvidia-container-cli: mount error: file creation failed: /x/libnvidia-ml.so.1: file exists: unknown"
    assert type(faults.of_container("app:1", HOOK + said, "/")) is BadContainer
