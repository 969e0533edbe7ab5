"""Later versions of Homeport for tests: copies of our packages with changes, which a process gets as its PYTHONPATH."""

import shutil
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("agent", "cli", "client", "controlplane", "protos")
VERSION = "9.9.9"
SCHEMA = "later"
MIGRATIONS = "controlplane/homeport_control/store/migrations/versions"
MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "{schema}"
down_revision = "{before}"


def upgrade() -> None:
    op.add_column("runs", sa.Column("later", sa.Text(), nullable=False, server_default=""))
"""
# A later protocol, and an agent that keeps more in its journal than this one knows.
LATER = {
    "controlplane/homeport_control/__init__.py": f'__version__ = "{VERSION}"',
    "protos/homeport_protos/versions.py": "PROTOCOL += 1",
    "agent/homeport_agent/journal.py": """
_encode = encode


def encode(entry):
    document = json.loads(_encode(entry))
    for row in document["assignment"]["replicas"]:
        row["later"] = "unknown to versions before"
    return json.dumps(document).encode()
""",
}


def packages(folder: Path, more: Mapping[str, str], *, after_schema: str = "") -> str:
    """Our packages in `folder`, with text at the end of modules, and one more migration after that schema; a PYTHONPATH."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in more.items():
        with (folder / name).open("a") as module:
            module.write(f"\n{text}\n")
    if after_schema:
        (folder / MIGRATIONS / "later.py").write_text(MIGRATION.format(schema=SCHEMA, before=after_schema))
    return ":".join(str(folder / room) for room in ROOMS)
