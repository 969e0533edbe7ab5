"""A server's state: its directory and its database, made or opened; and the facts that the two must agree on.

Several servers on one database are one server to hosts and users: one CA, one key that sealed what is secret. A directory
that holds another CA than the database knows is refused before anything is served.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from homeport_control import __version__
from homeport_control.domain.errors import NotReady
from homeport_control.settings import ServerSettings
from homeport_control.store import before_migration, events, meta
from homeport_control.store.connect import Database, migrate, open_database
from homeport_control.trust.ca import CertificateAuthority
from homeport_control.trust.sealing import Sealer

PROBE = "homeport"  # sealed in the database: who cannot open it has another key


@dataclass(frozen=True, slots=True)
class Opened:
    """The server's state, open."""

    database: Database
    ca: CertificateAuthority
    sealer: Sealer
    server_id: str


@asynccontextmanager
async def opened(settings: ServerSettings) -> AsyncIterator[Opened]:
    """Make or open the state directory: database (migrated), CA, sealing key. Raises NotReady."""
    directory = settings.state_dir
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    copied = None
    if isinstance(settings.database, Path):
        if (directory / "ca.pem").exists() and not settings.database.exists():
            # An empty one in its place would know no host and no run, and look to its users as if all were lost.
            raise NotReady(
                f"{settings.database} is not there, though {directory} has been in use (it holds a CA): put the database back "
                "from a copy; or remove the whole directory for a new server that knows nothing of the old one's hosts"
            )
        copied = await asyncio.to_thread(before_migration.prepare, settings.database, __version__)
    await asyncio.to_thread(migrate, settings.database)
    if isinstance(settings.database, Path):
        os.chmod(settings.database, 0o600)
    database = open_database(settings.database)
    try:
        async with database.read() as connection:
            known_ca = await meta.get(connection, "ca_sha256")
        if known_ca is not None and not (directory / "ca.pem").exists():
            raise NotReady(
                f"{directory} has no CA, but hosts of this database trust one: bring it from a server that has it "
                "(there: homeport server identity export FILE; here: homeport server identity import FILE)"
            )
        async with database.write() as write:
            server_id = await meta.put_once(write, "server_id", uuid.uuid4().hex[:12])
        ca = CertificateAuthority.load_or_create(directory, server_id)
        sealer = Sealer.load_or_create(directory / "secret.key")
        async with database.write() as write:
            known_ca = await meta.put_once(write, "ca_sha256", ca.sha256)
            probe = await meta.put_once(write, "sealed_probe", sealer.seal(PROBE).decode())
            await meta.put(write, "version", __version__)
            if copied is not None:
                events.record(write, kind="server", object_id=server_id, name="server", sentence=str(copied))
        if known_ca != ca.sha256:
            raise NotReady(
                f"the CA in {directory} ({ca.sha256[:12]}…) is not the one of this database ({known_ca[:12]}…): hosts would "
                "not trust this server; bring the right one with homeport server identity import, or choose another database"
            )
        sealer.open(probe.encode())
        yield Opened(database, ca, sealer, server_id)
    finally:
        await database.close()
