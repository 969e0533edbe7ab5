"""The dashboard's bars: a real server, 100 simulated hosts of 8 GPUs, a real Chromium.

`.venv/bin/python -P tests/bench/bench_dashboard.py` prints a table. First paint is the browser's own number, from the request
of the fleet page, with nothing in its cache; an update is from a GPU's new memory at its agent until the text is in the page;
the viewers' cost is the server's processor time with 20 of them less that without.
"""

import argparse
import asyncio
import json
import ssl
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx
from bench.fleet.simulated import GPUS, Counters, SimulatedAgent, enrol
from bench.fleet.stand import Crowd, Server, stand
from homeport_control.dashboard.session import COOKIE
from homeport_protos.common.v1 import host_pb2
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

CHROMIUM = "/usr/bin/chromium"
HOSTS, VIEWERS = 100, 20
PAINT_MS, UPDATE_S, CORE_SHARE, METRICS_MS = 300.0, 2.0, 0.05, 100.0
SETTLE_S, MEASURE_S = 5.0, 10.0
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
OF_PAGE = "JSON.stringify(performance.getEntriesByType('navigation')[0])"


async def logged_in(server: Server) -> httpx.AsyncClient:
    context = ssl.create_default_context(cafile=str(server.ca))
    context.check_hostname = False
    url = f"https://127.0.0.1:{server.web_port}"
    client = httpx.AsyncClient(base_url=url, verify=context, timeout=30)
    origin = {"origin": url, "sec-fetch-site": "same-origin"}
    answer = await client.post("/login", data={"token": server.token}, headers=origin)
    assert answer.status_code == 303, answer.text
    return client


@dataclass(frozen=True, slots=True)
class Opened:
    """A page that a browser opened, in ms."""

    answer: float  # from its request to the last byte of its HTML: the server's part
    paint: float
    whole: float  # all of it parsed, its scripts run


async def opened(browser: Browser, server: Server, cookie: str, path: str = "/", tries: int = 9) -> list[Opened]:
    found = []
    for _ in range(tries):
        context = await viewed(browser, server, cookie)
        page = await context.new_page()
        await page.goto(f"https://127.0.0.1:{server.web_port}{path}", wait_until="load")
        painted = await paint(page)
        told = json.loads(await page.evaluate(OF_PAGE))
        found.append(Opened(told["responseEnd"] - told["requestStart"], painted, told["domContentLoadedEventEnd"]))
        await context.close()
    return found


async def paint(page: Page) -> float:
    """The page's CSP lets nobody but the debugger evaluate, so this asks again and again."""
    while not (found := float(await page.evaluate(PAINT))):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return found


async def viewed(browser: Browser, server: Server, cookie: str) -> BrowserContext:
    context = await browser.new_context(ignore_https_errors=True, viewport={"width": 1440, "height": 1000})
    url = f"https://127.0.0.1:{server.web_port}"
    await context.add_cookies(
        [{"name": COOKIE, "value": cookie, "url": url, "secure": True, "httpOnly": True, "sameSite": "Strict"}]
    )
    return context


class OneMore(SimulatedAgent):
    """A host one GPU's memory of which the bench changes."""

    told_s = 0.0  # when it said so last

    def _facts(self) -> host_pb2.HostFacts:
        self.told_s = time.monotonic()
        return super()._facts()

    def holds(self, mib: int) -> None:
        self._used_mib[GPUS - 1] = mib  # the last one: its readings say nothing of memory
        self._is_report_due = True
        self._news.set()


async def updates(
    browser: Browser, server: Server, cookie: str, agent: OneMore, tries: int = 8
) -> list[tuple[float, float]]:
    """Seconds from the change of the GPU to the text in the page, and from the agent's word, which samples each second."""
    context = await viewed(browser, server, cookie)
    page = await context.new_page()
    await page.goto(f"https://127.0.0.1:{server.web_port}/")
    await page.wait_for_selector("#live-mark.on")
    took = []
    for turn in range(tries):
        mib = (20 + turn) * 1024
        began_s = time.monotonic()
        agent.holds(mib)
        await page.get_by_text(f"{mib / 1024:.1f} / 80 GB", exact=True).wait_for(timeout=10_000, state="attached")
        now_s = time.monotonic()
        took.append((now_s - began_s, now_s - agent.told_s))
        await asyncio.sleep(0.3 * turn)  # at another place of the server's second each time
    await context.close()
    return took


async def used_s(server: Server, seconds: float) -> float:
    """Of a core, over so long."""
    before = server.used()
    await asyncio.sleep(seconds)
    after = server.used()
    return (after.cpu_s - before.cpu_s) / (after.at_s - before.at_s)


async def view(client: httpx.AsyncClient, counts: list[int]) -> None:
    async with client.stream("GET", "/live/fleet") as answer:
        async for piece in answer.aiter_raw():
            counts[0] += len(piece)


async def numbers_ms(client: httpx.AsyncClient, token: str, tries: int = 10) -> list[float]:
    took = []
    for _ in range(tries):
        began_s = time.monotonic()
        answer = await client.get("/metrics", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 200
        took.append((time.monotonic() - began_s) * 1000)
    return took


class Table:
    """Rows as they are measured."""

    def __init__(self) -> None:
        self.missed = 0

    def row(self, what: str, value: float, bar: float = 0.0, more: str = "") -> None:
        is_missed = bool(bar) and value > bar
        self.missed += is_missed
        told = f"bar {bar:g}" if bar else ""
        print(f"{what:42} {value:10.3f}  {told:10} {'MISSED' if is_missed else '':7} {more}", flush=True)


async def measured(server: Server, hosts: int, viewers: int, crowd: Crowd, table: Table) -> None:
    identity = await enrol(server.api, server.ca.read_text(), server.join_token(), "measured")
    agent = OneMore(99_999, identity, Counters(), 3600.0)
    running = asyncio.create_task(agent.run())
    client = await logged_in(server)
    deadline_s = time.monotonic() + 60
    while crowd.look()["connected"] < hosts and time.monotonic() < deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    await asyncio.sleep(SETTLE_S)
    await looked_at(server, client, agent, table)
    await watched(server, client, viewers, table)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await client.aclose()


async def looked_at(server: Server, client: httpx.AsyncClient, agent: OneMore, table: Table) -> None:
    cookie = client.cookies[COOKIE]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        empty = [it.paint for it in await opened(browser, server, "", "/login")]  # first: its start is not the page's
        pages = await opened(browser, server, cookie)
        answers, painted, whole = ([getattr(it, what) for it in pages] for what in ("answer", "paint", "whole"))
        table.row("first paint of the login page, median (ms)", statistics.median(empty), 0.0, "what the browser takes")
        table.row("first paint, nobody looked before (ms)", painted[0], PAINT_MS, f"its answer {answers[0]:.0f}")
        table.row("first paint, median (ms)", statistics.median(painted), PAINT_MS, f"worst {max(painted):.0f}")
        table.row("the server's answer, median (ms)", statistics.median(answers), 0.0, f"worst {max(answers):.0f}")
        table.row("whole page there, median (ms)", statistics.median(whole), 0.0, f"worst {max(whole):.0f}")
        took = await updates(browser, server, cookie, agent)
        for place, since in enumerate(("the change", "its agent's word")):
            some = [it[place] for it in took]
            table.row(f"update since {since}, median (s)", statistics.median(some), UPDATE_S, f"worst {max(some):.2f}")
        await browser.close()
    numbers = await numbers_ms(client, server.token)
    table.row("/metrics, median (ms)", statistics.median(numbers), METRICS_MS, f"worst {max(numbers):.0f}")
    await asyncio.sleep(12)  # until the feed has ended


async def watched(server: Server, client: httpx.AsyncClient, viewers: int, table: Table) -> None:
    """What viewers cost: none, one, all, none again; the machine's own noise is the first less the last."""
    shares = {}
    sent = 0
    for count in (0, 1, viewers):
        counts = [0]
        watching = [asyncio.create_task(view(client, counts)) for _ in range(count)]
        await asyncio.sleep(3)
        counts[0] = 0
        shares[count] = await used_s(server, MEASURE_S)
        sent = counts[0]
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    await asyncio.sleep(12)
    idle = (shares[0] + await used_s(server, MEASURE_S)) / 2
    table.row("1 viewer (share of a core)", shares[1] - idle, CORE_SHARE, f"{shares[1]:.3f} with, {idle:.3f} without")
    table.row(f"{viewers} viewers (share of a core)", shares[viewers] - idle, CORE_SHARE, f"{shares[viewers]:.3f} with")
    table.row("sent to each viewer (kB/s)", sent / viewers / MEASURE_S / 1000)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=HOSTS)
    parser.add_argument("--viewers", type=int, default=VIEWERS)
    arguments = parser.parse_args()
    table = Table()
    with stand(arguments.hosts) as (server, crowd):
        print(f"{arguments.hosts} hosts with 8 GPUs each, {arguments.viewers} viewers", flush=True)
        asyncio.run(measured(server, arguments.hosts, arguments.viewers, crowd, table))
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
