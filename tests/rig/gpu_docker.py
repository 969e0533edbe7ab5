"""A Docker engine of its own whose containers can be given GPUs, on a machine without any.

Its PATH holds a stand-in of NVIDIA's hook (`nvidia_hook.py`), so it registers the driver `nvidia`, runs the hook before
each container's program, and refuses what the hook refuses. No network and no images: for what is asked of the engine.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOOK = Path(__file__).with_name("nvidia_hook.py")
STARTS_S = 30.0


@dataclass(frozen=True)
class GpuDocker:
    folder: Path

    @property
    def socket(self) -> str:
        return str(self.folder / "docker.sock")

    def know(self, *uuids: str) -> None:
        """The GPUs that its hook gives from now on."""
        (self.folder / "gpus").write_text("\n".join(uuids))

    def break_driver(self, words: str) -> None:
        """What the hook says from now on instead of giving anything; empty: nothing."""
        (self.folder / "broken").write_text(words)

    def given(self) -> list[str]:
        """What each container was given, in the order of their starts."""
        log = self.folder / "given.jsonl"
        return [json.loads(line)["visible"] for line in log.read_text().splitlines()] if log.exists() else []

    def docker(self, *arguments: str, data: bytes | None = None) -> str:
        command = ["/usr/bin/docker", "-H", f"unix://{self.socket}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, timeout=60, input=data).stdout.decode()


@contextmanager
def gpu_docker(*uuids: str, has_hook: bool = True) -> Iterator[GpuDocker]:
    """Needs root and Debian's docker.io. Without the hook: an engine without any NVIDIA support."""
    folder = Path(tempfile.mkdtemp(prefix="hp-gpu-"))  # short: containerd's sockets lie in it
    made = GpuDocker(folder)
    made.know(*uuids)
    hook = folder / "bin" / "nvidia-container-runtime-hook"
    hook.parent.mkdir()
    if has_hook:
        shutil.copy(HOOK, hook)
        hook.chmod(0o755)
    command = [
        # In a network namespace of its own: without a bridge it would remove the `docker0` of the machine's own engine.
        *("unshare", "--net", "/usr/sbin/dockerd", "--host", f"unix://{made.socket}", "--pidfile", str(folder / "pid")),
        *("--data-root", str(folder / "root"), "--exec-root", str(folder / "exec")),
        *("--bridge", "none", "--iptables=false", "--storage-driver", "vfs"),
    ]
    environment = {**os.environ, "PATH": f"{hook.parent}:{os.environ['PATH']}", "FAKE_HOOK": str(folder)}
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait(made, daemon)
        yield made
    finally:
        daemon.terminate()
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(made: GpuDocker, daemon: "subprocess.Popen[bytes]") -> None:
    end_s = time.monotonic() + STARTS_S
    while "API listen on" not in (text := (made.folder / "log").read_text()):
        if daemon.poll() is not None or time.monotonic() > end_s:
            raise RuntimeError(f"dockerd did not start: {text[-2000:]}")
        time.sleep(0.05)
