"""web/agent_wheel: a wheel that pip takes, the same bytes each time, with the agent and nothing of the server."""

import io
import zipfile
from pathlib import Path

from homeport_control.web.agent_wheel import build_wheel
from homeport_control.web.downloads import collect


def test_it_holds_agent_command_line_and_protocol_and_nothing_of_the_server() -> None:
    name, content = build_wheel()
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        names = wheel.namelist()
        [record] = [it for it in names if it.endswith("RECORD")]
        recorded = {line.split(",")[0] for line in wheel.read(record).decode().splitlines()}
    assert name.startswith("homeport-")
    assert "homeport_agent/__main__.py" in names
    assert "homeport_agent/envoy/supervisor.sh" in names
    assert {"homeport_cli/main.py", "homeport/client.py", "homeport/py.typed"} <= set(names)
    assert {it.split("/")[0].split("-")[0] for it in names} == {
        "homeport_agent", "homeport_cli", "homeport_protos", "homeport",
    }  # fmt: skip
    assert recorded == set(names)


def test_the_same_packages_give_the_same_build(tmp_path: Path) -> None:
    assert collect("1", tmp_path, 7401).build == collect("1", tmp_path, 7401).build
