"""identity and opening: a further server of a database is the same one to hosts and users, or it does not start."""

from dataclasses import replace
from pathlib import Path

import pytest
from homeport_control.domain.errors import BadRequest, Conflict, NotReady
from homeport_control.identity import export_identity, import_identity
from homeport_control.opening import opened
from homeport_control.settings import ServerSettings
from homeport_control.store import meta
from homeport_control.store.connect import migrate


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(tmp_path / "one")


async def test_what_is_carried_is_the_whole_identity(settings: ServerSettings, tmp_path: Path) -> None:
    file, there = tmp_path / "identity", tmp_path / "two"
    with pytest.raises(NotReady, match="it is no server yet"):
        export_identity(settings.state_dir, file)
    async with opened(settings) as state:
        sealed = state.sealer.seal("secret")
    pin = export_identity(settings.state_dir, file)
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Conflict, match="is there already"):
        export_identity(settings.state_dir, file)
    assert import_identity(there, file) == pin == import_identity(there, file)
    for name in ("ca.key", "secret.key", "server.key"):
        assert (there / name).read_bytes() == (settings.state_dir / name).read_bytes()
        assert (there / name).stat().st_mode & 0o777 == 0o600
    with pytest.raises(NotReady, match="put the database back"):  # the same server needs the same database
        async with opened(replace(settings, state_dir=there)):
            pytest.fail("it is not there")
    migrate(there / "homeport.db")
    async with opened(replace(settings, state_dir=there)) as other:
        assert (other.ca.sha256, other.sealer.open(sealed)) == (pin, "secret")


async def test_another_ca_is_never_written_over(settings: ServerSettings, tmp_path: Path) -> None:
    async with opened(settings), opened(replace(settings, state_dir=tmp_path / "two")):
        pass
    export_identity(settings.state_dir, tmp_path / "identity")
    with pytest.raises(Conflict, match="has another CA"):
        import_identity(tmp_path / "two", tmp_path / "identity")
    (tmp_path / "nonsense").write_text('{"ca.pem": 1}')
    with pytest.raises(BadRequest, match="is not what"):
        import_identity(tmp_path / "three", tmp_path / "nonsense")


async def test_a_directory_that_is_not_of_this_database_is_refused(settings: ServerSettings) -> None:
    async with opened(settings):
        pass
    directory = settings.state_dir
    for name in ("ca.key", "ca.pem"):
        (directory / name).rename(directory / f"{name}.old")
    with pytest.raises(NotReady, match="has no CA, but hosts of this database trust one"):
        async with opened(settings):
            pass
    assert not (directory / "ca.pem").exists()
    async with opened(ServerSettings(directory.with_name("other"))):
        pass
    for name in ("ca.key", "ca.pem"):
        (directory / name).write_bytes((directory.with_name("other") / name).read_bytes())
    with pytest.raises(NotReady, match="is not the one of this database"):
        async with opened(settings):
            pass
    for name in ("ca.key", "ca.pem"):
        (directory / f"{name}.old").rename(directory / name)
    (directory / "secret.key").unlink()
    with pytest.raises(NotReady, match=r"secret\.key is not the key"):
        async with opened(settings):
            pass


async def test_a_database_of_before_learns_the_ca_at_its_next_start(settings: ServerSettings) -> None:
    async with opened(settings) as state, state.database.write() as write:
        await write.connection.execute(meta.meta.delete().where(meta.meta.c.key != "server_id"))
    async with opened(settings) as state, state.database.read() as connection:
        assert await meta.get(connection, "ca_sha256") == state.ca.sha256
