"""Images for examples/compose out of files of this machine: the server as its Dockerfile makes it, and a PostgreSQL.

The server's has this virtual environment's packages of `homeport[server]` in place of what pip would fetch; the database's
has Debian's PostgreSQL, and takes of the official image's settings what the example uses. Both are made anew at each call.
"""

import importlib.metadata
import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from rig.images.build import DOCKER, HELLO, VERSION, Root, add_shell, shared_libraries

SERVER, DATABASE = "homeport-test/compose-server:1", "homeport-test/compose-postgres:1"
ROOT = Path(__file__).resolve().parents[3]
ROOMS = (
    "agent/homeport_agent",
    "cli/homeport_cli",
    "client/homeport",
    "controlplane/homeport_control",
    "protos/homeport_protos",
)
SITE = f"usr/local/lib/{VERSION}/site-packages"
POSTGRESQL = max(Path("/usr/lib/postgresql").iterdir(), key=lambda it: int(it.name), default=Path())
# As examples/compose/Dockerfile from its second step on; the base image has no useradd.
DOCKERFILE = f"""FROM {HELLO}
ADD root.tar /
RUN echo homeport:x:10001:10001::/home/homeport:/bin/sh >> /etc/passwd && mkdir -p /var/lib/homeport/server /home/homeport \\
    && chown 10001:10001 /var/lib/homeport/server /home/homeport
USER homeport
VOLUME /var/lib/homeport/server
ENTRYPOINT ["python", "-m", "homeport_control"]
CMD ["run"]
"""
# What the official image's own does at its first start, for what the example sets.
START = """#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust \\
        --auth-host=scram-sha-256 --locale=C --encoding=UTF8
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_USER" | postgres --single -D "$PGDATA" postgres
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp
"""


def make_server() -> None:
    content = io.BytesIO()
    root = Root(content)
    needed: set[Path] = set()
    for name in ("homeport", *_closure("homeport", {"server"})):
        for file in importlib.metadata.files(name) or ():
            source = Path(str(file.locate()))
            if file.parts[0] != ".." and source.is_file() and source.suffix not in {".pyc", ".pth"}:
                root.copy(source, f"{SITE}/{file}")
                if ".so" in source.name:
                    needed.update(shared_libraries(source))
    for room in map(ROOT.joinpath, ROOMS):
        for source in room.rglob("*"):
            if source.is_file() and source.suffix != ".pyc":
                root.copy(source, f"{SITE}/{source.relative_to(room.parent)}")
    for path in needed:
        if path.resolve().is_relative_to("/usr/lib") or path.resolve().is_relative_to("/lib"):
            root.copy(path, str(path).lstrip("/"))
    root.close()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, data in (("Dockerfile", DOCKERFILE.encode()), ("root.tar", content.getvalue())):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    subprocess.run(
        [DOCKER, "build", "-q", "-t", SERVER, "-"], input=context.getvalue(), check=True, capture_output=True
    )


def make_database() -> None:
    content = io.BytesIO()
    root = Root(content)
    add_shell(root)
    needed: set[Path] = set()
    share = Path("/usr/share/postgresql") / POSTGRESQL.name
    zones = [Path("/usr/share/zoneinfo") / name for name in ("UTC", "GMT")]
    for source in (*POSTGRESQL.rglob("*"), *share.rglob("*"), *zones):
        if source.is_file() and "bitcode" not in source.parts:
            root.copy(source, str(source).lstrip("/"))
            if source.suffix == ".so" or source.parent.name == "bin":
                needed.update(it for it in shared_libraries(source) if "llvm" not in it.name.lower())
    for path in needed:
        root.copy(path, str(path).lstrip("/"))
    root.text("start.sh", START)
    root.directory("var/lib/postgresql/data", 0o777)
    root.close()
    changes = (
        f"ENV PATH={POSTGRESQL}/bin:/bin PGDATA=/var/lib/postgresql/data/cluster PGHOST=/tmp",
        "USER nobody",  # initdb refuses root
        'ENTRYPOINT ["sh", "/start.sh"]',
        "VOLUME /var/lib/postgresql/data",
    )
    command = [DOCKER, "import", *(part for change in changes for part in ("-c", change)), "-", DATABASE]
    subprocess.run(command, input=content.getvalue(), check=True, capture_output=True)


def _closure(name: str, extras: set[str], seen: set[tuple[str, str]] | None = None) -> Iterator[str]:
    """All distributions that this one needs, without itself; `seen`: already walked, with their extras."""
    seen = set() if seen is None else seen
    for line in importlib.metadata.requires(name) or ():
        needed = Requirement(line)
        if needed.marker and not any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        key = (needed.name.lower(), ",".join(sorted(needed.extras)))
        if key not in seen:
            seen.add(key)
            yield needed.name
            yield from _closure(needed.name, set(needed.extras), seen)
