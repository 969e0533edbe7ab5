"""loops/collect: old code goes with its contents, what a run needs stays."""

import os
import time

import pytest
from fixtures.control import State, add_run, revision, service
from homeport_control.loops.collect import EVERY_S, CollectLoop
from homeport_control.store import runs
from homeport_control.store.code import CodeStore

OLD, USED, FRESH = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
async def code(state: State) -> CodeStore:
    store = CodeStore(state.directory / "code", keep_free_bytes=0)
    for code_id in (OLD, USED, FRESH):
        await store.keep(code_id, b"", {})
    for code_id in (OLD, USED):
        os.utime(state.directory / "code" / "manifests" / code_id, (1000.0, 1000.0))
    return store


async def test_old_code_goes_and_what_is_used_or_fresh_stays(state: State, code: CodeStore) -> None:
    run_id = await add_run(state)
    new = revision(state, service())
    async with state.database.write() as write:
        await runs.add_revision(
            write, run_id, 2, runs.NewRevision(new.spec_json, new.sealed_secrets, "alice", USED, 0), 1001.0
        )
    now_s = time.time()
    turn = await CollectLoop(state.database, code).turn(now_s)
    assert (turn.sentence, turn.wake_at_s) == ("1 file of old code went, 2 codes kept", now_s + EVERY_S)
    assert set(await code.used_at_s()) == {USED, FRESH}


async def test_it_looks_once_an_hour(state: State, code: CodeStore) -> None:
    loop, now_s = CollectLoop(state.database, code), time.time()
    first = await loop.turn(now_s)
    await code.keep("d" * 64, b"", {})
    os.utime(state.directory / "code" / "manifests" / ("d" * 64), (1000.0, 1000.0))
    assert await loop.turn(now_s + EVERY_S - 1) is first
    assert (await loop.turn(now_s + EVERY_S)).sentence.startswith("1 file of old code went")


async def test_a_server_without_code_has_nothing_to_do(state: State) -> None:
    turn = await CollectLoop(state.database, CodeStore(state.directory / "none")).turn(time.time())
    assert turn.sentence == "0 files of old code went, 0 codes kept"
