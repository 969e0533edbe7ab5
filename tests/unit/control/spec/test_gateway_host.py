"""spec/gateway_host: the short form and the map of where a gateway runs."""

from typing import Any

import pytest
from homeport_control.spec.document import parse
from homeport_control.spec.fleet import ProxyJump
from homeport_control.spec.gateway import GatewaySpec
from homeport_control.spec.gateway_host import GatewayHost, address_of
from homeport_control.spec.problems import BadDocument


def host(written: Any) -> GatewayHost:
    spec = parse({"type": "gateway", "domain": "example.com", "host": written}).spec
    assert isinstance(spec, GatewaySpec)
    assert GatewaySpec.model_validate_json(spec.model_dump_json()) == spec
    return spec.host


@pytest.mark.parametrize("name", ["local", "gpu-1", "gpu-1.lab", "10.0.0.7"])
def test_a_word_alone_is_the_name_of_a_host(name: str) -> None:
    assert host(name) == GatewayHost(hostname=name)
    assert not host(name).is_ssh
    assert host(name).text == name


@pytest.mark.parametrize(
    ("written", "hostname", "port"),
    [
        ("ops@edge.example.com", "edge.example.com", 22),
        ("ops@10.0.0.7:2222", "10.0.0.7", 2222),
        ("ops@[fd00::7]:2222", "fd00::7", 2222),
        ("ops@[fd00::7]", "fd00::7", 22),
    ],
)
def test_with_a_user_it_is_an_address_that_is_written_again_as_it_was(written: str, hostname: str, port: int) -> None:
    found = host(written)
    assert (found.user, found.hostname, found.port, found.is_ssh) == ("ops", hostname, port, True)
    assert found.text == written
    assert address_of(written) == (hostname, port)


def test_an_address_of_ip_6_needs_no_brackets_without_a_port() -> None:
    assert host("ops@fd00::7").text == "ops@[fd00::7]"


def test_the_map_has_the_words_of_a_fleets_hosts() -> None:
    found = host(
        {"hostname": "edge", "port": 2222, "user": "ops", "identity_file": "~/.ssh/k", "proxy_jump": "bastion"}
    )
    jump = ProxyJump(hostname="bastion")
    assert found == GatewayHost(hostname="edge", port=2222, user="ops", identity_file="~/.ssh/k", proxy_jump=jump)
    assert found.text == "ops@edge:2222"


@pytest.mark.parametrize(
    ("written", "path", "words"),
    [
        ("ops@", "host", "is neither a host nor an SSH address"),
        ("@edge", "host", "is neither a host nor an SSH address"),
        ("a b", "host", "is neither a host nor an SSH address"),
        ("edge:22", "host", "is neither a host nor an SSH address"),
        ("ops@edge:", "host", "is neither a host nor an SSH address"),
        ("ops@edge:99999", "host.port", "must be at most 65535"),
        ({"hostname": "edge", "identity_file": "k"}, "host", "has no user"),
        ({"hostname": "edge", "user": "ops", "wake": "x"}, "host.wake", "unknown key `wake`"),
        ({"user": "ops"}, "host.hostname", "is missing"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(written: Any, path: str, words: str) -> None:
    with pytest.raises(BadDocument) as caught:
        host(written)
    [problem] = caught.value.problems
    assert (problem.path, words in problem.message) == (path, True), problem


def test_the_name_of_a_host_has_no_address() -> None:
    assert address_of("gpu-1") is None
