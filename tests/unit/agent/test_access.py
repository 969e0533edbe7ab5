"""agent/access: the lines of one service, from where a reader stands, and as they come."""

import asyncio
import json
from pathlib import Path

from homeport_agent.access import access_lines
from homeport_agent.envoy.access_log import AccessLog
from homeport_agent.model import LogLine, LogWish
from homeport_protos.logs import LogPosition


def line(second: int, service: str = "web", **more: str) -> str:
    ended = f"2026-01-01T00:00:{second:02}.000Z"
    return json.dumps({"ended": ended, **more, "service": service}, separators=(",", ":")) + "\n"


def write(folder: Path, *lines: str) -> None:
    with (folder / "access.log").open("a") as file:
        file.writelines(lines)


async def read(folder: Path, **wish: object) -> list[LogLine]:
    return [it async for it in access_lines(AccessLog(folder), LogWish("", access="web", **wish))]  # type: ignore[arg-type]


def seconds(lines: list[LogLine]) -> list[str]:
    return [json.loads(it.text)["ended"][17:19] for it in lines]


async def test_the_lines_of_the_service_alone(tmp_path: Path) -> None:
    assert await read(tmp_path) == []
    write(
        tmp_path,
        line(1),
        line(2, "web2"),
        line(3, path='/"service":"web"'),
        line(4, "x", path='"service":"web"'),
        line(5),
    )
    found = await read(tmp_path)
    assert seconds(found) == ["01", "03", "05"]
    assert {it.stream for it in found} == {"access"}
    assert seconds(await read(tmp_path, tail=1)) == ["05"]
    assert await read(tmp_path, tail=0) == []
    assert await read(tmp_path, since_s=60.0) == []  # all of them are older


async def test_who_comes_back_gets_what_came_since_even_out_of_order(tmp_path: Path) -> None:
    write(tmp_path, line(1), line(9), line(8), line(8))  # two workers: the second wrote later what had ended earlier
    found = await read(tmp_path)
    assert [it.timestamp for it in found] == sorted({it.timestamp for it in found})
    for had in range(len(found)):
        position = LogPosition()
        for each in found[: had + 1]:
            position.note(each.stream, each.timestamp)
        assert await read(tmp_path, after=str(position), tail=2) == found[had + 1 :]
    assert found[0].timestamp == "2026-01-01T00:00:01.000000000Z"
    assert found[-1].timestamp == "2026-01-01T00:00:09.000000002Z"


async def test_who_follows_gets_what_comes_also_over_a_rename(tmp_path: Path) -> None:
    write(tmp_path, line(1))
    lines = access_lines(AccessLog(tmp_path), LogWish("", follow=True, tail=0, access="web"))
    coming = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while not coming.done():  # what is written before it has looked first is not new
            write(tmp_path, line(2))
            await asyncio.wait([coming], timeout=0.3)
        assert seconds([coming.result()]) == ["02"]
        (tmp_path / "access.log").rename(tmp_path / "access.log.00000001")
        write(tmp_path, line(3))
        while seconds([await anext(lines)]) != ["03"]:
            pass
    await lines.aclose()
