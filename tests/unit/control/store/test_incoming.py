"""store/incoming: a content is what its hash and size say, or nothing of it stays."""

import hashlib
from pathlib import Path

import pytest
from homeport_control.domain.errors import BadRequest
from homeport_control.store.incoming import Incoming

DATA = b"some content"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("incoming", "contents"):
        (tmp_path / name).mkdir()
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def take_all(incoming: Incoming, pieces: list[tuple[bytes, bool]]) -> None:
    async with incoming:
        for data, last in pieces:
            await incoming.take(data, last=last)


async def test_it_has_its_name_only_when_it_is_whole(folder: Path) -> None:
    async with Incoming(folder, SHA256, len(DATA)) as incoming:
        await incoming.take(DATA[:5], last=False)
        assert not list((folder / "contents").iterdir())
        await incoming.take(DATA[5:], last=True)
    assert files(folder) == [f"contents/{SHA256}"]
    assert (folder / "contents" / SHA256).read_bytes() == DATA


@pytest.mark.parametrize(
    ("size", "pieces", "words"),
    [
        (len(DATA), [(b"x" * len(DATA), True)], "is not what its hash says"),
        (5, [(DATA, True)], "has more than its 5 bytes"),
        (5, [(b"1", False)] * 6, "has more than its 5 bytes"),
        (20, [(DATA, True)], "ended after 12 of 20 bytes"),
        (0, [(b"x", False)], "has more than its 0 bytes"),
    ],
)
async def test_what_is_not_what_it_says_is_refused_and_gone(
    folder: Path, size: int, pieces: list[tuple[bytes, bool]], words: str
) -> None:
    with pytest.raises(BadRequest, match=words):
        await take_all(Incoming(folder, SHA256, size), pieces)
    assert files(folder) == []


async def test_what_is_broken_off_is_gone(folder: Path) -> None:
    async with Incoming(folder, SHA256, len(DATA)) as incoming:
        await incoming.take(DATA[:5], last=False)
    assert files(folder) == []


async def test_two_that_come_at_once_are_one(folder: Path) -> None:
    first, second = Incoming(folder, SHA256, len(DATA)), Incoming(folder, SHA256, len(DATA))
    async with first, second:
        await first.take(DATA[:5], last=False)
        await second.take(DATA, last=True)
        await first.take(DATA[5:], last=True)
    assert files(folder) == [f"contents/{SHA256}"]
