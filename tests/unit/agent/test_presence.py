"""presence: the file is there while a session is held, and says which build holds it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from homeport_agent.presence import Presence


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a file tells nobody that it changed
            await asyncio.sleep(0.01)


async def test_what_was_left_behind_goes_and_a_session_is_noted_until_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "connected"
    file.write_text("{}")
    presence = Presence(tmp_path, "0123456789ab")
    running = asyncio.create_task(presence.run())
    await until(lambda: not file.exists())
    presence.changed("10.0.0.1:7401")
    await until(file.exists)
    noted = json.loads(file.read_text())
    assert (noted["server"], noted["build"]) == ("10.0.0.1:7401", "0123456789ab")
    presence.changed("")
    await until(lambda: not file.exists())
    running.cancel()


async def test_a_file_that_cannot_be_written_does_not_end_the_agent(tmp_path: Path) -> None:
    presence = Presence(tmp_path / "gone", "b")
    running = asyncio.create_task(presence.run())
    presence.changed("s:1")
    (tmp_path / "gone").mkdir()
    await until(lambda: (presence.changed("s:1"), (tmp_path / "gone" / "connected").exists())[1])
    assert not running.done()
    running.cancel()
