from pathlib import Path

import pytest
from fakes.agent import replica
from homeport_agent.engine.base import BadContainer
from homeport_agent.model import Volume
from homeport_agent.work import container_spec, has_registry


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
    assert spec.binds == ((str(tmp_path), "/data"), ("named", "/n"))


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
