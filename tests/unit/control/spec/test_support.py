from typing import Any

import pytest
from homeport_control.spec.document import parse
from homeport_control.spec.support import unsupported

CARRIED_OUT: dict[str, Any] = {
    "type": "service",
    "name": "hello",
    "image": "busybox",
    "registry_auth": {"username": "u", "password": "p"},
    "entrypoint": "tini",
    "commands": ["a"],
    "shell": "sh",
    "working_dir": "/app",
    "user": "1000",
    "env": ["A=1"],
    "port": 8000,
    "resources": {"cpu": "1..", "memory": "1GB..", "disk": "1GB..", "shm_size": "1GB", "gpu": "24GB:2"},
    "auth": False,
    "https": "auto",
    "gateway": "local",
    "replicas": 2,
    "probes": [{"type": "http"}],
    "max_duration": "1h",
    "stop_duration": "1m",
    "retry": False,
    "creation_policy": "reuse",
    "idle_duration": "5m",
    "spot_policy": "on-demand",
    "max_price": 1.5,
    "backends": ["agent"],
    "regions": ["remote"],
    "instance_types": ["x"],
    "fleets": ["lab"],
    "hosts": ["one"],
    "volumes": ["/srv:/data", {"instance_path": "/a", "path": "/b", "optional": True}],
    "privileged": True,
}


def told(**document: Any) -> dict[str, str]:
    base = {"type": "service", "image": "busybox", "port": 8000}
    return {problem.path: problem.message for problem in unsupported(parse({**base, **document}).spec)}


def test_what_is_carried_out_is_not_refused() -> None:
    assert unsupported(parse(CARRIED_OUT).spec) == ()
    assert told(https=False) == {}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"image": None, "commands": ["a"]}, {"": "a service without `image` is not supported yet"}),
        ({"image": None, "commands": ["a"], "python": "3.12"}, {"python": "`python` is not supported yet"}),
        ({"image": None, "commands": ["a"], "nvcc": True}, {"nvcc": "`nvcc` is not supported yet"}),
        ({"home_dir": "/root"}, {"home_dir": "`home_dir` is not supported yet"}),
        ({"files": ["a"]}, {"files": "`files` is not supported yet"}),
        ({"repo": True}, {"repo": "`repo` is not supported yet"}),
        ({"working_dir": "src"}, {"working_dir": "a relative `working_dir` is not supported yet"}),
        ({"model": "m"}, {"model": "`model` is not supported yet"}),
        (
            {"replicas": "1..2", "scaling": {"metric": "rps", "target": 1}},
            {
                "scaling": "`scaling` is not supported yet",
                "replicas": "a range of `replicas` is not supported yet",
            },
        ),
        ({"rate_limits": [{"rps": 1}]}, {"rate_limits": "`rate_limits` is not supported yet"}),
        ({"https": True}, {"https": "`https: true` is not supported yet"}),
        (
            {"resources": {"gpu": {"memory": "8GB", "shared": True}}},
            {"resources.gpu.shared": "`shared` is not supported yet"},
        ),
        ({"volumes": ["/a:/b", "models:/m"]}, {"volumes[1]": "named volumes are not supported yet"}),
        ({"gateway": "main"}, {"gateway": "gateways besides `local` are not supported yet"}),
    ],
)
def test_what_is_not_carried_out_yet_is_refused_by_name(document: dict[str, Any], expected: dict[str, str]) -> None:
    assert told(**document) == expected


def test_fleets_and_gateways_are_refused_by_name() -> None:
    for document in ({"type": "fleet"}, {"type": "gateway", "domain": "example.com"}):
        (problem,) = unsupported(parse(document).spec)
        assert problem.message == f"`type: {document['type']}` is not supported yet"
