"""One server with a small fleet and one Chromium for the tests of a module; each test has a browser context of its own."""

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fixtures.control import migrated, opened
from fixtures.dashboard import Dashboard, served
from fixtures.showroom import Showroom, showroom
from fixtures.viewers import Viewer, viewing
from playwright.async_api import Browser, async_playwright

CHROMIUM = os.environ.get("HOMEPORT_CHROMIUM", "/usr/bin/chromium")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Showroom]:
    folder = tmp_path_factory.mktemp("dashboard")
    migrated(folder / "template.db", folder / "server")
    async with opened(folder / "server") as state, showroom(state) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dashboard(room: Showroom) -> AsyncIterator[Dashboard]:
    async with served(room.plane) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def viewer(dashboard: Dashboard, chromium: Browser) -> AsyncIterator[Viewer]:
    async with viewing(dashboard, chromium) as made:
        yield made
