"""The state of a server in a folder of its own, for every test that asks."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fixtures.control import State, migrated, opened
from fixtures.databases import shared_url, url
from rig.postgres import Postgres, postgres

__all__ = ["shared_url", "url"]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the one database is that has gone through the migrations; all others are copies."""
    return tmp_path_factory.mktemp("template") / "homeport.db"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgres]:
    """One for all tests, started when the first of them asks; who stops it starts it again."""
    with postgres() as running:
        running.make_template()
        yield running


@pytest.fixture
def directory(template: Path, tmp_path: Path) -> Path:
    """A state directory with a migrated database that nobody has opened."""
    return migrated(template, tmp_path / "server").parent


@pytest.fixture
async def state(directory: Path) -> AsyncIterator[State]:
    async with opened(directory) as state:
        yield state
