"""settings: frozen, and the database stands in the state directory."""

import dataclasses
from pathlib import Path

import pytest
from homeport_control.settings import ServerSettings


def test_settings_do_not_change_while_a_server_runs() -> None:
    settings = ServerSettings(Path("/state"))
    assert settings.database == Path("/state/homeport.db")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.api_port = 1  # type: ignore[misc]


def test_nothing_listens_to_the_network_unless_it_is_told_to() -> None:
    settings = ServerSettings(Path("/state"))
    assert {settings.bind, settings.gateway_address} == {"127.0.0.1"}
