"""What Envoy counts of each service, by its load reports and its own statistics: right, and a second old."""

import asyncio
import time

import pytest
from homeport_control.domain.metrics import AnswerReport, Answers
from homeport_control.load.answers import RecentAnswers
from homeport_control.load.services import ServiceLoads
from rig.gateway import Client, Gateway, replicas

pytestmark = pytest.mark.envoy

AGE_S = 1.0  # how old numbers may be
SLACK_S = 1.0  # for a machine that does other things too


class Watch:
    """What the gateway reports, and when."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.loads = ServiceLoads(time.time)
        self.recent = RecentAnswers(time.time)

    async def load_until(self, in_flight: int, timeout_s: float = 10) -> float:
        """Seconds until the newest sample shows so many in flight."""
        began_s = time.monotonic()
        async with asyncio.timeout(timeout_s):
            while True:
                self.loads.take(await self.gateway.control.loads.get())
                samples = self.loads.samples("hello", time.time(), 60.0)
                if samples and samples[-1].in_flight == in_flight:
                    return time.monotonic() - began_s

    async def answers_until(self, count: int, timeout_s: float = 10) -> list[AnswerReport]:
        """The reports that tell of so many answers of hello together."""
        found: list[AnswerReport] = []
        async with asyncio.timeout(timeout_s):
            while sum(sum(it.by_class) for report in found for it in report.counts if it.service == "hello") < count:
                found.append(await self.gateway.control.answers.get())
                self.recent.take(found[-1])
        return found


async def test_requests_in_flight_are_seen_within_a_second(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint(), auth=False))
        watch = Watch(gateway)
        await watch.load_until(0)
        clients = [Client(gateway.port) for _ in range(3)]
        for client in clients:
            await client.send("GET", "/hold", "hello.localhost", {})
        assert await watch.load_until(3) <= AGE_S + SLACK_S
        a.release.set()
        assert await watch.load_until(0) <= AGE_S + SLACK_S
        for client in clients:
            client.close()


async def test_no_request_is_counted_twice_or_lost_in_the_seconds(gateway: Gateway) -> None:
    async with replicas("a", "b") as (a, b):
        await gateway.control.publish(gateway.snapshot(a.endpoint(), b.endpoint(), auth=False))
        watch = Watch(gateway)
        await watch.load_until(0)
        began_s = time.time()
        while time.time() < began_s + 2.5:
            assert (await gateway.client.request(token=None)).status == 200
        sent = a.served + b.served
        samples: list[float] = []
        async with asyncio.timeout(10):
            while sum(samples) < sent - 0.5:
                watch.loads.take(await gateway.control.loads.get())
                known = watch.loads.samples("hello", time.time(), 60.0) or ()
                samples = [it.rps for it in known if it.at_s.is_integer()]
        assert sum(samples) == pytest.approx(sent)


async def test_answers_are_told_by_class_and_with_what_they_took(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(a.endpoint(), auth=False))
        watch = Watch(gateway)
        slow = Client(gateway.port)
        await slow.send("GET", "/hold", "hello.localhost", {})
        for _ in range(20):
            assert (await gateway.client.request(token=None)).status == 200
        await asyncio.sleep(0.5)  # what the slow one takes
        a.release.set()
        before_s = time.monotonic()
        reports = await watch.answers_until(21)
        assert time.monotonic() - before_s <= AGE_S + SLACK_S
        assert sum(it.by_class[1] for report in reports for it in report.counts) == 21
        assert all(report.interval_s < AGE_S + SLACK_S for report in reports)
        now = watch.recent.of("hello")
        assert now is not None
        assert now.p50_ms is not None
        assert now.p99_ms is not None
        assert now.p50_ms < 100
        assert now.p99_ms > 400
        slow.close()
        await a.stop()
        assert (await gateway.client.request(token=None)).status == 503
        await watch.answers_until(1)
        now = watch.recent.of("hello")
        assert now is not None
        assert now.per_s[4] > 0, "what the gateway answers for a service that cannot"
        assert watch.recent.of("other") == Answers()


async def test_who_is_no_gateway_says_nothing(gateway: Gateway) -> None:
    gateway.control.authorized.clear()
    while not gateway.control.answers.empty():
        gateway.control.answers.get_nowait()
    await gateway.control.stop()
    await gateway.control.start()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await gateway.control.answers.get()
