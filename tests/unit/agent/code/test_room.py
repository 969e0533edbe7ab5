import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes.code import contents_of, manifest_of, sha256
from fakes.control import FakeControl, fake_control
from homeport_agent.code.base import CodeError
from homeport_agent.code.cache import CodeCache
from homeport_agent.code.keep import KEEP_S
from homeport_agent.code.room import CodeRoom
from homeport_agent.identity import IdentityStore
from homeport_agent.join import join
from homeport_protos.code import code_id

OLD = {"/workflow": {"same": b"same", "old": b"old"}}
NEW = {"/workflow": {"same": b"same", "new": b"new"}}


def quiet(done: int, total: int) -> None:
    return


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[FakeControl]:
    async with fake_control(tmp_path / "control") as made:
        store = IdentityStore(tmp_path / "state")
        await join(store, f"127.0.0.1:{made.api_port}", made.token, "gpu-1", made.web_port)
        for trees in (OLD, NEW):
            made.manifests[code_id(manifest_of(trees))] = manifest_of(trees)
            made.contents |= contents_of(trees)
        yield made


@pytest.fixture
def room(control: FakeControl, tmp_path: Path) -> CodeRoom:
    return CodeRoom(tmp_path / "state", IdentityStore(tmp_path / "state").read)


async def test_two_replicas_that_want_the_same_code_fetch_it_once(control: FakeControl, room: CodeRoom) -> None:
    name = code_id(manifest_of(NEW))
    await asyncio.gather(*(room.fetch(name, quiet) for _ in range(4)))
    assert sorted(control.asked) == sorted(contents_of(NEW))


async def test_code_that_nobody_has_and_used_for_a_day_goes_with_what_only_it_needed(
    control: FakeControl, room: CodeRoom, tmp_path: Path
) -> None:
    old, new = code_id(manifest_of(OLD)), code_id(manifest_of(NEW))
    await room.fetch(old, quiet)
    await room.fetch(new, quiet)
    cache = CodeCache(tmp_path / "state")
    await room.collect(set(), time.time())
    assert set(cache.manifests()) == {old, new}
    await room.collect({new}, time.time() + KEEP_S + 1)
    assert set(cache.manifests()) == {new}
    assert set(cache.contents()) == set(contents_of(NEW))
    await room.fetch(new, quiet)
    assert sorted(control.asked) == sorted([*contents_of(OLD), sha256(b"new")])


async def test_use_keeps_code_for_another_day(room: CodeRoom, tmp_path: Path) -> None:
    old, cache = code_id(manifest_of(OLD)), CodeCache(tmp_path / "state")
    await room.fetch(old, quiet)
    os.utime(cache.folder / "manifests" / old, (0, 0))
    await room.fetch(old, quiet)  # it is here: only used
    await room.collect(set(), time.time())
    assert set(cache.manifests()) == {old}


async def test_a_disk_that_refuses_is_told(room: CodeRoom, tmp_path: Path) -> None:
    (tmp_path / "state" / "code").write_text("no folder")
    with pytest.raises(CodeError, match=r"the code cannot be kept in .*: Not a directory"):
        await room.fetch(code_id(manifest_of(NEW)), quiet)
