from typing import Any

import pytest
from homeport_control.spec.document import Parsed, parse_service
from homeport_control.spec.problems import BadDocument
from homeport_control.spec.ranges import Range
from homeport_control.spec.service import ServiceSpec, container_port, spec_from_json


def parsed(**document: Any) -> Parsed:
    return parse_service({"type": "service", "image": "busybox", "port": 8000, **document})


def spec(**document: Any) -> ServiceSpec:
    found = parsed(**document).spec
    assert isinstance(found, ServiceSpec)
    return found


def told(**document: Any) -> dict[str, str]:
    with pytest.raises(BadDocument) as caught:
        parsed(**document)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_defaults_are_those_of_the_reference() -> None:
    found = spec()
    assert found.replicas == Range(1, 1)
    assert (found.auth, found.https, found.retry, found.privileged) == (True, "auto", True, False)
    assert (found.max_duration_s, found.stop_duration_s, found.idle_duration_s) == (None, 300, 300)
    assert found.creation_policy == "reuse-or-create"
    assert found.spot_policy is None


def test_a_spec_goes_to_json_and_back() -> None:
    found = spec(
        env=["A=1"], resources={"gpu": "A100:80GB:2"}, probes=[{"type": "http"}], volumes=["/a:/b"], https=False
    )
    assert spec_from_json(found.model_dump_json()) == found


def test_no_secret_is_in_the_spec() -> None:
    found = parsed(
        env={"TOKEN": "s3cr3t", "PW": "p4ss"}, registry_auth={"username": "n4me", "password": "${{ env.PW }}"}
    )
    for text in (found.spec.model_dump_json(), repr(found), str(found.spec)):
        assert not [secret for secret in ("s3cr3t", "p4ss", "n4me") if secret in text]
    assert isinstance(found.spec, ServiceSpec)
    assert found.spec.env == ("TOKEN", "PW")
    assert found.spec.registry_auth
    assert found.secrets.env == {"TOKEN": "s3cr3t", "PW": "p4ss"}
    assert found.secrets.registry_auth is not None
    assert found.secrets.registry_auth.password == "p4ss"


def test_no_secret_is_in_a_problem() -> None:
    with pytest.raises(BadDocument) as caught:
        parsed(
            env=["TOKEN=s3cr3t", "TOKEN=s3cr3t", "a b=s3cr3t", {"X": ["s3cr3t"]}],
            registry_auth={"username": "s3cr3t", "password": ["s3cr3t"], "more": "s3cr3t"},
        )
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("written", "port"), [(8000, 8000), ("8000", 8000), ("80:8000", 8000)])
def test_the_port_is_the_containers(written: object, port: int) -> None:
    assert container_port(written) == port


@pytest.mark.parametrize("written", [0, 65536, "x", "80:", ":80", "1:2:3", "0:80", True, 80.0, []])
def test_a_wrong_port_is_refused(written: object) -> None:
    assert set(told(port=written)) == {"port"}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"python": "3.12"}, "python"),
        ({"nvcc": True}, "nvcc"),
        ({"image": None}, ""),
        ({"image": None, "commands": []}, ""),
        ({"replicas": "1..4"}, "replicas"),
        ({"scaling": {"metric": "rps", "target": 1}}, "scaling"),
        ({"volumes": ["/a:/x", "/b:/x"]}, "volumes[1]"),
        ({"idle_duration": 5, "termination_idle_time": 5}, "termination_idle_time"),
        ({"stop_duration": "off"}, "stop_duration"),
        ({"max_duration": 0}, "max_duration"),
        ({"working_dir": " "}, "working_dir"),
        ({"max_price": -1}, "max_price"),
        ({"fleets": "lab"}, "fleets"),
        ({"auth": "maybe"}, "auth"),
        ({"memory_mib": 5}, "memory_mib"),
        ({"max_duration_s": 5}, "max_duration_s"),
    ],
)
def test_a_broken_rule_is_told_with_its_place(document: dict[str, Any], path: str) -> None:
    assert set(told(**document)) == {path}


def test_rules_between_keys_are_told_beside_the_mistakes_of_keys() -> None:
    assert set(told(python=3.12, prot=1, replicas="1..2", env=["A"], resources={"gpu": {"memry": 1}})) == {
        "python",
        "prot",
        "replicas",
        "env[0]",
        "resources.gpu.memry",
    }


def test_commands_without_an_image_are_enough() -> None:
    assert spec(image=None, commands=["run"], python=3.1, nvcc=True).python == "3.10"


def test_nvcc_that_is_off_excludes_nothing() -> None:
    assert spec(nvcc=False).nvcc is False


def test_the_spellings_of_the_page_are_taken() -> None:
    found = spec(
        termination_idle_time="5min", creation_policy="reuse_or_create", max_duration=False, retry="off", user=1000
    )
    assert (found.idle_duration_s, found.creation_policy, found.max_duration_s) == (300, "reuse-or-create", None)
    assert (found.retry, found.user) == (False, "1000")
    assert spec(idle_duration="off").idle_duration_s is None


@pytest.mark.parametrize(
    ("image", "always"),
    [
        ("nginx", True),
        ("nginx:latest", True),
        ("host:5000/nginx", True),
        ("host:5000/nginx:1", False),
        ("nginx:1.27", False),
        ("nginx@sha256:" + "0" * 64, False),
    ],
)
def test_an_image_without_a_fixed_tag_is_always_pulled(image: str, always: bool) -> None:
    assert spec(image=image).always_pull is always


@pytest.mark.parametrize(
    ("document", "entrypoint", "command"),
    [
        ({}, (), ()),
        ({"commands": ["a", "b c"]}, ("sh", "-c"), ("a && b c",)),
        ({"commands": ["a"], "shell": "bash"}, ("bash", "-c"), ("a",)),
        ({"entrypoint": "tini --"}, ("tini", "--"), ()),
        ({"entrypoint": ["tini", "--"], "commands": ["a"]}, ("tini", "--"), ("sh", "-c", "a")),
    ],
)
def test_commands_are_joined_and_run_by_a_shell(
    document: dict[str, Any], entrypoint: tuple[str, ...], command: tuple[str, ...]
) -> None:
    found = spec(**document)
    assert (found.run_entrypoint, found.run_command) == (entrypoint, command)
