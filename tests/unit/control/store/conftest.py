"""The contract of the store: every test that asks for a `state` or a `directory` runs on SQLite and on PostgreSQL."""

from pathlib import Path

import pytest
from fixtures.databases import state_directory


@pytest.fixture(params=["sqlite", "postgresql"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A state directory with a migrated database that nobody has opened."""
    return state_directory(request, tmp_path)
