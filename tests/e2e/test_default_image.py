"""A service without `image`: in the default image, made on this machine by `homeport image build`; and when nobody has it."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from homeport_cli.images import build, suites
from rig.stack import Stack, stack, wait_for
from rig.traffic import get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

CACHE = Path(os.environ.get("HOMEPORT_TEST_CACHE", "/var/cache/homeport-tests"))
RECIPE = hashlib.sha256(b"".join(Path(str(it.__file__)).read_bytes() for it in (build, suites))).hexdigest()[:12]
TEMPLATE = f"homeport-test/base:py{{python}}{{variant}}-{RECIPE}"
IMAGE = TEMPLATE.format(python="3.11", variant="")

SERVICE = """
type: service
name: %s
python: "%s"
commands:
  - python -V
  - exec python -m http.server 8000
port: 8000
auth: false
stop_duration: 2s
"""


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def homeport(images: None) -> Iterator[Stack]:
    """With the default image, made once per machine and recipe: a minute, and needs Debian's archive."""
    kept = CACHE / f"base-py3.11-{RECIPE}.tar"
    if docker("image", "inspect", IMAGE).returncode != 0 and (
        not kept.exists() or docker("load", "-i", str(kept)).returncode
    ):
        homeport = str(Path(sys.executable).parent / "homeport")
        command = [homeport, "image", "build", "--python", "3.11", "--tag", IMAGE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == IMAGE
        assert docker("save", "-o", f"{kept}.new", IMAGE).returncode == 0
        Path(f"{kept}.new").replace(kept)
    with stack(server_flags=["--base-image", TEMPLATE]) as made:
        yield made


def test_python_alone_is_enough(homeport: Stack) -> None:
    done = homeport.apply(SERVICE % ("plain", "3.11"))
    assert done.returncode == 0, done.stderr
    assert IMAGE in done.stdout + done.stderr, "the plan says which image it is"
    assert get(homeport.gateway_port, "plain")[0] == 200
    assert "Python 3.11" in homeport.homeport("logs", "plain").stdout


@pytest.mark.parametrize("program", ["pip", "uv", "git", "curl"])
def test_the_image_has_what_its_page_says(homeport: Stack, program: str) -> None:
    done = docker("run", "--rm", IMAGE, program, "--version")
    assert done.returncode == 0, done.stderr
    assert docker("run", "--rm", IMAGE, "pwd").stdout.strip() == "/workflow"


def test_an_image_that_nobody_has_says_how_to_make_it(homeport: Stack) -> None:
    done = homeport.apply(SERVICE % ("absent", "3.13"), "-d")
    assert done.returncode == 0, done.stderr

    def told() -> str:
        run = homeport.run("absent")
        said = [str(run.get("reason", "")), *(str(it.get("message", "")) for it in run.get("replicas", []))]
        return next((text for text in said if "homeport image build" in text), "")

    message = wait_for("it says what to do", told, 90)
    assert TEMPLATE.format(python="3.13", variant="") in message
    assert "`homeport image build --python 3.13`" in message
    assert homeport.homeport("stop", "absent", "-x", "-y").returncode == 0
