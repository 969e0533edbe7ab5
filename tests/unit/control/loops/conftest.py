"""On SQLite, and with `-m nightly` on PostgreSQL."""

from fixtures.databases import directory

__all__ = ["directory"]
