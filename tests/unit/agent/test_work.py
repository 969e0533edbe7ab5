from pathlib import Path

import pytest
from fakes.agent import replica
from fakes.code import FakeCode
from fakes.engine import FakeEngine
from homeport_agent import events as ev
from homeport_agent import instructions as do
from homeport_agent.engine.base import BadContainer, EngineError, ImageNotFound, RegistryUnreachable
from homeport_agent.model import Volume
from homeport_agent.work import Work, container_spec, has_registry


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("hello:1", False),
        ("library/hello", False),
        ("localhost/hello", True),
        ("reg.example/hello:1", True),
        ("10.0.0.1:5000/hello", True),
        ("me/hello:1.2", False),
    ],
)
def test_an_image_says_in_its_first_part_whether_it_has_a_registry(image: str, expected: bool) -> None:
    assert has_registry(image) is expected


def test_a_missing_host_path_is_left_out_when_it_is_optional(tmp_path: Path) -> None:
    there, gone = Volume(str(tmp_path), "/data"), Volume(str(tmp_path / "x"), "/x", optional=True)
    spec = container_spec(replica(volumes=(there, gone, Volume("named", "/n"))), "server-1")
    assert spec.binds == ((str(tmp_path), "/data"), ("homeport-server-1-named", "/n"))


def test_a_named_volume_is_made_for_its_server_and_carries_its_name() -> None:
    twice = (Volume("data", "/a"), Volume("data", "/b"))
    spec = container_spec(replica(volumes=twice), "server-1")
    assert spec.binds == (("homeport-server-1-data", "/a"), ("homeport-server-1-data", "/b"))
    (volume,) = spec.volumes
    assert volume.name == "homeport-server-1-data"
    assert dict(volume.labels) == {"homeport.server": "server-1", "homeport.volume": "data"}
    assert container_spec(replica(volumes=twice), "server-2").volumes[0].name != volume.name


@pytest.mark.parametrize("error", [ImageNotFound("no such tag"), RegistryUnreachable("no way there")])
async def test_an_image_that_nobody_has_is_told_with_what_to_do(error: EngineError) -> None:
    engine = FakeEngine(set(), {})
    engine.registry["homeport/base:py3.12"] = error
    work = Work(engine, "server-1", lambda event: None, FakeCode())
    for hint, said in (("run `homeport image build`", "run `homeport image build`"), ("", str(error))):
        assigned = replica("r1", image="homeport/base:py3.12", image_hint=hint)
        answer = await work.perform(do.PullImage("r1", assigned))
        assert isinstance(answer, ev.PullFailed)
        assert said in answer.message


def test_a_missing_host_path_that_is_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadContainer, match="does not exist on this host"):
        container_spec(replica(volumes=(Volume(str(tmp_path / "x"), "/x"),)), "server-1")


def test_a_container_carries_what_finds_it_again() -> None:
    spec = container_spec(replica("r9", run_name="web", revision=4, index=2), "server-1")
    assert dict(spec.labels) == {
        "homeport.server": "server-1",
        "homeport.replica": "r9",
        "homeport.run": "web",
        "homeport.revision": "4",
        "homeport.index": "2",
        "homeport.port": "8000",
    }
