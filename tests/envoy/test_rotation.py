"""Endpoints come, go and drain while requests run, through a real Envoy."""

import asyncio

import pytest
from homeport_control.domain.gateway import LoadReport, ServiceRoute
from rig.gateway import TOKEN, Client, Gateway, Replica, read_body, read_head, replicas
from rig.load import Load

pytestmark = pytest.mark.envoy


async def load_of(gateway: Gateway, replica: Replica, *, in_flight: int) -> LoadReport:
    """The first report that shows so many requests in flight at this replica."""
    async with asyncio.timeout(10):
        while True:
            report = await gateway.control.loads.get()
            found = [e for e in report.endpoints if e.port == replica.port]
            if sum(e.in_flight for e in found) == in_flight:
                return report


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_replacing_every_replica_under_load_loses_no_request(gateway: Gateway, method: str) -> None:
    async with replicas("a", "b", "c") as (a, b, c):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        async with Load(gateway, method=method) as load:
            for old, new in ((a, b), (b, c)):
                await load.more()
                await gateway.control.publish(gateway.snapshot(old.endpoint(), new.endpoint()))
                await load.more()
                await gateway.control.publish(gateway.snapshot(old.endpoint(draining=True), new.endpoint()))
                served = old.served
                await load.more()
                assert old.served <= served + 4  # what was on its way when the ACK came
                await gateway.control.publish(gateway.snapshot(new.endpoint()))
                await old.stop()
            await load.more()
        assert load.answers.keys() == {200}, load.answers
        assert set(load.by_replica) == {"a", "b", "c"}


async def test_what_drains_takes_over_while_the_one_that_serves_is_left_out_and_gets_nothing_after_that(
    gateway: Gateway,
) -> None:
    """One that refused three connections is left out for two seconds, also when it is the only one that serves by then."""
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(gateway.snapshot(a.endpoint(), b.endpoint()))
        async with Load(gateway) as load:
            await a.stop()
            await load.more(200)
            await a.start(a.port)
            await gateway.control.publish(gateway.snapshot(a.endpoint(), b.endpoint(draining=True)))
            began = load.by_replica["b"]
            await load.more(50)
            assert load.answers.keys() == {200}, load.answers
            assert load.by_replica["b"] > began, "the one that serves was not left out, so this shows nothing"
            async with asyncio.timeout(10):
                while not load.by_replica["a"]:
                    await load.more(20)
            served = b.served
            await load.more(500)
            assert b.served <= served + 4  # what was on its way
        assert load.answers.keys() == {200}, load.answers


async def test_a_published_replica_gets_requests_as_soon_as_the_ack_is_here(gateway: Gateway) -> None:
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(gateway.snapshot())
        for replica in (a, b):
            await gateway.control.publish(gateway.snapshot(replica.endpoint()))
            assert (await gateway.client.request()).json()["replica"] == replica.name


async def test_a_killed_replica_fails_no_idempotent_request(gateway: Gateway) -> None:
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(gateway.snapshot(a.endpoint(), b.endpoint()))
        async with Load(gateway) as load:
            await load.more()
            await a.stop()
            await load.more(1000)
            gone = load.by_replica["a"]
            await load.more()
        assert load.answers.keys() == {200}, load.answers
        assert load.by_replica["a"] == gone


async def test_a_request_that_may_have_been_carried_out_is_not_sent_again(gateway: Gateway) -> None:
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(gateway.snapshot(a.endpoint(), b.endpoint()))
        post = await gateway.client.request(path="/break", method="POST")
        assert (post.status, post.json()["error"]["code"]) == (503, "replica_failed")  # type: ignore[index]
        assert a.served + b.served == 1
        get = await gateway.client.request(path="/break")
        assert get.status == 503
        assert a.served + b.served > 2


async def test_the_only_replica_is_never_left_out_for_failing(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await a.stop()
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        for _ in range(8):
            assert (await gateway.client.request()).json()["error"]["code"] == "replica_failed"  # type: ignore[index]


async def test_a_draining_replica_ends_its_stream_in_peace_and_gets_nothing_new(gateway: Gateway) -> None:
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        stream = Client(gateway.port)
        reader = await stream.send("GET", "/hold", "hello.localhost", {"authorization": f"Bearer {TOKEN}"})
        _, status, headers = await read_head(reader)
        assert status == "200"
        report = await load_of(gateway, a, in_flight=1)
        # Whether the report's second is the one in which the request came (`issued`) is chance.
        assert [(it.service, it.port, it.in_flight) for it in report.endpoints] == [("hello", a.port, 1)]

        await gateway.control.publish(gateway.snapshot(a.endpoint(draining=True), b.endpoint()))
        answers = [await gateway.client.request() for _ in range(20)]
        assert {answer.json()["replica"] for answer in answers} == {"b"}
        await load_of(gateway, a, in_flight=1)  # a draining endpoint is still counted

        a.release.set()
        assert await read_body(reader, headers) == b"firstlast"
        await load_of(gateway, a, in_flight=0)
        stream.close()


async def test_when_all_replicas_drain_new_requests_are_told_so(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint(draining=True)))
        answer = await gateway.client.request()
        assert (answer.status, answer.json()["error"]["code"]) == (503, "no_ready_replica")  # type: ignore[index]
        assert a.served == 0


async def test_services_come_and_go_and_leave_the_others_alone(gateway: Gateway) -> None:
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        other = ServiceRoute("other", ("other.localhost",), True, (b.endpoint(),))
        async with Load(gateway) as load:
            for _ in range(5):
                await gateway.control.publish(gateway.snapshot(a.endpoint(), services=(other,)))
                assert (await gateway.client.request("other.localhost")).status == 200
                await gateway.control.publish(gateway.snapshot(a.endpoint()))
                assert (await gateway.client.request("other.localhost")).status == 404
            await load.more()
        assert load.answers.keys() == {200}, load.answers


async def test_requests_are_spread_over_replicas(gateway: Gateway) -> None:
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(gateway.snapshot(a.endpoint(), b.endpoint()))
        async with Load(gateway, clients=8) as load:
            await load.more(400)
        assert min(load.by_replica["a"], load.by_replica["b"]) > 0.25 * load.by_replica.total()


async def test_a_websocket_passes(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        socket = Client(gateway.port)
        upgrade = {"connection": "upgrade", "upgrade": "websocket", "authorization": f"Bearer {TOKEN}"}
        reader = await socket.send("GET", "/ws", "hello.localhost", upgrade)
        async with asyncio.timeout(10):
            assert (await read_head(reader))[1] == "101"
            assert socket.writer is not None
            socket.writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
        socket.close()
