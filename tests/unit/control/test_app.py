"""app: what is opened, once; what is handed out, once. What it serves is tested as a process (test_main)."""

import socket
from pathlib import Path

import pytest
from homeport_control import app
from homeport_control.domain.errors import BadRequest, Conflict, NotReady
from homeport_control.settings import ServerSettings
from homeport_control.store import tokens
from homeport_control.trust.tokens import sha256_hex
from rig.ports import free_port


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(tmp_path / "state", api_port=free_port(), link_port=free_port(), web_port=free_port())


async def test_a_directory_that_is_opened_again_is_the_same_server(settings: ServerSettings) -> None:
    async with app.opened(settings) as first:
        server_id, pin, sealed = first.server_id, first.ca.sha256, first.sealer.seal("x")
    async with app.opened(settings) as second:
        assert (second.server_id, second.ca.sha256, second.sealer.open(sealed)) == (server_id, pin, "x")


async def test_only_the_hash_of_the_first_token_is_kept(settings: ServerSettings) -> None:
    plain = (await app.initialise(settings))["token"]
    assert "token" not in await app.initialise(settings)
    async with app.opened(settings) as state, state.database.read() as connection:
        record = await tokens.by_hash(connection, sha256_hex(plain))
        assert record is not None
        assert (record.role, record.name) == ("admin", "admin")
        assert len(await tokens.list_all(connection)) == 1
    for file in settings.state_dir.iterdir():
        assert plain.encode() not in file.read_bytes()


async def test_a_join_token_is_for_one_fleet_and_a_time(settings: ServerSettings) -> None:
    plain = await app.join_token(settings, "lab", 60.0, one_use=True)
    async with app.opened(settings) as state, state.database.read() as connection:
        record = await tokens.by_hash(connection, sha256_hex(plain))
    assert record is not None
    assert record.expires_at_s is not None
    assert (record.fleet, record.one_use, record.role) == ("lab", True, "join")
    assert record.expires_at_s - record.created_at_s == pytest.approx(60)
    with pytest.raises(BadRequest):
        await app.join_token(settings, "lab", -1.0, one_use=True)


def test_a_directory_has_one_server_at_a_time(tmp_path: Path) -> None:
    with app.only_server(tmp_path), pytest.raises(Conflict, match="another server runs on"), app.only_server(tmp_path):
        pytest.fail("two of them")
    with app.only_server(tmp_path):
        pass


async def test_a_server_that_fails_at_a_port_holds_its_directory_no_longer(settings: ServerSettings) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", settings.web_port))
        holder.listen()
        with pytest.raises(NotReady, match=f"cannot listen on 127.0.0.1:{settings.web_port}"):
            await app.run(settings)
    with app.only_server(settings.state_dir):
        pass
