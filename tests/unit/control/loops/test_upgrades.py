"""loops/upgrades: who is told, what is recorded, and that somebody's wish goes before an old failure."""

from typing import Any

import pytest
from fixtures.control import State, add_host, get_host
from homeport_control.loops.upgrades import UpgradesLoop
from homeport_control.store import events, hosts

NOW_S = 5000.0


class Agents:
    """Keeps what they were told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.hears = True

    async def send(self, host_id: str, build: str) -> bool:
        self.told.append((host_id, build))
        return self.hears


@pytest.fixture
def agents() -> Agents:
    return Agents()


@pytest.fixture
async def loop(state: State, agents: Agents) -> UpgradesLoop:
    await add_host(state, "h1")
    await change(state, build="old")
    return UpgradesLoop(state.database, "new", agents.send)


async def change(state: State, **values: Any) -> None:
    async with state.database.write() as write:
        await hosts.update(write, "h1", values)


async def test_an_agent_is_told_once_and_that_it_came_back_well_is_recorded(
    state: State, loop: UpgradesLoop, agents: Agents
) -> None:
    assert (await loop.turn(NOW_S)).sentence == "upgrading to new: h1"
    await loop.turn(NOW_S + 1)
    assert agents.told == [("h1", "new")]
    await change(state, build="new", connection_since_s=NOW_S + 2)
    await loop.turn(NOW_S + 60)
    async with state.database.read() as connection:
        told = [it.sentence for it in await events.newest(connection, events.Filter(), 10)]
    assert "host h1 has the agent new now" in told
    assert (await loop.turn(NOW_S + 61)).sentence == "0 upgrades under way"


async def test_a_failure_stands_until_somebody_asks(state: State, loop: UpgradesLoop, agents: Agents) -> None:
    await loop.turn(NOW_S)
    await change(state, upgrade_error="new: no network")
    await loop.turn(NOW_S + 1)
    await loop.turn(NOW_S + 2)
    assert len(agents.told) == 1
    assert (await get_host(state, "h1")).upgrade_error == "new: no network"
    loop.ask(["h1"])
    await loop.turn(NOW_S + 3)
    assert len(agents.told) == 2
    assert (await get_host(state, "h1")).upgrade_error == ""


async def test_one_that_cannot_be_told_is_not_under_way(loop: UpgradesLoop, agents: Agents) -> None:
    agents.hears = False
    assert (await loop.turn(NOW_S)).sentence == "0 upgrades under way"
