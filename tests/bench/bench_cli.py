"""How long a user waits for the command line: `--help` and `ps` in seconds of CPU, `ps` of 1,000 runs on the wall.

`python -P tests/bench/bench_cli.py [ROUNDS]` prints a table and exits 1 when a bar is missed. A real server, in whose database
1,000 runs with a replica each were written before it started; the command line as a program of its own.
"""

import asyncio
import resource
import statistics
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import sqlalchemy as sa
from fixtures.control import a_host, service
from homeport_control.spec.document import parse
from homeport_control.store import hosts, schema
from homeport_control.store.connect import Database, open_database
from homeport_control.trust.sealing import Sealer
from rig.lone_server import LoneServer, lone_server

RUNS, HOSTS = 1000, 10
BARS = {"--help, CPU": 0.25, "ps, CPU": 0.35, f"ps of {RUNS} runs, wall": 1.0}


async def fill(directory: Path) -> None:
    """1,000 runs, each with one replica that serves, on ten hosts."""
    database: Database = open_database(directory / "homeport.db")
    try:
        sealer = Sealer.load_or_create(directory / "secret.key")
        now_s = time.time()
        runs, revisions, replicas = [], [], []
        for number in range(RUNS):
            run_id, name = uuid.uuid4().hex[:12], f"service-{number:04}"
            parsed = parse(service(name, resources={"gpu": "24GB"}, env={"A": "x"}))
            runs.append(row(schema.runs, id=run_id, name=name, state="running", submitted_at_s=now_s))
            secrets = sealer.seal(parsed.secrets.to_json())
            made = {"spec": parsed.spec.model_dump_json(), "secrets": secrets, "created_at_s": now_s}
            revisions.append(row(schema.revisions, run_id=run_id, number=1, **made))
            where = {"host_id": f"h{number % HOSTS}", "phase": "ready", "in_rotation": True, "first_ready_at_s": now_s}
            replicas.append(
                row(schema.replicas, id=uuid.uuid4().hex, run_id=run_id, revision=1, created_at_s=now_s, **where)
            )
        async with database.write() as write:
            for number in range(HOSTS):
                host = a_host(f"h{number}")
                await hosts.insert(write, host)
            for table, rows in ((schema.runs, runs), (schema.revisions, revisions), (schema.replicas, replicas)):
                await write.connection.execute(sa.insert(table), rows)
    finally:
        await database.close()


def row(table: sa.Table, **values: object) -> dict[str, object]:
    """A row with something in every column that must not be empty."""
    empty = {sa.Text: "", sa.Float: 0.0, sa.Integer: 0, sa.Boolean: False, sa.JSON: [], sa.LargeBinary: b""}
    fill = {column.name: empty[type(column.type)] for column in table.columns if not column.nullable}
    return {**fill, **({"wanted": "run"} if "wanted" in fill else {}), **values}


def measured(server: LoneServer, *arguments: str) -> tuple[float, float]:
    """Seconds of CPU of the program, and on the wall."""
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = server.homeport(*arguments)
    wall_s = time.monotonic() - began_s
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    medians = {}
    with lone_server() as server:
        measured(server, "ps")
        for name, arguments in (("--help, CPU", ["--help"]), ("ps, CPU", ["ps"])):
            medians[name] = statistics.median(measured(server, *arguments)[0] for _ in range(rounds))
    with lone_server(lambda directory: asyncio.run(fill(directory))) as server:
        assert server.homeport("ps").stdout.count("\nservice-") == RUNS
        medians[f"ps of {RUNS} runs, wall"] = statistics.median(measured(server, "ps")[1] for _ in range(rounds))
    print(f"{'what, median of ' + str(rounds):32} {'measured':>10} {'bar':>8}")
    for name, value_s in medians.items():
        print(f"{name:32} {value_s:8.3f} s {BARS[name]:6.2f} s")
    sys.exit(any(value_s > BARS[name] for name, value_s in medians.items()))


if __name__ == "__main__":
    main()
