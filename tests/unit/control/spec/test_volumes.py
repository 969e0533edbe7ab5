import pytest
from homeport_control.spec.reading import read
from homeport_control.spec.service import ServiceSpec
from homeport_control.spec.volumes import FileMapping, Volume, mounted_twice


def volumes(*written: object) -> tuple[Volume, ...]:
    spec, problems = read(ServiceSpec, {"image": "a", "port": 1, "volumes": list(written)})
    assert spec is not None, problems
    return spec.volumes


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("/srv/data:/data", Volume(instance_path="/srv/data", path="/data")),
        ("/srv//data/:/data/", Volume(instance_path="/srv/data", path="/data")),
        ("models:/models", Volume(name="models", path="/models")),
        (
            {"instance_path": "/srv", "path": "/data", "optional": True},
            Volume(instance_path="/srv", path="/data", optional=True),
        ),
        ({"name": "models", "path": "/models"}, Volume(name="models", path="/models")),
    ],
)
def test_a_volume_is_read(written: object, read_as: Volume) -> None:
    assert volumes(written) == (read_as,)


@pytest.mark.parametrize(
    "written",
    [
        "/data",
        "/srv:",
        ":/data",
        "/srv:data",
        "/srv:/data:ro",
        "/srv:/",
        "../srv:/data",
        "",
        {"path": "/data"},
        {"instance_path": "/a", "name": "b", "path": "/data"},
        {"instance_path": "a", "path": "/data"},
        5,
    ],
)
def test_what_is_no_volume_is_refused(written: object) -> None:
    spec, problems = read(ServiceSpec, {"image": "a", "port": 1, "volumes": [written]})
    assert spec is None
    assert problems[0].path.startswith("volumes[0]")


def test_one_path_of_the_container_is_mounted_once() -> None:
    assert list(mounted_twice(["/a:/x", "/b:/y", {"path": "/x/", "name": "c"}, 5])) == [(2, "/x")]
    assert list(mounted_twice(["/a:/x", "/a:/y"])) == []
    assert list(mounted_twice(None)) == []


def test_a_file_goes_to_its_own_path_without_another() -> None:
    spec, problems = read(ServiceSpec, {"image": "a", "port": 1, "files": ["a.py", "b:/c"]})
    assert problems == ()
    assert spec is not None
    assert spec.files == (FileMapping(local_path="a.py", path="a.py"), FileMapping(local_path="b", path="/c"))


@pytest.mark.parametrize("path", ["/var/run/docker.sock", "/run/docker.sock", "/run", "/var//run/"])
def test_the_docker_engine_is_not_given_to_a_container(path: str) -> None:
    for written in (f"{path}:/x", {"instance_path": path, "path": "/x"}):
        _, problems = read(ServiceSpec, {"image": "a", "port": 1, "volumes": [written]})
        assert ["Docker engine" in problem.message for problem in problems] == [True]
