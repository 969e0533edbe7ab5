"""Requests that are held at the door of a service that is asleep, through a real Envoy."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest
from homeport_control.decide.hold import Limits
from homeport_control.domain.gateway import Proof, PublishedModel, RateRule, ServiceRoute, TokenGrant, Traffic
from homeport_control.domain.holding import Outlook
from rig.gateway import TOKEN, Client, Gateway, Replica, Response, read_head, replicas, sha256
from rig.load import Load

pytestmark = pytest.mark.envoy

MODELS = "gateway.localhost"


async def until_held(gateway: Gateway, count: int, service: str = "hello") -> None:
    await gateway.control.until(lambda: gateway.control.held.get(service, 0) == count)


async def hold(gateway: Gateway, count: int) -> "Crowd":
    """So many requests, each over a connection of its own, all of them held."""
    crowd = Crowd(gateway, count)
    await until_held(gateway, count)
    return crowd


class Crowd:
    def __init__(self, gateway: Gateway, count: int, method: str = "GET", body: bytes = b"") -> None:
        self.clients = [Client(gateway.port) for _ in range(count)]
        self.tasks = [
            asyncio.create_task(client.request(path=f"/{number}", method=method, body=body, timeout_s=60))
            for number, client in enumerate(self.clients)
        ]

    async def answers(self) -> list[Response]:
        try:
            return await asyncio.gather(*self.tasks)
        finally:
            for client in self.clients:
                client.close()

    def leave(self) -> None:
        for client in self.clients:
            client.close()
        for task in self.tasks:
            task.cancel()


def statuses(answers: Iterable[Response]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


def code(answer: Response) -> object:
    return answer.json()["error"]["code"]  # type: ignore[index]


async def test_a_held_request_goes_on_when_a_replica_is_in_rotation(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(held=True))
        crowd = await hold(gateway, 1)
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        (answer,) = await crowd.answers()
        assert answer.json()["replica"] == "a"
        assert gateway.control.held == {"hello": 0}
        assert (await gateway.client.request()).status == 200


async def test_of_500_that_are_held_none_is_lost(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(held=True))
        crowd = await hold(gateway, 500)
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        answers = await crowd.answers()
        assert statuses(answers) == {200: 500}
        assert [answer.json()["path"] for answer in answers] == [f"/{number}" for number in range(500)]


async def test_a_large_body_waits_with_its_request(gateway: Gateway) -> None:
    body = bytes(5 << 20)
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(held=True))
        crowd = Crowd(gateway, 3, "POST", body)
        await until_held(gateway, 3)
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        answers = await crowd.answers()
        assert [answer.json()["body_bytes"] for answer in answers] == [5 << 20] * 3


async def test_more_than_the_service_may_have_are_told_when_to_come_again(gateway: Gateway) -> None:
    gateway.control.waiting.limits = Limits(most=2)
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(held=True))
        crowd = await hold(gateway, 2)
        answer = await gateway.client.request()
        assert (answer.status, code(answer), answer.headers["retry-after"]) == (503, "too_many_held", "30")
        assert answer.headers["content-type"] == "application/json"
        gateway.control.waiting.tell("hello", Outlook(cold_start_s=2.4))
        assert (await gateway.client.request()).headers["retry-after"] == "3"
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        assert statuses(await crowd.answers()) == {200: 2}


async def test_what_waits_for_too_long_is_told_so(gateway: Gateway) -> None:
    gateway.control.waiting.limits = Limits(longest_s=0.3)
    await gateway.control.publish(gateway.snapshot(held=True))
    answer = await gateway.client.request()
    assert (answer.status, code(answer), answer.headers["retry-after"]) == (503, "held_too_long", "30")


@pytest.mark.parametrize("body", [b"", bytes(5 << 20)], ids=["none", "5 MiB"])
async def test_who_leaves_frees_the_place(gateway: Gateway, body: bytes) -> None:
    await gateway.control.publish(gateway.snapshot(held=True))
    crowd = Crowd(gateway, 5, "POST", body)
    await until_held(gateway, 5)
    crowd.leave()
    await until_held(gateway, 0)


async def test_what_is_refused_anyway_is_not_held(gateway: Gateway) -> None:
    limited = Traffic(rate_limits=(RateRule("/", rps=0.001, key="ip"),))
    asleep = ServiceRoute("asleep", ("asleep.localhost",), True, traffic=limited, held=True)
    tokens = (TokenGrant(sha256(TOKEN)), TokenGrant(sha256("other"), ("asleep",)))
    await gateway.control.publish(gateway.snapshot(held=True, services=(asleep,), tokens=tokens))
    assert (await gateway.client.request(token=None)).status == 401
    assert (await gateway.client.request(token="wrong")).status == 403
    assert (await gateway.client.request(token="other")).status == 403
    assert not gateway.control.held
    waits = Client(gateway.port)
    task = asyncio.create_task(waits.request("asleep.localhost"))
    await until_held(gateway, 1, "asleep")
    assert (await gateway.client.request("asleep.localhost")).status == 429
    assert gateway.control.held == {"asleep": 1}
    task.cancel()
    waits.close()
    await until_held(gateway, 0, "asleep")


async def test_a_proof_for_an_authority_is_not_held(gateway: Gateway) -> None:
    path = "/.well-known/acme-challenge/x"
    proof = Proof("hello.localhost", path, "it is ours")
    await gateway.control.publish(replace(gateway.snapshot(held=True), proofs=(proof,)))
    answer = await gateway.client.request(path=path, token=None)
    assert (answer.status, answer.body) == (200, b"it is ours")


async def ask(gateway: Gateway, name: str, client: Client | None = None, token: str = TOKEN) -> Response:
    body = json.dumps({"model": name}).encode()
    host = (client or gateway.client).request(MODELS, "/v1/completions", method="POST", body=body, token=token)
    return await host


def serving(name: str, model: PublishedModel, *members: Replica, held: bool = False) -> ServiceRoute:
    endpoints = tuple(member.endpoint() for member in members)
    model = replace(model, ready=bool(members))
    return ServiceRoute(name, (f"{name}.localhost",), True, endpoints, model, held=held)


async def test_who_asks_for_a_model_that_is_asleep_is_held_too(gateway: Gateway) -> None:
    model = PublishedModel("tiny")
    async with replicas("a", "b") as (a, b):
        awake = serving("awake", PublishedModel("other"), b)
        await gateway.control.publish(gateway.snapshot(services=(awake, serving("llm", model, held=True))))
        assert (await ask(gateway, "other")).json()["replica"] == "b"
        refused = await ask(gateway, "tiny", token="wrong")
        assert refused.status == 403
        listed = await gateway.client.request(MODELS, "/v1/models")
        assert [it["id"] for it in listed.json()["data"]] == ["other", "tiny"]  # type: ignore[attr-defined]
        client = Client(gateway.port)
        waits = asyncio.create_task(ask(gateway, "tiny", client))
        await until_held(gateway, 1, "llm")
        await gateway.control.publish(gateway.snapshot(services=(awake, serving("llm", model, a))))
        answer = await waits
        client.close()
        assert (answer.json()["replica"], answer.json()["path"]) == ("a", "/v1/completions")
        assert (await ask(gateway, "tiny")).json()["replica"] == "a"
        assert gateway.control.held == {"llm": 0}


async def test_of_services_of_one_model_those_that_sleep_come_after_those_that_are_ready(gateway: Gateway) -> None:
    model = PublishedModel("tiny", weight=100)
    async with replicas("a", "b") as (a, b):
        asleep, broken = serving("asleep", model, held=True), serving("broken", model)
        ready = serving("ready", model, a)
        await gateway.control.publish(gateway.snapshot(services=(asleep, broken, ready)))
        for _ in range(20):
            assert (await ask(gateway, "tiny")).json()["replica"] == "a"
        await gateway.control.publish(gateway.snapshot(services=(asleep, broken)))
        clients = [Client(gateway.port) for _ in range(10)]
        waits = [asyncio.create_task(ask(gateway, "tiny", client)) for client in clients]
        await until_held(gateway, 10, "asleep")
        await gateway.control.publish(gateway.snapshot(services=(serving("asleep", model, b), broken)))
        answers = await asyncio.gather(*waits)
        assert {answer.json()["replica"] for answer in answers} == {"b"}
        for client in clients:
            client.close()


async def test_a_server_that_starts_again_finds_all_of_them_waiting(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(held=True))
        crowd = await hold(gateway, 200)
        await gateway.control.stop()
        gateway.control.held.clear()
        await gateway.control.start()
        await until_held(gateway, 200)
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        assert statuses(await crowd.answers()) == {200: 200}


async def test_a_replica_that_came_while_the_server_was_away_is_found(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(held=True))
        crowd = await hold(gateway, 20)
        await gateway.control.stop()
        await gateway.control.start()
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        assert statuses(await crowd.answers()) == {200: 20}


async def test_when_no_replica_can_start_those_who_wait_are_told_why(gateway: Gateway) -> None:
    await gateway.control.publish(gateway.snapshot(held=True))
    crowd = await hold(gateway, 3)
    gateway.control.waiting.tell(
        "hello", Outlook(hopeless="it has failed: replica 0: exited with code 1 (\"no 'model'\")")
    )
    for answer in await crowd.answers():
        assert (answer.status, code(answer)) == (503, "service_not_running")
        assert answer.headers["content-type"] == "application/json"
        assert "retry-after" not in answer.headers
        assert answer.json()["error"]["message"] == (  # type: ignore[index]
            "No replica of hello will come: it has failed: replica 0: exited with code 1 (\"no 'model'\")."
        )


async def test_an_envoy_that_may_not_hold_says_so(gateway: Gateway) -> None:
    await gateway.control.publish(gateway.snapshot(held=True))
    gateway.control.authorized.clear()
    answer = await gateway.client.request()
    assert (answer.status, code(answer), answer.headers["retry-after"]) == (503, "not_held", "10")


async def test_a_short_idle_timeout_does_not_end_what_waits(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        hello = ServiceRoute("asleep", ("asleep.localhost",), True, traffic=Traffic(idle_timeout_s=1), held=True)
        await gateway.control.publish(gateway.snapshot(services=(hello,)))
        waits = asyncio.create_task(gateway.client.request("asleep.localhost"))
        await until_held(gateway, 1, "asleep")
        done, _ = await asyncio.wait([waits], timeout=1.5)
        assert not done
        awake = replace(hello, held=False, endpoints=(a.endpoint(),))
        await gateway.control.publish(gateway.snapshot(services=(awake,)))
        assert (await waits).status == 200


async def test_a_websocket_is_held_and_goes_on(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(held=True))
        socket = Client(gateway.port)
        upgrade = {"connection": "upgrade", "upgrade": "websocket", "authorization": f"Bearer {TOKEN}"}
        reader = await socket.send("GET", "/ws", "hello.localhost", upgrade)
        await until_held(gateway, 1)
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        async with asyncio.timeout(10):
            assert (await read_head(reader))[1] == "101"
            assert socket.writer is not None
            socket.writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
        socket.close()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_to_sleep_and_awake_20_times_under_load_loses_no_request(gateway: Gateway, method: str) -> None:
    replica = await Replica("0").start()
    await gateway.control.publish(gateway.snapshot(replica.endpoint()))
    async with Load(gateway, clients=8, method=method) as load:
        for turn in range(1, 21):
            await load.more(100)
            await gateway.control.publish(gateway.snapshot(replica.endpoint(draining=True), held=True))
            await until_held(gateway, 8)  # so nothing is in flight there
            await gateway.control.publish(gateway.snapshot(held=True))
            await replica.stop()
            replica = await Replica(str(turn)).start()
            await gateway.control.publish(gateway.snapshot(replica.endpoint()))
    await replica.stop()
    assert load.answers.keys() == {200}, load.answers
    assert len(load.by_replica) == 21
