from pathlib import Path

import pytest
from homeport_cli import checks
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2


def host(name: str, connection: str = "connected", reason: str = "", **facts: str) -> api_pb2.Host:
    return api_pb2.Host(name=name, connection=connection, reason=reason, facts=host_pb2.HostFacts(**facts))


@pytest.mark.parametrize(
    ("mode", "state"), [(0o600, "ok"), (0o400, "ok"), (0o640, "warn"), (0o604, "warn"), (None, "ok")]
)
def test_a_configuration_that_others_can_read_is_a_warning(mode: int | None, state: str) -> None:
    check = checks.file_mode(Path("/c.yml"), mode)
    assert check.state == state
    assert (check.do == "run `chmod 600 /c.yml`") is (state == "warn")


@pytest.mark.parametrize(("days", "state"), [(90, "ok"), (14, "ok"), (13, "warn"), (-1, "warn")])
def test_a_certificate_that_ends_soon_is_a_warning(days: float, state: str) -> None:
    assert checks.certificate(days).state == state


@pytest.mark.parametrize(
    ("protocol", "version", "state", "do"),
    [
        (2, "1.0", "ok", ""),
        (2, "1.1", "warn", "update the older one"),
        (1, "1.0", "fail", "update the server"),
        (3, "1.0", "fail", "update the command line"),
    ],
)
def test_versions_may_differ_and_protocols_may_not(protocol: int, version: str, state: str, do: str) -> None:
    check = checks.versions("1.0", 2, api_pb2.GetServerResponse(protocol=protocol, version=version))
    assert (check.state, check.do) == (state, do)


def test_of_several_servers_it_is_told_which_leads() -> None:
    check = checks.leader(api_pb2.Leader(name="alpha", term=3, since_s=1000.0), now_s=1720.0)
    assert str(check) == "ok    servers        — alpha leads since 12 min, term 3"


@pytest.mark.parametrize(
    ("ahead_s", "state", "words"),
    [
        (0, "ok", "the same"),
        (-4.9, "ok", "the same"),
        (6, "warn", "6 s ahead of ours"),
        (-400, "fail", "400 s behind ours"),
    ],
)
def test_clocks_that_differ_are_told_with_how_much_and_which_way(ahead_s: float, state: str, words: str) -> None:
    check = checks.clock(ahead_s)
    assert check.state == state
    assert words in check.why


def test_a_gateway_that_is_not_ready_fails_with_its_own_reason() -> None:
    assert checks.gateway(api_pb2.Gateway(name="local", host="box", ready=True)).state == "ok"
    check = checks.gateway(api_pb2.Gateway(name="local", host="box", message="port 7480 is taken"))
    assert check.state == "fail"
    assert "port 7480 is taken" in check.why


def test_hosts_that_are_away_or_without_docker_are_named() -> None:
    gone, bare = host("b", "unreachable", "the connection broke"), host("c", docker_unavailable="it does not answer")
    assert [(check.state, check.why) for check in checks.hosts([host("a"), gone, bare])] == [
        ("warn", "2 of 3 connected"),
        ("warn", "b is unreachable: the connection broke"),
        ("warn", "c has no Docker that answers: it does not answer"),
    ]


def test_no_host_is_a_warning_and_none_connected_a_failure() -> None:
    assert [check.state for check in checks.hosts([])] == ["warn"]
    assert next(checks.hosts([host("a", "unreachable")])).state == "fail"
    assert [check.state for check in checks.hosts([host("a")])] == ["ok"]


@pytest.mark.parametrize(
    ("addresses", "state"),
    [(["127.0.0.1"], "ok"), (["127.0.0.1", "::1"], "ok"), (["127.0.0.1", "10.0.0.1"], "warn"), ([], "warn")],
)
def test_a_name_under_localhost_must_be_this_machine(addresses: list[str], state: str) -> None:
    assert checks.names("x.localhost", addresses).state == state


def test_a_line_has_the_state_the_thing_the_finding_and_what_to_do() -> None:
    assert str(checks.git(None)).startswith("warn  git            — is not installed; without it")
    assert str(checks.git("/usr/bin/git")) == "ok    git            — /usr/bin/git"


def test_on_demand_hosts_that_are_not_there_are_no_trouble() -> None:
    assert [(check.state, check.why) for check in checks.hosts([host("a"), host("b", "released")])] == [
        ("ok", "1 of 1 connected, 1 on-demand not provisioned")
    ]
