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
    "start_timeout": "30m",
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
    "volumes": ["/srv:/data", {"instance_path": "/a", "path": "/b", "optional": True}, "models:/models"],
    "home_dir": "/root",
    "files": ["a.txt"],
    "repo": True,
    "model": "llama",
    "privileged": True,
}


def told(**document: Any) -> dict[str, str]:
    base = {"type": "service", "image": "busybox", "port": 8000}
    return {problem.path: problem.message for problem in unsupported(parse({**base, **document}).spec)}


def test_what_is_carried_out_is_not_refused() -> None:
    assert unsupported(parse(CARRIED_OUT).spec) == ()
    assert told(https=False) == {}
    assert told(image=None, commands=["a"], python="3.12", nvcc=True, working_dir="src") == {}
    assert told(model={"type": "embeddings", "name": "m", "prefix": "/api"}) == {}
    assert told(replicas="0..4", scaling={"metric": "concurrency", "target": 2}) == {}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"model": {"type": "chat", "name": "m", "format": "tgi"}},
            {"model.format": "`format: tgi` is not supported: Homeport translates no requests"},
        ),
    ],
)
def test_what_is_not_carried_out_yet_is_refused_by_name(document: dict[str, Any], expected: dict[str, str]) -> None:
    assert told(**document) == expected


def test_a_gateway_is_carried_out_but_for_what_lets_encrypt_cannot_give() -> None:
    for certificate in (None, "self-signed", {"type": "files", "cert": "/c", "key": "/k"}, "lets-encrypt"):
        assert unsupported(parse({"type": "gateway", "domain": "example.com", "certificate": certificate}).spec) == ()
    (problem,) = unsupported(parse({"type": "gateway", "domain": "lab.localhost"}).spec)
    assert (problem.path, problem.message) == ("certificate", "Let's Encrypt gives none for `lab.localhost`")
    assert problem.hint


def test_a_fleet_is_carried_out() -> None:
    assert unsupported(parse({"type": "fleet"}).spec) == ()


@pytest.mark.parametrize("document", [{"model": {"type": "chat", "name": "m", "format": "tgi"}}])
def test_every_refusal_says_what_to_do(document: dict[str, Any]) -> None:
    spec = parse({"type": "service", "image": "busybox", "port": 8000, **document}).spec
    assert all(problem.hint for problem in unsupported(spec))


HOOKED = {"type": "lets-encrypt", "challenge": "dns-01", "hook": "/hook"}


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        ("self-signed", {}),
        ({"type": "files", "cert": "/c", "key": "/k"}, {}),
        (HOOKED, {}),
        ("lets-encrypt", {"http3": "HTTP/3 needs one certificate for all names, and `http-01` proves each by itself"}),
        (None, {"http3": "HTTP/3 needs a certificate"}),
    ],
)
def test_http3_is_refused_where_there_is_no_certificate_for_all_names(
    certificate: Any, expected: dict[str, str]
) -> None:
    document = {"type": "gateway", "domain": "example.com", "certificate": certificate}
    assert unsupported(parse(document).spec) == ()
    problems = unsupported(parse({**document, "http3": True}).spec)
    assert {problem.path: problem.message for problem in problems} == expected
