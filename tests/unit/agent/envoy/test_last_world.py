"""agent/envoy/last_world: two files, each with its checksum; what is damaged is said and the other one is used."""

import os
from pathlib import Path

import pytest
from homeport_agent.envoy import last_world
from homeport_agent.envoy.last_world import BEFORE, FILE, LastWorld, Resource
from homeport_protos.agent.v1.discovery_pb2 import DeltaResponse

KIND = "type.googleapis.com/envoy.config.cluster.v3.Cluster"


def resource(name: str, version: str = "1") -> Resource:
    made = Resource(name=name, version=version)
    made.resource.type_url, made.resource.value = KIND, b"body of " + name.encode()
    return made


def world(*names: str, version: str = "1") -> LastWorld:
    made = LastWorld()
    made.take(DeltaResponse(type_url=KIND, resources=[resource(name, version) for name in names]))
    return made


def versions(found: LastWorld) -> dict[str, str]:
    return {name: it.version for name, it in found.of(KIND).items()}


def test_one_without_resources_is_nothing() -> None:
    assert not LastWorld()
    assert not world()
    assert world("a")


def test_it_comes_back_whole_and_is_for_its_owner_only(tmp_path: Path) -> None:
    last_world.write(tmp_path, world("a", "b"))
    found, wrong = last_world.read(tmp_path)
    assert found.resources == world("a", "b").resources
    assert found.saved_at_s > 0
    assert wrong == ()
    assert os.stat(tmp_path / FILE).st_mode & 0o777 == 0o600


def test_a_response_changes_what_it_names() -> None:
    made = world("a", "b")
    made.take(DeltaResponse(type_url=KIND, resources=[resource("b", "2")], removed=["a", "never"]))
    assert versions(made) == {"b": "2"}


def test_nothing_is_an_empty_world(tmp_path: Path) -> None:
    assert last_world.read(tmp_path) == (LastWorld(), ())


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: data[:-1], "its content does not fit its checksum"),
        (lambda data: data[:-40], "its content does not fit its checksum"),
        (lambda data: data[:20], "it does not begin as such a file does"),
        (lambda _: b"", "it does not begin as such a file does"),
        (lambda data: data.replace(b"body", b"ydob"), "its content does not fit its checksum"),
    ],
)
def test_a_damaged_one_is_said_and_the_one_before_is_used(tmp_path: Path, spoil: object, why: str) -> None:
    last_world.write(tmp_path, world("a"))
    last_world.write(tmp_path, world("a", version="2"))
    (tmp_path / FILE).write_bytes(spoil((tmp_path / FILE).read_bytes()))  # type: ignore[operator]
    found, wrong = last_world.read(tmp_path)
    assert versions(found) == {"a": "1"}
    assert wrong == (f"the last configuration {tmp_path / FILE} is damaged: {why}",)

    # A damaged one does not push out the good one before it.
    last_world.write(tmp_path, world("a", version="3"), keep_before=False)
    assert versions(last_world.read(tmp_path)[0]) == {"a": "3"}
    (tmp_path / FILE).unlink()
    assert versions(last_world.read(tmp_path)[0]) == {"a": "1"}


def test_both_damaged_is_nothing_with_two_reasons(tmp_path: Path) -> None:
    for name in (FILE, BEFORE):
        (tmp_path / name).write_bytes(b"?")
    found, wrong = last_world.read(tmp_path)
    assert not found
    assert len(wrong) == 2


def test_a_crash_between_the_two_renames_leaves_the_one_before(tmp_path: Path) -> None:
    last_world.write(tmp_path, world("a"))
    (tmp_path / FILE).rename(tmp_path / BEFORE)
    assert versions(last_world.read(tmp_path)[0]) == {"a": "1"}


def test_the_folder_of_a_gateway_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        last_world.write(tmp_path / "gone", world("a"))
    assert not (tmp_path / "gone").exists()
