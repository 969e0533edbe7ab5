"""How pages look and read: axe-core finds nothing, nothing is wider than a phone, and a picture of each is kept.

`HOMEPORT_SCREENSHOTS=FOLDER` says where the pictures go; scripts/screenshots sends those of the README there.
"""

import json
import os
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from fixtures.dashboard import Dashboard
from fixtures.viewers import PHONE, WIDE, Viewer, viewing
from playwright.async_api import Browser, Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")
RUN = Path(os.environ.get("HOMEPORT_TEST_RUN", "/run/homeport-tests"))
PICTURES = Path(os.environ.get("HOMEPORT_SCREENSHOTS", RUN / "dashboard"))
PAGES = {
    "fleet": "/", "services": "/services", "service": "/services/llama-chat", "events": "/events",
    "playground": "/playground", "question": "/services/whisper/stop",
}  # fmt: skip
LOOKS = {
    "light": {"viewport": WIDE, "color_scheme": "light"},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "is_mobile": True, "has_touch": True},
}


@pytest.mark.parametrize("look", LOOKS)
async def test_pages_read_well_for_everybody(dashboard: Dashboard, chromium: Browser, look: str) -> None:
    async with viewing(dashboard, chromium, **LOOKS[look]) as viewer:
        await _look_at(await viewer.page(), "login", look)
        page = await viewer.logged_in()
        for name, path in PAGES.items():
            await viewer.goto(page, path)
            await _there(page, name)
            await _look_at(page, name, look)


async def _there(page: Page, name: str) -> None:
    if name in {"fleet", "services", "service", "events"}:
        await expect(page.locator("#live-mark")).to_have_text("live")
    if name in {"services", "service"}:
        await expect(page.get_by_text("412 ms")).to_be_visible()
    if name == "service":
        await expect(page.get_by_role("log")).to_contain_text("tokens in")


async def _look_at(page: Page, name: str, look: str) -> None:
    await page.screenshot(path=PICTURES / f"{name}-{look}.png")
    found = (await Axe().run(page)).response["violations"]
    assert not found, json.dumps(
        [(it["id"], it["help"], [node["html"][:200] for node in it["nodes"][:3]]) for it in found]
    )
    wider = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"{name} is {wider} px wider than the window"


async def test_a_dialog_reads_well(viewer: Viewer) -> None:
    page = await viewer.logged_in()
    await page.get_by_role("link", name="Drain atlas").click()
    await expect(page.get_by_role("dialog")).to_contain_text("4 replicas move")
    await _look_at(page, "dialog", "light")
