"""Rate limits, affinity, timeouts and HTTP/2 to replicas, through a real Envoy."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from homeport_control.domain.gateway import (
    Affinity,
    Endpoint,
    PublishedModel,
    RateRule,
    ServiceRoute,
    TokenGrant,
    Traffic,
)
from rig.gateway import TOKEN, Client, Gateway, Replica, Response, read_body, read_head, replicas, sha256

pytestmark = pytest.mark.envoy

TOKENS = (TokenGrant(sha256(TOKEN), (), "t1"), TokenGrant(sha256("hp_second"), (), "t2"))


async def publish(gateway: Gateway, traffic: Traffic, *members: Endpoint, model: str = "", prefix: str = "/v1") -> None:
    published = PublishedModel(model, prefix) if model else None
    service = ServiceRoute("web", ("web.localhost",), True, members, published, traffic=traffic)
    await gateway.control.publish(gateway.snapshot(services=(service,), tokens=TOKENS))


def code(answer: Response) -> tuple[int, str]:
    return answer.status, answer.json()["error"]["code"]  # type: ignore[index]


async def statuses(gateway: Gateway, count: int, path: str = "/", **request: Any) -> Counter[int]:
    return Counter([(await gateway.client.request("web.localhost", path, **request)).status for _ in range(count)])


# A bucket that does not fill while the test runs.
SLOW = 0.001


async def test_more_than_a_rule_lets_in_is_answered_429_in_words(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await publish(gateway, Traffic(rate_limits=(RateRule("/v1", SLOW, 2),)), a.endpoint())
        assert await statuses(gateway, 5, "/v1/x") == {200: 3, 429: 2}
        refused = await gateway.client.request("web.localhost", "/v1/x")
        assert code(refused) == (429, "rate_limit_exceeded")
        assert refused.headers["retry-after"] == "1000"
        assert await statuses(gateway, 5, "/other") == {200: 5}, "another path has no rule"
        assert a.served == 8
        assert (await gateway.client.request("web.localhost", "/v1/x", token=None)).status == 401, (
            "the door comes first"
        )


async def test_tokens_come_back_with_time(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await publish(gateway, Traffic(rate_limits=(RateRule("/", 5),)), a.endpoint())
        assert (await statuses(gateway, 40))[429] >= 1
        async with asyncio.timeout(10):
            while (await gateway.client.request("web.localhost")).status != 200:
                pass


async def test_callers_are_told_apart_by_their_token(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await publish(gateway, Traffic(rate_limits=(RateRule("/", SLOW, 1, "token"),)), a.endpoint(), model="llama")
        assert await statuses(gateway, 3) == {200: 2, 429: 1}
        assert await statuses(gateway, 3, token="hp_second") == {200: 2, 429: 1}
        by_model = await gateway.client.request(
            "gateway.localhost", "/v1/embeddings", method="POST", body=b'{"model":"llama"}'
        )
        assert code(by_model) == (429, "rate_limit_exceeded"), "the same bucket, whichever way it is called"


async def test_callers_are_told_apart_by_a_header_and_who_sends_none_is_one_of_them(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        rule = RateRule("/", SLOW, 1, "header", "X-Who")
        await publish(gateway, Traffic(rate_limits=(rule,)), a.endpoint())
        for headers in ({"x-who": "ann"}, {"x-who": "bob"}, {}):
            assert await statuses(gateway, 3, headers=headers) == {200: 2, 429: 1}, headers


async def test_every_rule_that_is_about_a_request_counts_it(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        rules = (RateRule("/", SLOW, 9), RateRule("/dear", SLOW, 1, "token"))
        await publish(gateway, Traffic(rate_limits=rules), a.endpoint())
        assert await statuses(gateway, 4, "/dear/x") == {200: 2, 429: 2}
        assert (await statuses(gateway, 20, "/cheap"))[429] >= 12


async def test_one_value_of_a_header_stays_on_one_replica_and_few_move(gateway: Gateway) -> None:
    async with replicas("a", "b", "c") as all_of_them:
        affinity = Traffic(Affinity("header", "X-Session"))

        async def places(members: Sequence[Replica]) -> dict[str, str]:
            await publish(gateway, affinity, *(member.endpoint() for member in members))
            found = {}
            for number in range(60):
                headers = {"x-session": f"s{number}"}
                seen = {
                    str((await gateway.client.request("web.localhost", headers=headers)).json()["replica"])
                    for _ in range(3)
                }
                assert len(seen) == 1
                found[f"s{number}"] = seen.pop()
            return found

        before = await places(all_of_them)
        assert set(before.values()) == {"a", "b", "c"}
        after = await places(all_of_them[:2])
        moved = [name for name in before if before[name] != after[name]]
        assert len([name for name in moved if before[name] != "c"]) <= 12, "hardly any but those of the one that went"


async def test_a_cookie_keeps_a_browser_on_one_replica(gateway: Gateway) -> None:
    async with replicas("a", "b", "c") as all_of_them:
        await publish(gateway, Traffic(Affinity("cookie", "where")), *(r.endpoint() for r in all_of_them))
        first = await gateway.client.request("web.localhost")
        cookie = first.headers["set-cookie"]
        assert cookie.startswith("where=")
        assert "HttpOnly" in cookie
        sent = {"cookie": cookie.split(";")[0]}
        again = [await gateway.client.request("web.localhost", headers=sent) for _ in range(10)]
        assert {answer.json()["replica"] for answer in again} == {first.json()["replica"]}
        assert all("set-cookie" not in answer.headers for answer in again)


async def test_prompts_that_begin_alike_go_to_one_replica_unless_it_is_full(gateway: Gateway) -> None:
    async with replicas("a", "b", "c") as all_of_them:
        members = [replica.endpoint() for replica in all_of_them]
        await publish(gateway, Traffic(Affinity("prefix", length=120)), *members, model="llama")

        def body(start: str, end: str) -> bytes:
            messages = [{"role": "system", "content": start * 20}, {"role": "user", "content": end}]
            return json.dumps({"model": "llama", "messages": messages}).encode()

        async def ask(start: str, end: str) -> str:
            answer = await gateway.client.request(
                "gateway.localhost", "/v1/chat/completions", method="POST", body=body(start, end)
            )
            return str(answer.json()["replica"])

        seen = {start: {await ask(start, f"question {n}") for n in range(5)} for start in map(str, range(1000, 1020))}
        assert all(len(places) == 1 for places in seen.values())
        assert len(set.union(*seen.values())) == 3
        # All at once with one beginning: the others help.
        held, path = [Client(gateway.port) for _ in range(12)], "/v1/chat/completions"
        await publish(gateway, Traffic(Affinity("prefix", length=120)), *members, model="llama", prefix="/hold")
        before = [replica.served for replica in all_of_them]
        for client in held:
            headers = {"authorization": f"Bearer {TOKEN}"}
            await read_head(await client.send("POST", path, "gateway.localhost", headers, body("hot", "x")))
        busy = sorted(replica.served - before for replica, before in zip(all_of_them, before, strict=True))
        # 12 in flight over 3 replicas: at most half as much more than the mean of 4, and those that are coming.
        assert sum(busy) == 12
        assert busy[-1] <= 8, busy
        for replica in all_of_them:
            replica.release.set()
        for client in held:
            client.close()


@pytest.mark.parametrize("auth", [True, False])
async def test_prompts_keep_together_at_the_services_own_address_too(gateway: Gateway, auth: bool) -> None:
    async with replicas("a", "b", "c") as all_of_them:
        members = tuple(replica.endpoint() for replica in all_of_them)
        traffic = Traffic(Affinity("prefix", length=120))
        service = ServiceRoute("web", ("web.localhost",), auth, members, PublishedModel("llama"), traffic=traffic)
        await gateway.control.publish(gateway.snapshot(services=(service,), tokens=TOKENS))
        json_header = {"content-type": "application/json", "x-homeport-prefix": "the caller's"}

        async def ask(start: str, end: str, host: str = "web.localhost") -> str:
            messages = [{"role": "system", "content": start * 20}, {"role": "user", "content": end}]
            answer = await gateway.client.request(
                host, "/v1/chat/completions", method="POST", headers=json_header,
                body=json.dumps({"model": "llama", "messages": messages}).encode(),
            )  # fmt: skip
            assert answer.status == 200
            return str(answer.json()["replica"])

        seen = {start: {await ask(start, f"question {n}") for n in range(5)} for start in map(str, range(1000, 1020))}
        assert all(len(places) == 1 for places in seen.values())
        assert len(set.union(*seen.values())) == 3
        by_model = {start: {await ask(start, "again", "gateway.localhost")} for start in seen}
        assert by_model == seen, "the same replica, whichever way it is called"

        longer = (64 << 10) * b"x"
        for headers in ({}, json_header):
            answer = await gateway.client.request("web.localhost", method="PUT", headers=headers, body=longer)
            assert (answer.status, answer.json()["body_bytes"]) == (200, len(longer))
            assert "x-homeport-prefix" not in answer.json()["headers"], "it is never the caller's to say"  # type: ignore[operator]


async def test_a_prompt_whose_length_is_not_said_beforehand_is_let_through(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await publish(gateway, Traffic(Affinity("prefix", length=120)), a.endpoint(), model="llama")
        body = b'{"prompt": "hello"}'
        headers = f"authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked"
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(f"POST / HTTP/1.1\r\nhost: web.localhost\r\n{headers}\r\n\r\n".encode())
        writer.write(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
        _, status, answered = await read_head(reader)
        assert status == "200"
        seen = json.loads(await read_body(reader, answered))
        assert (seen["body_bytes"], len(seen["headers"]["x-homeport-prefix"])) == (len(body), 8)
        writer.close()


async def test_what_is_no_prompt_is_not_waited_for_where_prompts_choose_the_replica(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await publish(gateway, Traffic(Affinity("prefix", length=120)), a.endpoint(), model="llama")
        client, size = Client(gateway.port), 48 << 20  # more than the gateway would keep
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json", "content-length": str(size)}
        reader = await client.send("PUT", "/", "web.localhost", headers)
        assert client.writer is not None
        for _ in range(48):
            client.writer.write(b"x" * (1 << 20))
            await client.writer.drain()
        _, status, answered = await read_head(reader)
        assert status == "200"
        assert json.loads(await read_body(reader, answered))["body_bytes"] == size
        client.close()


async def test_an_answer_that_takes_too_long_is_given_up_and_a_silent_stream_too(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await publish(gateway, Traffic(response_timeout_s=1), a.endpoint())
        started = asyncio.get_running_loop().time()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
            await gateway.client.request("web.localhost", "/hold")  # the head came: only the stream can be cut
        assert asyncio.get_running_loop().time() - started < 5
        gateway.client.close()
        await publish(gateway, Traffic(idle_timeout_s=1), a.endpoint())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
            await gateway.client.request("web.localhost", "/hold")
        gateway.client.close()
        assert [line["flags"] for line in await gateway.access(2)] == ["UT", "SI"]


async def test_a_replica_that_says_nothing_in_time_is_an_answer_in_words(gateway: Gateway) -> None:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()

    silent = await asyncio.start_server(listen, "127.0.0.1", 0)
    try:
        endpoint = Endpoint("s", "127.0.0.1", silent.sockets[0].getsockname()[1])
        await publish(gateway, Traffic(response_timeout_s=1), endpoint)
        assert code(await gateway.client.request("web.localhost")) == (504, "response_timeout")
    finally:
        silent.close()


@asynccontextmanager
async def echo_server() -> AsyncIterator[Endpoint]:
    """A gRPC server, which speaks HTTP/2 alone: a call, and a stream of answers one by one."""

    async def one(request: bytes, context: Any) -> bytes:
        return request + b"!"

    async def many(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(3):
            yield request + str(number).encode()

    handlers = {
        "One": grpc.unary_unary_rpc_method_handler(one),
        "Many": grpc.unary_stream_rpc_method_handler(many),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield Endpoint("g", "127.0.0.1", port)
    finally:
        await server.stop(None)


async def test_grpc_passes_to_a_service_that_speaks_it(gateway: Gateway) -> None:
    async with echo_server() as endpoint:
        await publish(gateway, Traffic(h2c=True), endpoint)
        options = (("grpc.default_authority", "web.localhost"),)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}", options) as channel:
            token = (("authorization", f"Bearer {TOKEN}"),)
            call = channel.unary_unary("/test.Echo/One")
            assert await call(b"hi", metadata=token, timeout=10) == b"hi!"
            stream = channel.unary_stream("/test.Echo/Many")(b"n", metadata=token, timeout=10)
            assert [part async for part in stream] == [b"n0", b"n1", b"n2"]
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(b"hi", timeout=10)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        (line, *_) = await gateway.access(3)
        assert (line["protocol"], line["path"], line["token"]) == ("HTTP/2", "/test.Echo/One", "t1")
