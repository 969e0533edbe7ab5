"""examples/: each file is planned as it stands, and finds a host that it was written for."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from fixtures.control import State, get_host
from fixtures.plane import Api
from homeport_control.domain.hosts import Gpu
from homeport_control.store import hosts
from homeport_protos.api.v1 import api_pb2

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"
FILES = sorted(EXAMPLES.glob("*/*.homeport.yml"))
DOCUMENTS = {file: yaml.safe_load(file.read_text()) for file in FILES}
SERVICES = [file for file, document in DOCUMENTS.items() if document["type"] == "service"]
ENV = {"HF_TOKEN": "hf_one", "REGISTRY_PASSWORD": "secret"}


@pytest.fixture(autouse=True)
async def a_host_with_gpus(state: State, plane: object) -> None:
    facts = (await get_host(state, "h1")).facts
    gpus = tuple(Gpu(f"GPU-{index}", "NVIDIA L40S", 46068, compute_capability="8.9") for index in range(2))
    roomy = replace(facts, gpus=gpus, cpus=64, memory_mib=1 << 19, memory_available_mib=1 << 19)
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"facts": roomy})


@pytest.mark.parametrize("file", SERVICES, ids=lambda file: file.parent.name)
async def test_it_is_planned_and_there_is_an_offer(user: Api, file: Path) -> None:
    document = api_pb2.Document(json=json.dumps(DOCUMENTS[file]), env=ENV)
    planned = await user("Plan", api_pb2.PlanRequest(document=document))
    assert [problem.message for problem in planned.problems] == []
    assert planned.action == "create"
    assert [offer.host for offer in planned.offers] == ["h1"]
    assert "secret" not in str(planned)
    assert "hf_one" not in str(planned)


def test_every_example_has_a_readme_that_names_its_file() -> None:
    folders = {file.parent for file in FILES}
    assert len(folders) >= 11
    assert [file.name for file in FILES if file.name not in (file.parent / "README.md").read_text()] == []


@pytest.mark.parametrize("file", [it for it in FILES if it not in SERVICES], ids=lambda file: file.parent.name)
async def test_a_fleet_is_right(admin: Api, file: Path) -> None:
    asked = api_pb2.PlanFleetRequest(json=json.dumps(DOCUMENTS[file]))
    planned = await admin("PlanFleet", asked)
    assert [problem.message for problem in planned.problems] == []
    assert planned.name == "lab"


def test_the_compose_file_names_what_is_there() -> None:
    folder = EXAMPLES / "compose"
    compose = yaml.safe_load((folder / "compose.yml").read_text())
    server = compose["services"]["server"]
    assert (folder / server["build"]["context"] / server["build"]["dockerfile"]).is_file()
    assert {it.partition(":")[0] for it in server["volumes"]} <= compose["volumes"].keys()
    assert set(server["secrets"]) <= compose["secrets"].keys()
