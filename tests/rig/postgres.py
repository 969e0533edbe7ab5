"""A real PostgreSQL for tests, of the distribution's package: in a folder of its own, on loopback, with passwords.

Covers starting, stopping, killing and freezing it, and databases in it, empty or migrated. Not durable (`fsync=off`): a power
cut is not what it is for.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from homeport_control.store.connect import migrate
from homeport_control.store.schema import metadata
from rig.ports import free_port

USER, PASSWORD = "homeport", "s3cret pass/word"  # letters that a URL must escape
ESCAPED = "s3cret%20pass%2Fword"
TEMPLATE = "migrated"
START_S = 30
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_wal_size": "256MB",
    "autovacuum": "off",
}


class Postgres:
    """One PostgreSQL; `start()` and `stop()` as often as wanted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._programs = max(
            Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda it: int(it.parents[1].name)
        ).parent
        self._child: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Make its files; once."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            owner = pwd.getpwnam(_account())
            for path in (self.folder, secret):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        how = ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={secret}", "--encoding=UTF8"]
        how += ["--locale=C.UTF-8", "--no-sync"]
        self._run("initdb", f"--pgdata={self.folder / 'data'}", *how)

    def start(self) -> None:
        """Until it takes connections."""
        options = [text for name, value in SETTINGS.items() for text in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [*_as_its_user(), str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port),
                 *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
            )  # fmt: skip
        self._run("pg_ctl", "status", "-D", str(self.folder / "data"), fine=(0, 3))
        ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", str(START_S)]
        for _ in range(START_S * 20):
            if subprocess.run(ready, check=False, timeout=START_S).returncode == 0:
                return
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(0.05)
                break
        raise AssertionError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """As an admin would: connections are ended, at once."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9 of all of it."""
        self._end(signal.SIGQUIT)

    def freeze(self) -> None:
        """It keeps its connections and answers nothing, until `thaw`."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """The answer as bare text."""
        psql = [str(self._programs / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-qtAX"]
        environment = {"PGPASSWORD": PASSWORD, "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            [*psql, "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement],
            env=environment, capture_output=True, text=True, timeout=60, cwd="/", check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{ESCAPED}@127.0.0.1:{self.port}/{database}"

    def create(self, *, migrated: bool = False) -> str:
        """A new database: its URL."""
        name = f"hp_{uuid.uuid4().hex[:12]}"
        template = TEMPLATE if migrated else "template0"
        quick = " STRATEGY file_copy" if int(self._programs.parent.name) >= 15 else ""  # before, it was the only way
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}{quick}")
        return self.url(name)

    def drop(self, url: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def empty(self, url: str) -> None:
        """All rows gone and ids from 1 again, in a tenth of what a new database takes."""
        names = [f'"{table.name}"' for table in reversed(metadata.sorted_tables)]
        rows = "; ".join(f"DELETE FROM {name}" for name in names)  # noqa: S608
        self.sql(f"{rows}; ALTER SEQUENCE events_id_seq RESTART", url.rpartition("/")[2])

    def make_template(self) -> None:
        """What `create(migrated=True)` copies. Not in an event loop's thread."""
        self.sql(f"CREATE DATABASE {TEMPLATE}")
        migrate(self.url(TEMPLATE))

    def _end(self, with_signal: signal.Signals) -> None:
        if self._child is None or self._child.poll() is not None:
            return
        self._child.send_signal(with_signal)
        try:
            self._child.wait(15)
        except subprocess.TimeoutExpired:
            self._signal_all(signal.SIGKILL)
            self._child.wait(15)

    def _signal_all(self, with_signal: signal.Signals) -> None:
        """To the postmaster, and to its children, each of which leads a session of its own."""
        assert self._child is not None
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--sid", str(self._child.pid)], capture_output=True, text=True, timeout=10, check=False
        ).stdout
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._child.pid)],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        ).stdout
        for pid in {self._child.pid, *map(int, listed.split()), *map(int, children.split())}:
            with suppress(ProcessLookupError):
                os.kill(pid, with_signal)

    def _run(self, program: str, *arguments: str, fine: tuple[int, ...] = (0,)) -> None:
        command = [*_as_its_user(), str(self._programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/", check=False)
        assert done.returncode in fine, done.stderr + done.stdout


def _account() -> str:
    """PostgreSQL refuses to be root."""
    names = {it.pw_name for it in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _as_its_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    account = pwd.getpwnam(_account())
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Started, and gone at the end with all that is in it."""
    folder = Path(tempfile.mkdtemp(prefix="hp-postgres-", dir="/tmp"))
    made = Postgres(folder)
    try:
        made.prepare()
        made.start()
        yield made
    finally:
        if made._child is not None and made._child.poll() is None:
            made.thaw()
        made.kill()
        shutil.rmtree(folder, ignore_errors=True)
