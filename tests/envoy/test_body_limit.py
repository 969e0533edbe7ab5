"""`max_body_size` of a service: counted as the body passes, with a length or without one, at both addresses."""

import asyncio
import json

import pytest
from homeport_control.domain.gateway import PublishedModel, ServiceRoute, Traffic
from rig.gateway import TOKEN, Client, Gateway, Replica, read_body, read_head, replicas

pytestmark = pytest.mark.envoy

LIMIT = 1 << 20
HOST = "web.localhost"
LIMITED = Traffic(max_body_bytes=LIMIT)


async def publish(gateway: Gateway, replica: Replica, traffic: Traffic = LIMITED) -> None:
    model = PublishedModel("llama")
    service = ServiceRoute("web", (HOST,), True, (replica.endpoint(),), model, traffic=traffic)
    await gateway.control.publish(gateway.snapshot(services=(service,)))


async def upload(gateway: Gateway, size: int, piece: int = 65536) -> tuple[str, bytes]:
    """A body without a length, in chunks, until it is all sent or an answer is here: its status and body."""
    client = Client(gateway.port)
    headers = {"authorization": f"Bearer {TOKEN}", "transfer-encoding": "chunked"}
    reader = await client.send("PUT", "/", HOST, headers)
    writer = client.writer
    assert writer is not None

    async def send() -> None:
        for start in range(0, size, piece):
            data = b"x" * min(piece, size - start)
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    sending = asyncio.create_task(send())  # beside reading: who is refused is not read from any more
    try:
        async with asyncio.timeout(20):
            _, status, answered = await read_head(reader)
            return status, await read_body(reader, answered)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        client.close()


async def test_more_than_a_service_takes_is_a_413_in_words_and_no_more_passes(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await publish(gateway, a)
        fits = await gateway.client.request(HOST, method="PUT", body=b"x" * LIMIT)
        assert (fits.status, fits.json()["body_bytes"]) == (200, LIMIT)
        over = await gateway.client.request(HOST, method="POST", body=b"x" * (LIMIT + 1))
        assert (over.status, over.json()["error"]["code"]) == (413, "body_too_large")  # type: ignore[index]
        assert "max_body_size" in over.json()["error"]["message"]  # type: ignore[index]
        gateway.client.close()
        assert a.served == 1


async def test_a_body_without_a_length_is_counted_as_it_comes(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await publish(gateway, a)
        status, body = await upload(gateway, LIMIT)
        assert (status, json.loads(body)["body_bytes"]) == ("200", LIMIT)
        status, body = await upload(gateway, 64 * LIMIT)
        assert (status, json.loads(body)["error"]["code"]) == ("413", "body_too_large")
        assert a.served == 1, "the replica has not got a whole request"
        assert (await gateway.client.request(HOST)).status == 200


async def test_the_limit_holds_where_the_service_is_called_by_its_model(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await publish(gateway, a)
        for size, status in ((10, 200), (LIMIT, 413)):
            body = json.dumps({"model": "llama", "prompt": "x" * size}).encode()
            answer = await gateway.client.request("gateway.localhost", "/v1/completions", method="POST", body=body)
            assert answer.status == status, size
        assert "max_body_size" in answer.json()["error"]["message"]  # type: ignore[index]
        assert a.served == 1


async def test_without_a_limit_a_body_of_any_size_passes(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await publish(gateway, a, Traffic())
        status, body = await upload(gateway, 64 * LIMIT, piece=LIMIT)
        assert (status, json.loads(body)["body_bytes"]) == ("200", 64 * LIMIT)
        assert a.served == 1
