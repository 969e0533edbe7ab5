import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from homeport_agent.engine.base import EngineDown, NoSuchContainer
from homeport_agent.log_archive import KEEP_BYTES, MAX_AGE_S, MAX_TOTAL_BYTES, PART_BYTES, LogArchive, too_many
from homeport_agent.model import LogLine


class Container:
    """An engine that has one container's logs, or fails at them."""

    def __init__(self, *lines: LogLine, fails: Exception | None = None, hangs: bool = False) -> None:
        self._lines = lines
        self._fails = fails
        self._hangs = hangs

    @asynccontextmanager
    async def logs(self, _container: str, **_asked: object) -> AsyncIterator[AsyncIterator[LogLine]]:
        if isinstance(self._fails, NoSuchContainer):
            raise self._fails

        async def lines() -> AsyncIterator[LogLine]:
            for line in self._lines:
                yield line
            if self._fails:
                raise self._fails
            if self._hangs:
                await asyncio.Event().wait()

        yield lines()


def line(number: int, text: bytes = b"", stream: str = "stdout") -> LogLine:
    return LogLine(text or f"line {number}".encode(), stream, f"2026-11-23T10:00:00.{number:09d}Z")


async def keep(archive: LogArchive, container: Container, replica_id: str = "r1") -> str:
    return await archive.keep(container, "homeport-r1", replica_id)  # type: ignore[arg-type]


async def kept(archive: LogArchive, *, tail: int = -1, after: str = "") -> list[LogLine]:
    batches = archive.read("r1", tail=tail, wanted=lambda line: line.timestamp > after)
    return [line async for batch in batches for line in batch]


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


async def test_what_was_kept_is_read_as_it_was_written(tmp_path: Path) -> None:
    archive = LogArchive(tmp_path / "logs")
    lines = [line(1), line(2, b"\xff\x00 \r x", "stderr"), line(3, b" "), line(4)]
    assert await keep(archive, Container(*lines)) == ""
    assert archive.has("r1")
    assert await kept(archive) == lines


async def test_the_last_of_the_wanted_lines_are_read(tmp_path: Path) -> None:
    archive = LogArchive(tmp_path / "logs")
    lines = [line(number) for number in range(10)]
    await keep(archive, Container(*lines))
    assert await kept(archive, tail=3) == lines[7:]
    assert await kept(archive, tail=0) == []
    assert await kept(archive, tail=30) == lines
    assert await kept(archive, after=lines[7].timestamp) == lines[8:]
    assert await kept(archive, tail=5, after=lines[7].timestamp) == lines[8:]


async def test_only_the_newest_of_a_long_log_is_kept(tmp_path: Path) -> None:
    archive = LogArchive(tmp_path / "logs", part_bytes=1000)
    lines = [line(number, b"x" * 100) for number in range(2000)]
    await keep(archive, Container(*lines * 100))
    found = await kept(archive)
    parts = KEEP_BYTES // PART_BYTES + 1
    assert found == (lines * 100)[-len(found) :]
    assert 0 < sum(len(it.text) for it in found) <= parts * 200_000  # a part ends with the batch in which it is full


async def test_it_is_readable_by_nobody_else_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    await keep(LogArchive(tmp_path / "logs"), Container(line(1)))
    (path,) = (tmp_path / "logs").iterdir()
    assert path.name == "r1.log.gz"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("container", "words"),
    [
        (
            Container(line(1), fails=EngineDown("Docker does not answer")),
            "its logs are not kept: Docker does not answer",
        ),
        (Container(line(1), fails=OSError(28, "No space left on device")), "No space left on device"),
        (Container(line(1), hangs=True), "took longer than 0.1 s"),
    ],
    ids=["engine", "disk", "hang"],
)
async def test_what_cannot_be_kept_is_told_and_leaves_nothing(tmp_path: Path, container: Container, words: str) -> None:
    archive = LogArchive(tmp_path / "logs", keep_s=0.1)
    assert words in await keep(archive, container)
    assert not archive.has("r1")
    assert names(tmp_path / "logs") == []


async def test_without_a_container_there_is_nothing_to_keep(tmp_path: Path) -> None:
    archive = LogArchive(tmp_path / "logs")
    assert await keep(archive, Container(fails=NoSuchContainer("none"))) == ""
    assert not archive.has("r1")


async def test_an_id_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    archive = LogArchive(tmp_path / "logs")
    assert "is no name for a file" in await keep(archive, Container(line(1)), "../r1")
    assert not archive.has("../r1")
    assert names(tmp_path) == []


async def test_what_is_old_goes_and_what_a_killed_agent_left(tmp_path: Path) -> None:
    archive = LogArchive(tmp_path)
    await keep(archive, Container(line(1)))
    await keep(archive, Container(line(1)), "r2")
    left = tmp_path / ".keeping-x"
    left.mkdir()
    long_ago = time.time() - MAX_AGE_S - 1
    for path in (tmp_path / "r1.log.gz", left):
        os.utime(path, (long_ago, long_ago))
    archive.prune(time.time(), is_start=True)
    assert names(tmp_path) == ["r2.log.gz"]


def test_the_oldest_go_when_all_are_too_much() -> None:
    half = MAX_TOTAL_BYTES // 2
    assert too_many([("new", 30.0, half), ("old", 10.0, half), ("mid", 20.0, half)], 40.0) == ["old"]
    assert too_many([("new", 30.0, 1), ("old", 10.0, 1)], 10.0 + MAX_AGE_S + 1) == ["old"]
    assert too_many([], 0.0) == []
