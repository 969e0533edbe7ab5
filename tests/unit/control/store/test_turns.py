"""store/turns: others have their turn when the work has had its own, and not before."""

import asyncio

from homeport_control.store.turns import Turns


async def had_a_turn(turns: Turns) -> bool:
    """Whether giving let somebody else run."""
    ran: list[bool] = []
    asyncio.get_running_loop().call_soon(ran.append, True)
    await turns.give()
    return bool(ran)


async def test_who_has_just_begun_goes_on() -> None:
    assert not await had_a_turn(Turns(most_s=3600))


async def test_who_has_had_his_turn_lets_others_have_theirs() -> None:
    assert await had_a_turn(Turns(most_s=0.0))
