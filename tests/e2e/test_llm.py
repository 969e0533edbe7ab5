"""examples/llm-cpu as its README says: the image is made, applied, and the official openai client is streamed a real answer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rig.stack import Stack

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.nightly]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "llm-cpu"
BUILD_S = 600  # two archives are asked, and 250 MB come


# Browsers and curl know `*.localhost` by themselves, Python only where its system does: as docs/gateways.md says, by a line.
WITH_HOSTS = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')


def test_a_real_model_answers_the_openai_client_through_the_gateway(homeport: Stack, tmp_path: Path) -> None:
    built = subprocess.run(
        [EXAMPLE / "build-image.sh"], env={**os.environ, "PYTHON": "/usr/bin/python3"}, capture_output=True, text=True,
        timeout=BUILD_S, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    done = homeport.apply((EXAMPLE / "llm.homeport.yml").read_text())
    assert done.returncode == 0, done.stderr
    token = homeport.homeport("token", "create", "chat", "--role", "service", "--service", "llm").stdout.strip()
    (hosts := tmp_path / "hosts").write_text("127.0.0.1 localhost gateway.localhost\n")
    asked = subprocess.run(
        [*WITH_HOSTS, hosts, sys.executable, "-P", EXAMPLE / "chat.py", "What is a harbour?"],
        env={"OPENAI_API_KEY": token, "OPENAI_BASE_URL": f"http://gateway.localhost:{homeport.gateway_port}/v1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    print(asked.stdout)
    assert asked.returncode == 0, asked.stderr
    assert len(asked.stdout.split()) > 3
