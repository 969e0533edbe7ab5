"""store/chunks: lists of any length go into statements that a database takes."""

import sqlalchemy as sa
from fixtures.control import State
from homeport_control.store import replicas, runs
from homeport_control.store.chunks import LONGEST, chunks
from homeport_control.store.schema import revisions
from homeport_control.store.schema import runs as table


def test_every_value_stands_in_one_piece_and_no_piece_is_too_long() -> None:
    values = [str(number) for number in range(2 * LONGEST + 1)]
    pieces = list(chunks([*values, "0", "1"]))
    assert [value for piece in pieces for value in piece] == values
    assert [len(piece) for piece in pieces] == [LONGEST, LONGEST, 1]
    assert list(chunks([])) == []


async def test_more_runs_than_one_statement_takes_are_listed_with_their_revisions(state: State) -> None:
    count = LONGEST + 3
    common = {"user": "a", "wanted": "run", "state": "running", "reason": "", "ever_published": True, "log_tail": []}
    async with state.database.write() as write:
        rows = [{"id": f"{n:04}", "name": f"r{n}", "submitted_at_s": n, "cause_id": "", **common} for n in range(count)]
        await write.connection.execute(sa.insert(table), rows)
        of_each = {"spec": "{}", "secrets": b"", "user": "a", "created_at_s": 0.0, "failed": "", "code_id": ""}
        made = [{"run_id": f"{n:04}", "number": k, "code_bytes": 0, **of_each} for n in range(count) for k in (2, 1)]
        await write.connection.execute(sa.insert(revisions), made)
    async with state.database.read() as connection:
        found = await runs.list_active(connection)
        assert await replicas.of_runs(connection, [run.id for run in found]) == {}
    assert len(found) == count
    assert {tuple(revision.number for revision in run.revisions) for run in found} == {(1, 2)}
