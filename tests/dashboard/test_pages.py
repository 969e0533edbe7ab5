"""The pages in a real Chromium, as a reader uses them: live by themselves, logs that stream, questions first, keys suffice."""

import asyncio

import pytest
from fixtures.control import add_token, get_host, get_run, until
from fixtures.dashboard import Dashboard
from fixtures.showroom import ADMIN, USER, Showroom
from fixtures.viewers import Viewer, viewing
from homeport_control.domain.services import RunWanted
from homeport_control.store import tokens
from homeport_control.trust.tokens import sha256_hex
from playwright.async_api import Browser, Locator, Page, Route, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")
UPDATE_MS = 2000.0
PAINTED = "performance.getEntriesByName('first-contentful-paint').length"


def gpu(page: Page, host: str, index: int) -> Locator:
    return page.locator(".host", has=page.get_by_role("heading", name=host, exact=True)).locator(".gpu").nth(index)


async def live(page: Page) -> None:
    await expect(page.locator("#live-mark")).to_have_text("live")


async def test_a_reader_logs_in_sees_the_fleet_and_signs_out(viewer: Viewer) -> None:
    page = await viewer.logged_in()
    await expect(page.get_by_role("heading", name="atlas", exact=True)).to_be_visible()
    await expect(page.locator("#top-summary")).to_contain_text("5 / 5")
    first = gpu(page, "atlas", 0)
    await expect(first.locator(".mem")).to_have_text("71.4 / 80 GB")
    await expect(first.locator(".by")).to_have_text("llama-chat/0")
    await expect(first.locator(".util")).to_have_text("93 %")
    await expect(first.locator(".temp")).to_have_text("68 °C")
    await expect(gpu(page, "borea", 0).locator(".by")).to_have_text("train.py (pid 3100) 39.9 GB")
    await expect(page.locator(".host", has_text="xid-79")).to_contain_text("reboot the host; if it comes back")
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/login")
    await viewer.goto(page, "/")
    await page.wait_for_url("**/login")


async def test_the_top_of_the_fleet_is_painted_before_the_style_of_its_cards_is_there(viewer: Viewer) -> None:
    page = await viewer.logged_in()
    asked, may_come = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        asked.set()
        await may_come.wait()
        await route.continue_()

    await page.route("**/parts.css", hold)
    try:
        await page.goto(f"{viewer.dashboard.url}/", wait_until="commit")
        await asyncio.wait_for(asked.wait(), 10)
        async with asyncio.timeout(10):
            while not await page.evaluate(PAINTED):  # the CSP lets nobody but the debugger evaluate
                pass
        await expect(page.locator("#top-summary")).to_be_visible()
        assert await page.locator(".card").count() == 0  # not even read: nothing of it can flash up without its style
    finally:
        may_come.set()
    await expect(page.get_by_role("heading", name="atlas", exact=True)).to_be_visible()
    await live(page)


async def test_a_wrong_token_is_told_on_the_page(viewer: Viewer) -> None:
    viewer.expected.append("403")
    page = await viewer.page()
    await page.get_by_label("Token").fill("nonsense")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("the token is not known here")


async def test_a_gpu_s_memory_changes_on_the_page_by_itself(viewer: Viewer, room: Showroom) -> None:
    page = await viewer.logged_in()
    await live(page)
    host = room.hosts["desk-bob"]
    mem = gpu(page, "desk-bob", 0).locator(".mem")
    await expect(mem).to_have_text("0.5 / 24 GB")
    host.cards[0].used_gb, host.cards[0].processes = 13.3, [("stranger", 12.8, "")]
    await host.tell()
    await expect(mem).to_have_text(
        "13.3 / 24 GB", timeout=UPDATE_MS * 3
    )  # the bench holds the bar, this machine is shared
    await expect(gpu(page, "desk-bob", 0).locator(".by")).to_have_text("stranger (pid 3100) 12.8 GB")
    host.cards[0].used_gb, host.cards[0].processes = 0.5, []
    await host.tell()
    await expect(mem).to_have_text("0.5 / 24 GB")


async def test_a_host_that_goes_is_told_and_comes_back(viewer: Viewer, room: Showroom) -> None:
    page = await viewer.logged_in()
    await live(page)
    card = page.locator(".host", has=page.get_by_role("heading", name="desk-bob", exact=True))
    await room.hosts["desk-bob"].end()
    await expect(card).to_contain_text("unreachable")
    await expect(page.locator("#top-summary")).to_contain_text("4 / 5")
    await room.hosts["desk-bob"].begin()
    await expect(card).to_contain_text("idle")


async def test_a_log_streams(viewer: Viewer, room: Showroom) -> None:
    await viewer.logged_in()
    page = await viewer.page("/services/llama-chat")
    await live(page)
    log = page.get_by_role("log")
    await expect(log).to_contain_text("271 tokens in 3.54 s")
    for place in range(3):
        await room.hosts["atlas"].write("c0", f"streamed line {place}")
        await expect(log.locator(".l").last).to_contain_text(f"streamed line {place}")
    await room.hosts["atlas"].write("c0", *(f"many {place}" for place in range(60)))
    await expect(log.get_by_text("many 59", exact=True)).to_be_visible()
    at_end = await log.evaluate("it => it.scrollHeight - it.scrollTop - it.clientHeight")
    assert at_end < 5, "a reader at the end stays there"
    assert await log.get_by_text("streamed line 1", exact=True).count() == 1, "nothing twice"


async def test_services_show_their_numbers_scaling_and_rollout(viewer: Viewer) -> None:
    await viewer.logged_in()
    page = await viewer.page("/services")
    card = page.locator(".service", has=page.get_by_role("heading", name="llama-chat", exact=True))
    for words in ("48.0/s", "31", "412 ms", "1.9 s", "2 / 2", "1..4", "hold 2: 31 requests in flight"):
        await expect(card).to_contain_text(words)
    big = page.locator(".service", has=page.get_by_role("heading", name="big-model", exact=True))
    await expect(big).to_contain_text("revision 1: 0 of 1 in rotation")
    await expect(big).to_contain_text("image: 64 % of 18.4 GB")


async def test_a_service_is_stopped_after_a_question(viewer: Viewer, room: Showroom) -> None:
    run_id = await room.run("short-lived")
    await viewer.logged_in(USER)
    page = await viewer.page("/services")
    card = page.locator(".service", has=page.get_by_role("heading", name="short-lived", exact=True))
    dialog = page.get_by_role("dialog")
    await card.get_by_role("link", name="Stop").click()
    await expect(dialog).to_contain_text("Stop short-lived?")
    await dialog.get_by_role("link", name="Cancel").click()
    await expect(dialog).to_be_hidden()
    assert (await get_run(room.state, run_id)).wanted is RunWanted.RUN
    await card.get_by_role("link", name="Stop").click()
    await dialog.get_by_role("button", name="Stop it").click()
    await expect(dialog).to_contain_text("short-lived is being stopped.")
    await dialog.get_by_role("link", name="Close").click()
    await expect(dialog).to_be_hidden()
    assert (await get_run(room.state, run_id)).wanted is RunWanted.STOP


async def test_a_service_gets_more_replicas_after_a_question(viewer: Viewer, room: Showroom) -> None:
    run_id = await room.run("wanted")
    await viewer.logged_in(USER)
    page = await viewer.page("/services/wanted")
    dialog = page.get_by_role("dialog")
    await page.get_by_role("link", name="Scale wanted").click()
    field = dialog.get_by_label("Replicas")
    await expect(field).to_be_focused()
    viewer.expected.append("400")
    await field.fill("none")
    await dialog.get_by_role("button", name="Scale it").click()
    await expect(dialog).to_contain_text("replicas 'none': ")
    await dialog.get_by_role("link", name="Close").click()
    await page.get_by_role("link", name="Scale wanted").click()
    await field.fill("3")
    await page.keyboard.press("Enter")
    await expect(dialog).to_contain_text("wanted gets 3 replicas in place of 1, by revision 2.")
    assert (await get_run(room.state, run_id)).newest.number == 2


async def test_without_scripts_a_question_is_a_page(viewer: Viewer, room: Showroom) -> None:
    run_id = await room.run("plain")
    await viewer.logged_in()
    page = await viewer.page("/services/plain/stop")
    await page.get_by_role("button", name="Stop it").click()
    await expect(page.get_by_role("heading", name="Done")).to_be_visible()
    assert (await get_run(room.state, run_id)).wanted is RunWanted.STOP


async def test_keys_alone_drain_a_host(viewer: Viewer, room: Showroom) -> None:
    page = await viewer.logged_in()
    await live(page)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    link = page.get_by_role("link", name="Drain desk-bob")
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await link.evaluate("it => it === document.activeElement"):
            break
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Nothing runs on it")
    await expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(dialog).to_contain_text("Host desk-bob is drained")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("link", name="Undrain desk-bob")).to_be_visible()
    host_id = room.hosts["desk-bob"].agent.host_id
    assert (await get_host(room.state, host_id)).cordoned
    await page.get_by_role("link", name="Undrain desk-bob").click()
    await dialog.get_by_role("button", name="Undrain it").click()
    await expect(dialog).to_contain_text("is not drained")


async def test_who_is_no_admin_is_not_offered_to_drain(viewer: Viewer) -> None:
    page = await viewer.logged_in(USER)
    await expect(page.get_by_role("heading", name="atlas", exact=True)).to_be_visible()
    assert await page.get_by_role("link", name="Drain").count() == 0


async def test_events_come_by_themselves_the_newest_first(viewer: Viewer, room: Showroom) -> None:
    await viewer.logged_in()
    page = await viewer.page("/events?kind=token")
    await live(page)
    await add_token(room.state, "made just now", "user", user="bob")
    token = await until(room.state.database, lambda: _named(room, "made just now"))
    await expect(page.locator("#events li").first).to_contain_text(token)


async def _named(room: Showroom, plain: str) -> str:
    async with room.state.database.read() as connection:
        found = await tokens.by_hash(connection, sha256_hex(plain))
    return found.name if found else ""


async def test_a_page_whose_token_is_revoked_leads_to_the_login(viewer: Viewer, room: Showroom) -> None:
    token_id = await add_token(room.state, "soon-gone", "user", user="bob")
    page = await viewer.logged_in("soon-gone")
    await live(page)
    async with room.state.database.write() as write:
        await tokens.revoke(write, token_id, 2000.0)
    await page.wait_for_url("**/login", timeout=15_000)


async def test_many_viewers_share_one_watch_and_survive_the_first_one(
    viewer: Viewer, room: Showroom, chromium: Browser, dashboard: Dashboard
) -> None:
    token_id = await add_token(room.state, "first", "user", user="bob")
    async with viewing(dashboard, chromium) as other:
        await other.logged_in("first")
        page = await viewer.logged_in(ADMIN)
        await live(page)
        async with room.state.database.write() as write:
            await tokens.revoke(write, token_id, 2000.0)
        host = room.hosts["desk-ann"]
        await asyncio.sleep(0)
        host.cards[0].used_gb = 7.7
        await host.tell()
        await expect(gpu(page, "desk-ann", 0).locator(".mem")).to_have_text("7.7 / 24 GB")
        host.cards[0].used_gb = 1.9
        await host.tell()
