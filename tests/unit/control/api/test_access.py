"""api/access: the log of a run's gateway, from its host; followed over the host's absence."""

import grpc
from fixtures.control import State, add_gateway, add_run, add_token
from fixtures.plane import Api, Plane, WireAgent, first, refusal, serving
from homeport_control.store import runs
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.api.v1 import api_pb2


async def asked(agent: WireAgent) -> agent_pb2.LogRequest:
    while (message := await agent.hear()).WhichOneof("message") != "log_request":
        pass
    return message.log_request


def line(request: agent_pb2.LogRequest, second: int) -> agent_pb2.LogLines:
    stamp = f"2026-01-01T00:00:{second:02}.000000000Z"
    found = agent_pb2.LogLine(text=b"%d" % second, stream="access", timestamp=stamp)
    return agent_pb2.LogLines(request_id=request.request_id, lines=[found])


async def test_lines_come_from_the_gateways_host(state: State) -> None:
    await add_token(state, "hp_user", "user")
    async with serving(state, gateway_start_s=0.05) as plane, plane.api("hp_user") as user:
        agent = await plane.joined()
        await agent.connect()
        await add_run(state)
        stream = user.stream("Logs", api_pb2.LogsRequest(run_name="hello", access=True, tail=5, since_s=60.0))
        request = await asked(agent)
        assert (request.access, request.gateway, request.replica_id) == ("hello", "local", "")
        assert (request.tail, request.since_s, request.follow) == (5, 60.0, False)
        await agent.say(line(request, 1))
        await agent.say(agent_pb2.LogEnd(request_id=request.request_id))
        entries = [entry async for answer in stream for entry in answer.entries]
        where = f"{agent.host_id}/local"
        assert [(entry.text, entry.stream, entry.replica_id) for entry in entries] == [(b"1", "access", where)]
        await agent.close()


async def test_who_follows_reads_on_where_they_were_when_the_host_comes_back(state: State) -> None:
    await add_token(state, "hp_user", "user")
    async with serving(state, gateway_start_s=0.05) as plane, plane.api("hp_user") as user:
        agent = await plane.joined()
        await agent.connect()
        await add_run(state)
        stream = user.stream("Logs", api_pb2.LogsRequest(run_name="hello", access=True, follow=True, tail=0))
        request = await asked(agent)
        assert request.follow
        await agent.say(line(request, 1))
        while not (answer := await first(stream)).entries:
            pass
        assert answer.entries[0].text == b"1"
        await agent.close()
        while not (answer := await first(stream)).note:
            pass
        await agent.connect()
        again = await asked(agent)
        assert again.after == "any=2026-01-01T00:00:01.000000000Z access=2026-01-01T00:00:01.000000000Z"
        assert again.tail == -1
        stream.cancel()
        await agent.close()


async def test_the_gateway_that_publishes_it_is_asked_and_while_it_moves_both_in_the_order_of_time(
    state: State,
) -> None:
    await add_token(state, "hp_user", "user")
    given = {"hello": ["local"]}
    async with serving(state, publishers=given.__getitem__) as plane, plane.api("hp_user") as user:
        near, far = await plane.joined("near"), await plane.joined("far")
        await near.connect()
        await far.connect()
        await add_gateway(state, "lab", far.host_id, domain="b.c")
        await add_run(state, gateway="lab")
        stream = user.stream("Logs", api_pb2.LogsRequest(run_name="hello", access=True, tail=-1))
        for agent, gateway, second in ((near, "local", 1), (far, "lab", 2)):
            request = await asked(agent)
            assert request.gateway == gateway
            for each in (second, second + 2):
                await agent.say(line(request, each))
            await agent.say(agent_pb2.LogEnd(request_id=request.request_id))
        entries = [entry async for answer in stream for entry in answer.entries]
        assert [entry.text for entry in entries] == [b"1", b"2", b"3", b"4"]
        given["hello"] = []
        await near.close()  # it does not matter any more
        stream = user.stream("Logs", api_pb2.LogsRequest(run_name="hello", access=True))
        request = await asked(far)
        await far.say(agent_pb2.LogEnd(request_id=request.request_id))
        assert [answer async for answer in stream] == []
        await far.close()


async def test_who_follows_is_told_of_a_gateway_that_comes_and_of_the_end_of_the_run(state: State) -> None:
    await add_token(state, "hp_user", "user")
    async with serving(state) as plane, plane.api("hp_user") as user:
        near, far = await plane.joined("near"), await plane.joined("far")
        await near.connect()
        await far.connect()
        run_id = await add_run(state)
        stream = user.stream("Logs", api_pb2.LogsRequest(run_name="hello", access=True, follow=True, tail=0))
        request = await asked(near)
        assert (request.gateway, request.follow, request.tail) == ("local", True, 0)
        await add_gateway(state, "lab", far.host_id, domain="b.c", default=True)  # it moves there
        request = await asked(far)
        assert (request.gateway, request.tail) == ("lab", -1)
        await far.say(line(request, 1))
        while not (await first(stream)).entries:
            pass
        async with state.database.write() as write:
            await runs.update(write, run_id, ended_at_s=2000.0)
        for agent in (near, far):
            last = await asked(agent)
            assert not last.follow, "what was written up to the end"
            await agent.say(agent_pb2.LogEnd(request_id=last.request_id))
        assert [entry async for answer in stream for entry in answer.entries] == []
        await near.close()
        await far.close()


async def test_what_cannot_be_read_is_one_line(plane: Plane, user: Api) -> None:
    async def ask(name: str, **fields: object) -> None:
        await first(user.stream("Logs", api_pb2.LogsRequest(run_name=name, access=True, **fields)))

    assert await refusal(ask("nothing")) == (grpc.StatusCode.NOT_FOUND, "no run nothing; `homeport ps -a` shows all")
    await add_run(plane.state)
    for fields, code, words in (
        ({}, grpc.StatusCode.FAILED_PRECONDITION, "not connected"),
        ({"replica": 0}, grpc.StatusCode.INVALID_ARGUMENT, "not of one replica"),
    ):
        found, message = await refusal(ask("hello", **fields))
        assert (found, words in message) == (code, True), message
