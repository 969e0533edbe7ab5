"""Fetching from a control plane on real sockets with mTLS, honest and hostile."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes.code import contents_of, manifest_of, sha256
from fakes.control import FakeControl, fake_control
from homeport_agent.code.base import CodeDamaged, CodeError, CodeRefused, ServerAway
from homeport_agent.code.cache import CodeCache
from homeport_agent.code.fetch import fetch
from homeport_agent.identity import Identity, IdentityStore
from homeport_agent.join import join
from homeport_protos.agent.v1.agent_pb2 import ContentChunk
from homeport_protos.code import CHUNK_BYTES, code_id
from homeport_protos.common.v1.code_pb2 import CodeManifest

BIG = os.urandom(2 * CHUNK_BYTES + 5)
TREES = {"/workflow": {"a.py": b"print(1)", "big": BIG, "empty": b"", "link": "a.py", "z.py": b"print(2)"}}
MANIFEST = manifest_of(TREES)
ID = code_id(MANIFEST)


@dataclass
class Rig:
    control: FakeControl
    cache: CodeCache
    identity: Identity
    progress: list[tuple[int, int]] = field(default_factory=list)

    async def fetch(self, name: str = ID, message_s: float = 10.0) -> None:
        await fetch(name, self.cache, lambda: self.identity, lambda *numbers: self.progress.append(numbers), message_s)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with fake_control(tmp_path / "control") as control:
        store = IdentityStore(tmp_path / "state")
        await join(store, f"127.0.0.1:{control.api_port}", control.token, "gpu-1", control.web_port)
        control.manifests[ID] = MANIFEST
        control.contents |= contents_of(TREES)
        yield Rig(control, CodeCache(tmp_path / "state"), store.read())


def files(cache: CodeCache) -> list[Path]:
    return [it for it in cache.folder.rglob("*") if it.is_file()]


async def test_all_of_it_comes_and_its_progress_is_told(rig: Rig) -> None:
    await rig.fetch()
    assert rig.cache.missing(MANIFEST) == {}
    assert b"".join(rig.cache.read(sha256(BIG))) == BIG
    total = len(BIG) + 16
    assert (rig.progress[0], rig.progress[-1]) == ((0, total), (total, total))


async def test_what_is_here_is_not_asked_for_again_and_needs_no_server(rig: Rig) -> None:
    await rig.fetch()
    await rig.control.stop()
    await rig.fetch()


async def test_a_second_code_fetches_only_what_it_changed(rig: Rig) -> None:
    await rig.fetch()
    rig.control.asked.clear()
    changed = {"/workflow": {**TREES["/workflow"], "a.py": b"print(3)"}}
    other = manifest_of(changed)
    rig.control.manifests[code_id(other)] = other
    rig.control.contents |= contents_of(changed)
    await rig.fetch(code_id(other))
    assert rig.control.asked == [sha256(b"print(3)")]


async def test_a_fetch_that_broke_off_goes_on_where_it_was(rig: Rig) -> None:
    rig.control.breaks_after = 3  # a.py is whole, big is not
    with pytest.raises(ServerAway, match="cannot be reached"):
        await rig.fetch()
    assert sha256(b"print(1)") not in rig.cache.missing(MANIFEST)
    assert list((rig.cache.folder / "incoming").iterdir()) == []
    rig.control.asked.clear()
    await rig.fetch()
    assert sha256(b"print(1)") not in rig.control.asked
    assert rig.cache.missing(MANIFEST) == {}


async def test_a_server_that_is_away_heals(rig: Rig) -> None:
    await rig.control.stop()
    with pytest.raises(ServerAway) as caught:
        await rig.fetch()
    assert (caught.value.can_heal, caught.value.tries) == (True, 0)


async def test_a_server_that_falls_silent_is_given_up(rig: Rig) -> None:
    hang = asyncio.Event()

    async def never(*_: object) -> None:
        await hang.wait()

    rig.control.FetchContents = never  # type: ignore[assignment, method-assign]
    await rig.control.stop()
    await rig.control.start()
    with pytest.raises(ServerAway, match=r"said nothing for 0\.3 s"):
        await rig.fetch(message_s=0.3)
    hang.set()


async def test_a_refusal_of_the_server_is_told_in_its_words(rig: Rig) -> None:
    with pytest.raises(CodeError, match="is not this host's") as caught:
        await rig.fetch("f" * 64)
    assert caught.value.can_heal


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "F" * 64, "f" * 63])
async def test_an_id_that_is_none_never_becomes_a_path(rig: Rig, name: str) -> None:
    with pytest.raises(CodeRefused, match="no id of code"):
        await rig.fetch(name)


@pytest.mark.parametrize(
    "hostile",
    [
        manifest_of({"/workflow": {"../../etc/cron.d/x": b"x"}}),
        manifest_of({"/workflow": {"/etc/passwd": b"x"}}),
        manifest_of({"/workflow": {"out": "../../etc"}}),
        manifest_of({"/workflow": {"link": "sub", "link/file": b"x"}}),
        manifest_of({"/proc/sys": {"x": b"x"}}),
        manifest_of({"/workflow": {"x": b"x"}}, mode=0o4755),
    ],
)
async def test_a_manifest_against_the_rules_is_refused_here_too(rig: Rig, hostile: CodeManifest) -> None:
    name = code_id(hostile)
    rig.control.manifests[name] = hostile
    with pytest.raises(CodeRefused, match="refused by this host"):
        await rig.fetch(name)
    assert files(rig.cache) == []


async def test_other_code_than_was_asked_for_is_refused(rig: Rig) -> None:
    rig.control.manifests["a" * 64] = MANIFEST
    with pytest.raises(CodeRefused, match="other code than aaaaaaaaaaaa"):
        await rig.fetch("a" * 64)
    assert files(rig.cache) == []


def doubled(chunk: ContentChunk) -> Iterable[ContentChunk]:
    return [ContentChunk(sha256=chunk.sha256, data=chunk.data * 2, last=chunk.last)]


def renamed(chunk: ContentChunk) -> Iterable[ContentChunk]:
    return [ContentChunk(sha256="../../x", data=chunk.data, last=chunk.last)]


def flipped(chunk: ContentChunk) -> Iterable[ContentChunk]:
    return [ContentChunk(sha256=chunk.sha256, data=bytes(len(chunk.data)), last=chunk.last)]


def nothing_for_ever(chunk: ContentChunk) -> Iterable[ContentChunk]:
    return (ContentChunk(sha256=chunk.sha256) for _ in range(1_000_000))


def shortened(chunk: ContentChunk) -> Iterable[ContentChunk]:
    return [ContentChunk(sha256=chunk.sha256, data=chunk.data[:-1], last=True)]


def left_out(chunk: ContentChunk) -> Iterable[ContentChunk]:
    return []


@pytest.mark.parametrize("tampered", [doubled, renamed, flipped, nothing_for_ever, shortened, left_out])
async def test_contents_that_are_not_what_the_manifest_says_are_never_taken(
    rig: Rig, tampered: Callable[[ContentChunk], Iterable[ContentChunk]]
) -> None:
    rig.control.tampered = tampered
    with pytest.raises(CodeDamaged):
        await rig.fetch()
    assert [it.name for it in files(rig.cache)] == [ID]
