"""agents/usage: a gateway's host is asked, what it says is kept once, and asked for again when it was not."""

import pytest
from fixtures.control import State, add_gateway
from fixtures.plane import WireAgent, serving
from homeport_control.agents.usage import batch_from
from homeport_control.domain.errors import NotReady
from homeport_control.domain.usage import Usage, UsageKey
from homeport_control.store import gateways, usage
from homeport_protos.agent.v1 import agent_pb2

PLACE, NEXT = "0123456789abcdef:100", "0123456789abcdef:200"


async def kept(state: State) -> Usage:
    async with state.database.read() as connection:
        return sum((counted for _, counted in await usage.totals(connection, 0.0, ())), Usage())


async def say(agent: WireAgent, request: agent_pb2.UsageRequest, place: str) -> None:
    count = agent_pb2.UsageCount(hour_s=3600, service="llm", requests=1, prompt_tokens=2, completion_tokens=3)
    batch = agent_pb2.UsageBatch(request_id=request.request_id, place=place, counts=[count])
    await agent.say(batch)


async def asked(agent: WireAgent, after: str) -> agent_pb2.UsageRequest:
    request = await agent.hear_usage_request()
    assert request.after == after
    return request


async def test_each_batch_is_kept_and_the_next_is_asked_for_from_there(state: State) -> None:
    async with serving(state) as plane:
        agent = await plane.joined()
        await agent.connect()
        first = await asked(agent, "")
        await say(agent, first, PLACE)
        await asked(agent, PLACE)
        assert await kept(state) == Usage(1, 2, 3)
        await agent.close()
        await agent.connect()  # what was not answered is asked for again
        again = await asked(agent, PLACE)
        await say(agent, again, NEXT)
        await asked(agent, NEXT)
        assert await kept(state) == Usage(2, 4, 6)
        await agent.close()


async def test_each_gateway_of_a_host_is_asked_for_also_one_that_comes_or_has_gone(state: State) -> None:
    async with serving(state) as plane:
        agent = await plane.joined()
        await agent.connect()
        local = await asked(agent, "")
        assert local.gateway == "local"
        lab = await add_gateway(state, "lab", agent.host_id, domain="b.c")
        other = await asked(agent, "")
        assert other.gateway == "lab"
        await say(agent, other, PLACE)
        assert (await asked(agent, PLACE)).gateway == "lab"
        async with state.database.write() as write:
            await gateways.remove(write, lab)
        await agent.close()
        await agent.connect()  # its last requests are counted also when this host was away
        requests = {request.gateway: request for request in [await agent.hear_usage_request() for _ in range(2)]}
        assert {name: request.after for name, request in requests.items()} == {"local": "", "lab": PLACE}
        await agent.say(agent_pb2.UsageBatch(request_id=requests["lab"].request_id))
        assert (await asked(agent, "")).gateway == "lab"
        await agent.close()
        await agent.connect()
        assert (await asked(agent, "")).gateway == "local"
        assert await kept(state) == Usage(1, 2, 3)
        await agent.close()


async def test_an_answer_to_nothing_is_nothing(state: State) -> None:
    async with serving(state) as plane:
        agent = await plane.joined()
        await agent.connect()
        first = await asked(agent, "")
        await say(agent, agent_pb2.UsageRequest(request_id=first.request_id + 5), PLACE)
        await say(agent, first, NEXT)
        await asked(agent, NEXT)
        assert await kept(state) == Usage(1, 2, 3)
        await agent.close()


def test_what_a_host_says_is_held_to_what_may_be() -> None:
    count = agent_pb2.UsageCount(hour_s=7300, token_id="t" * 999, service="s", requests=-5, prompt_tokens=2)
    batch = batch_from(agent_pb2.UsageBatch(place=PLACE, counts=[count]))
    assert batch.counts == ((UsageKey(7200, "t" * 199 + "…", "s"), Usage(0, 2, 0)),)
    future = agent_pb2.UsageBatch(place=PLACE, counts=[agent_pb2.UsageCount(hour_s=1 << 60)])
    assert batch_from(future).counts[0][0].from_s < 1 << 40
    assert batch_from(agent_pb2.UsageBatch()).place == ""  # that log is gone
    with pytest.raises(NotReady):
        batch_from(agent_pb2.UsageBatch(counts=[count]))
    for place in ("x", "0123456789abcdef:-1", f"{PLACE}\n"):
        with pytest.raises(NotReady):
            batch_from(agent_pb2.UsageBatch(place=place))
