from typing import Any

from homeport_control.spec.diff import Change, diff
from homeport_control.spec.document import parse_service
from homeport_control.spec.service import ServiceSpec


def changes(old: dict[str, Any], new: dict[str, Any]) -> tuple[Change, ...]:
    first, second = (parse_service({"type": "service", "image": "a", "port": 1, **document}) for document in (old, new))
    assert isinstance(first.spec, ServiceSpec)
    assert isinstance(second.spec, ServiceSpec)
    return diff(first.spec, first.secrets, second.spec, second.secrets)


def test_equal_configurations_have_no_difference() -> None:
    written: dict[str, Any] = {"env": ["A=1"], "resources": {"gpu": "24GB"}, "stop_duration": "5m"}
    same: dict[str, Any] = {"env": {"A": 1}, "resources": {"gpu": {"memory": 24, "count": 1}}, "stop_duration": 300}
    assert changes(written, same) == ()


def test_the_order_of_env_is_no_difference() -> None:
    assert changes({"env": ["A=1", "B=2"]}, {"env": ["B=2", "A=1"]}) == ()


def test_values_are_shown_in_the_words_of_the_language() -> None:
    assert changes(
        {"resources": {"memory": "16GB.."}, "commands": ["a"]},
        {
            "resources": {"memory": "32GB..", "gpu": "24GB:2"},
            "commands": ["b", "c"],
            "max_duration": "2h",
            "replicas": 2,
            "auth": False,
            "probes": [{"type": "http", "url": "/h"}],
        },
    ) == (
        Change("commands[0]", "a", "b"),
        Change("commands[1]", "", "c"),
        Change("resources.memory", "16GB..", "32GB.."),
        Change("resources.gpu.memory", "", "24GB"),
        Change("resources.gpu.count", "", "2"),
        Change("resources.gpu.shared", "", "false"),
        Change("replicas", "1", "2"),
        Change("probes[0].type", "", "http"),
        Change("probes[0].url", "", "/h"),
        Change("probes[0].method", "", "get"),
        Change("probes[0].timeout", "", "10s"),
        Change("probes[0].interval", "", "5s"),
        Change("probes[0].ready_after", "", "1"),
        Change("auth", "true", "false"),
        Change("max_duration", "", "2h"),
    )


def test_secrets_are_compared_and_never_shown() -> None:
    found = changes(
        {"env": ["A=s3cr3t", "B=same", "C=gone"], "registry_auth": {"username": "u", "password": "s3cr3t"}},
        {"env": ["A=s3cr3t2", "B=same", "D=new"], "registry_auth": {"username": "u", "password": "other"}},
    )
    assert found == (
        Change("env.A", "***", "***"),
        Change("env.C", "***", ""),
        Change("env.D", "", "***"),
        Change("registry_auth", "***", "***"),
    )


def test_an_empty_value_that_appears_is_a_difference() -> None:
    assert changes({}, {"env": ["A="]}) == (Change("env.A", "", "***"),)


def test_what_a_probe_sends_is_compared_and_never_shown() -> None:
    def probing(token: str, body: str = "") -> dict[str, Any]:
        headers = [{"name": "Authorization", "value": token}]
        return {"probes": [{"type": "http", "method": "post", "headers": headers, "body": body}]}

    assert changes(probing("s3cr3t"), probing("s3cr3t")) == ()
    assert changes(probing("s3cr3t"), probing("other", "s3cr3t too")) == (
        Change("probes[0].headers[0].value", "***", "***"),
        Change("probes[0].body", "", "***"),
    )
