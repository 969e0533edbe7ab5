"""What Envoy writes of each request: who, what, which replica, how long; and what never stands there."""

import asyncio
import os
import re
import signal
from dataclasses import replace

import pytest
from homeport_agent.envoy import supervisor
from homeport_agent.envoy.access_log import AccessLog, Place
from homeport_control.domain.gateway import PublishedModel, ServiceRoute, TokenGrant
from homeport_control.xds.access_log import FIELDS
from rig.gateway import TOKEN, Client, Gateway, read_head, replicas, sha256

pytestmark = pytest.mark.envoy

TOKENS = (TokenGrant(sha256(TOKEN), (), "tok1"),)
TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_a_line_says_who_called_what_and_which_replica_answered(gateway: Gateway) -> None:
    async with replicas("r1") as (r1,):
        llm = ServiceRoute("llm", ("llm.localhost",), True, (r1.endpoint(),), PublishedModel("llama"))
        await gateway.control.publish(gateway.snapshot(r1.endpoint(), services=(llm,), tokens=TOKENS))
        await gateway.client.request(
            path="/a/b?key=secret", method="POST", body=b"12345", headers={"user-agent": "me/1"}
        )
        await gateway.client.request("gateway.localhost", "/v1/embeddings", method="POST", body=b'{"model":"llama"}')
        await gateway.client.request("llm.localhost", "/v1/embeddings", method="POST", body=b'{"model":"x"}')
        one, named, direct = await gateway.access(3)
    assert set(one) == set(FIELDS)
    said = {key: one[key] for key in ("service", "replica", "token", "method", "path", "status", "flags", "bytes_in")}
    assert said == {
        "service": "hello", "replica": "r1", "token": "tok1", "method": "POST", "path": "/a/b", "status": 200,
        "flags": "-", "bytes_in": 5,
    }  # fmt: skip
    assert (one["agent"], one["client"], one["upstream"]) == ("me/1", "127.0.0.1", f"127.0.0.1:{r1.port}")
    assert one["bytes_out"] > 100
    assert TIME.fullmatch(one["time"])
    assert TIME.fullmatch(one["ended"])
    assert one["request_id"]
    assert 0 <= one["upstream_ms"] <= one["duration_ms"] < 5000
    assert (named["service"], named["model"], named["token"]) == ("llm", "llama", "tok1")
    assert (direct["service"], direct["model"]) == (
        "llm",
        "llama",
    )  # by its own address it is its model, whatever is said


async def test_refusals_stand_there_and_no_token_ever(gateway: Gateway) -> None:
    async with replicas("r1") as (r1,):
        await gateway.control.publish(gateway.snapshot(r1.endpoint(), tokens=TOKENS))
        await gateway.client.request(token=None)
        await gateway.client.request(token="hp_wrong")
        await gateway.client.request("nobody.localhost")
        await gateway.client.request(
            path=f"/?token={TOKEN}", headers={"x-key": TOKEN, "referer": TOKEN, "cookie": TOKEN}
        )
        lines = await gateway.access(4)
    assert [(line["status"], line["service"], line["replica"]) for line in lines] == [
        (401, "hello", None),
        (403, "hello", None),
        (404, None, None),
        (200, "hello", "r1"),
    ]
    assert [line["token"] for line in lines] == [None, None, None, "tok1"]
    text = (gateway.run_dir / "access.log").read_text()
    assert TOKEN not in text
    assert "hp_wrong" not in text
    assert sha256(TOKEN) not in text


async def test_a_request_has_one_line_with_every_field_whatever_its_method(gateway: Gateway) -> None:
    async with replicas("r1") as (r1,):
        await gateway.control.publish(gateway.snapshot(r1.endpoint(), tokens=TOKENS))
        for method in ("GET", "POST", "PUT"):
            await gateway.client.request(method=method)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"nonsense\r\n\r\n")  # whose method is never known
        await read_head(reader)
        writer.close()
        await gateway.client.request(path="/last")
        lines = await gateway.access(5)
    assert [line["method"] for line in lines] == ["GET", "POST", "PUT", None, "GET"]
    assert [set(line) for line in lines] == [set(FIELDS)] * 5
    assert [line["model"] for line in lines] == [None] * 5


async def test_what_went_wrong_has_a_flag(gateway: Gateway) -> None:
    async with replicas("r1") as (r1,):
        await gateway.control.publish(gateway.snapshot(r1.endpoint(), tokens=TOKENS))
        await gateway.client.request(path="/break", method="POST")
        held = Client(gateway.port)
        reader = await held.send("GET", "/hold", "hello.localhost", {"authorization": f"Bearer {TOKEN}"})
        await read_head(reader)
        held.close()
        broken, left = await gateway.access(2)
        await gateway.control.publish(gateway.snapshot(tokens=TOKENS))
        await gateway.client.request()
        (*_, nobody) = await gateway.access(3)
    assert (broken["status"], broken["flags"], broken["replica"]) == (503, "UC", "r1")
    assert (left["flags"], left["replica"]) == ("DC", "r1")
    assert (nobody["status"], nobody["flags"], nobody["replica"]) == (503, "UH", None)


async def test_no_line_is_lost_while_the_file_changes_under_load(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rotated many times while requests run; every request has its line once, in the order in which files follow."""
    monkeypatch.setenv("HOMEPORT_ACCESS_LOG_BYTES", "30000")
    monkeypatch.setenv("HOMEPORT_ACCESS_LOG_PAUSE", "0.1")
    monkeypatch.setenv("HOMEPORT_ACCESS_LOG_FILES", "1000")
    await gateway.stop_agent()
    await asyncio.to_thread(supervisor.stop, gateway.run_dir)
    await gateway.start_agent()
    async with replicas("r1") as (r1,):
        await gateway.control.publish(gateway.snapshot(r1.endpoint(), tokens=TOKENS))
        log, place, seen, asked = AccessLog(gateway.run_dir), Place(), [], []

        async def ask(worker: int) -> None:
            client = Client(gateway.port)
            while len(asked) < 1200 or len(list(gateway.run_dir.glob("access.log.*"))) < 3:
                path = f"/{worker}/{len(asked)}"
                asked.append(path.encode())
                await client.request(path=path)
            client.close()

        async def read() -> None:
            nonlocal place
            while not asking.done() or len(seen) < len(asked):
                piece = await asyncio.to_thread(log.read, place, 4096)
                if piece is None:
                    await asyncio.sleep(0.01)
                    continue
                assert not piece.missed
                place = piece.place
                seen.extend(re.search(rb'"path":"([^"]+)"', line)[1] for line in piece.lines)  # type: ignore[index]

        async with asyncio.timeout(40):
            asking = asyncio.gather(*(ask(worker) for worker in range(4)))
            await asyncio.gather(asking, read())
        assert sorted(seen) == sorted(asked)


async def test_the_replica_of_a_port_that_changed_hands_is_the_new_one(gateway: Gateway) -> None:
    async with replicas("r1") as (r1,):
        for name in ("r1", "r2"):
            await gateway.control.publish(gateway.snapshot(replace(r1.endpoint(), replica_id=name), tokens=TOKENS))
            await gateway.client.request()
        assert [line["replica"] for line in await gateway.access(2)] == ["r1", "r2"]


async def test_an_envoy_that_is_killed_loses_what_it_had_not_written_and_no_more(gateway: Gateway) -> None:
    async with replicas("r1") as (r1,):
        await gateway.control.publish(gateway.snapshot(r1.endpoint(), tokens=TOKENS))
        for number in range(5):
            await gateway.client.request(path=f"/{number}")
        await gateway.access(5)  # written within a quarter of a second
        pid = supervisor.envoy_pid(gateway.run_dir)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await gateway.control.until(lambda: gateway.control.connections == 2)
        gateway.client.close()
        async with asyncio.timeout(10):
            while True:
                try:
                    await gateway.client.request(path="/after")
                    break
                except OSError:
                    gateway.client.close()
                    await asyncio.sleep(0.05)
        paths = [line["path"] for line in await gateway.access(6)]
    assert paths[:5] == [f"/{number}" for number in range(5)]
    assert "/after" in paths[5:]
