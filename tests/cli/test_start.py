"""What a command loads before it does anything: the reason why `--help` is quick, without a clock (tests/bench has that)."""

import subprocess
import sys

import pytest

HEAVY = {"grpc", "google.protobuf", "rich", "yaml", "asyncio", "ssl", "http.client", "homeport_protos.api.v1.api_pb2"}
SCRIPT = """
import atexit, sys
sys.argv = ["homeport", *{arguments!r}]
loaded = set(sys.modules)
from homeport_cli.main import app
try:
    app(prog_name="homeport")
except SystemExit:
    pass
print(" ".join(sorted(set(sys.modules) - loaded)), file=sys.stderr)
"""


def loaded_by(*arguments: str) -> set[str]:
    command = [sys.executable, "-P", "-c", SCRIPT.format(arguments=list(arguments))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["schema"], ["completion", "bash"]], ids=" ".join)
def test_what_asks_no_server_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_by(*arguments) & HEAVY == set()


def test_the_list_of_verbs_loads_none_of_them() -> None:
    assert not [name for name in loaded_by("--help") if name.startswith("homeport_cli.commands.")]


def test_a_verb_loads_no_other_verb() -> None:
    found = {name for name in loaded_by("stop", "--help") if name.startswith("homeport_cli.commands.")}
    assert found == {"homeport_cli.commands.stop"}
