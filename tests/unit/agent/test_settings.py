from pathlib import Path

import pytest
from homeport_agent.settings import BadSettings, from_environment


def test_flags_go_before_variables_and_variables_before_defaults() -> None:
    assert from_environment(Path("/a"), {"HOMEPORT_AGENT_STATE_DIR": "/b"}).state_dir == Path("/a")
    assert from_environment(None, {"HOMEPORT_AGENT_STATE_DIR": "/b"}).state_dir == Path("/b")
    assert from_environment(None, {}).state_dir == Path("/var/lib/homeport/agent")


def test_the_socket_of_docker_may_be_elsewhere() -> None:
    assert from_environment(None, {}).docker_socket == "/var/run/docker.sock"
    assert from_environment(None, {"DOCKER_HOST": "unix:///run/d.sock"}).docker_socket == "/run/d.sock"
    both = {"DOCKER_HOST": "unix:///run/d.sock", "HOMEPORT_DOCKER_SOCKET": "/run/e.sock"}
    assert from_environment(None, both).docker_socket == "/run/e.sock"
    assert from_environment(None, {"HOMEPORT_DOCKER_SOCKET": "none"}).docker_socket is None, "there are no containers"


def test_the_owners_table_of_xids_may_be_anywhere() -> None:
    assert from_environment(None, {}).xid_table is None, "the state directory's"
    assert from_environment(None, {"HOMEPORT_XID_TABLE": "/etc/xids.toml"}).xid_table == Path("/etc/xids.toml")


@pytest.mark.parametrize(
    "environment",
    [{"DOCKER_HOST": "tcp://10.0.0.1:2375"}, {"HOMEPORT_LOG_FORMAT": "xml"}, {"HOMEPORT_ENVOY_CONCURRENCY": "many"}],
)
def test_what_cannot_be_right_is_named(environment: dict[str, str]) -> None:
    (name,) = environment
    with pytest.raises(BadSettings, match=name):
        from_environment(None, environment)
