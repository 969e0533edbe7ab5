"""examples/hello over REST: docs/rest.md does what it says with curl, on a real server, agent, Envoy and Docker."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from rig.stack import Stack, wait_for
from rig.traffic import get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "rest.md").read_text(), re.DOTALL)


def shell(homeport: Stack, *blocks: str) -> str:
    """What the page's lines print."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "URL": f"https://127.0.0.1:{homeport.web_port}/api/v1",
        "CA": str(homeport.folder / "server" / "ca.pem"),
        "TOKEN": homeport.token,
    }
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "\n".join(blocks)],
        env=environment, cwd=homeport.documents, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answers(text: str) -> list[Any]:
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def test_the_page_applies_the_example_looks_at_it_and_stops_it(homeport: Stack) -> None:
    calls, apply, streams, stop = BLOCKS
    image = ["sh", str(ROOT / "examples" / "hello" / "build-image.sh")]
    subprocess.run(image, check=True, capture_output=True, timeout=120)
    file = json.loads(re.findall(r"<<'END'\n(.*?)END", apply, re.DOTALL)[0])["document"]["json"]
    assert file == yaml.safe_load((ROOT / "examples" / "hello" / "hello.homeport.yml").read_text())

    server, hosts, runs, plan, applied = answers(shell(homeport, calls, apply))
    assert (server["role"], [it["connection"] for it in hosts["hosts"]], runs["runs"]) == ("admin", ["connected"], [])
    assert (plan["problems"], plan["action"], applied["action"]) == ([], "create", "create")

    watch = 'api -N --max-time 60 "$URL/runs:watch?names=hello" | sed -n \'/"rolled_out":true/{p;q}\''
    (told,) = answers(shell(homeport, calls.partition("\n\n")[0], "set +o pipefail", watch))
    assert [it["in_rotation"] for it in told["runs"][0]["replicas"]] == [True]
    assert get(homeport.gateway_port, "hello", token=homeport.token)[0] == 200

    events = shell(homeport, calls.partition("\n\n")[0], streams)
    assert "user admin" in events
    assert answers(shell(homeport, calls.partition("\n\n")[0], stop)) == [
        {"stopping": ["hello"], "already_stopped": []}
    ]
    wait_for("hello has ended", lambda: homeport.run("hello")["state"] == "terminated")
