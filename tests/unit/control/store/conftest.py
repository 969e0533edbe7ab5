"""The contract of the store: every test that asks for a `state` or a `directory` runs on SQLite and on PostgreSQL."""

from pathlib import Path

import pytest
from fixtures.control import migrated
from homeport_control.store import place
from rig.postgres import Postgres


@pytest.fixture(scope="session")
def shared_url(postgresql: Postgres) -> str:
    return postgresql.create(migrated=True)


@pytest.fixture
def url(postgresql: Postgres, shared_url: str) -> str:
    """A migrated database without rows."""
    postgresql.empty(shared_url)
    return shared_url


@pytest.fixture(params=["sqlite", "postgresql"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A state directory with a migrated database that nobody has opened."""
    folder = tmp_path / "server"
    if request.param == "sqlite":
        return migrated(request.getfixturevalue("template"), folder).parent
    folder.mkdir()
    (folder / place.FILE).write_text(request.getfixturevalue("url"))
    return folder
