"""Who may see and do what: the login and its cookie, requests from other sites, roles, and what stands in every answer."""

import asyncio

import httpx
import pytest
from fixtures.control import add_token, get_host, get_run
from fixtures.dashboard import Dashboard
from fixtures.showroom import ADMIN, USER, Showroom
from homeport_control.dashboard import streams
from homeport_control.dashboard.guard import POLICY
from homeport_control.domain.services import RunWanted
from homeport_control.store import tokens
from homeport_control.trust.guesses import BURST

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAGES = ("/", "/services", "/services/llama-chat", "/events", "/playground")
ACTIONS = (
    "/services/whisper/stop",
    "/services/whisper/scale",
    "/hosts/{desk}/drain",
    "/hosts/{desk}/undrain",
    "/logout",
    "/playground/chat",
)


def desk(room: Showroom) -> str:
    return room.hosts["desk-bob"].agent.host_id


async def test_without_a_login_every_page_leads_to_it(dashboard: Dashboard, room: Showroom) -> None:
    async with dashboard.browser() as stranger:
        for path in (*PAGES, "/services/whisper/stop", f"/hosts/{desk(room)}/drain"):
            answer = await stranger.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, "/login"), path
        for path in ("/live/fleet", "/live/services", "/live/services/whisper", "/live/events"):
            assert (await stranger.get(path)).status_code == 204, "an EventSource does not come again"


async def test_the_cookie_is_for_this_host_over_https_and_not_for_scripts(dashboard: Dashboard) -> None:
    async with dashboard.browser() as ann:
        answer = await ann.log_in(ADMIN)
    name, *flags = answer.headers["set-cookie"].split("; ")
    assert name.startswith("__Host-homeport=")
    assert ADMIN not in name
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=strict"} <= set(flags)
    assert not any(flag.lower().startswith("domain") for flag in flags)


@pytest.mark.parametrize("token", ["", "wrong", "x" * 600, "a\r\nb", "ümlaut"])
async def test_a_wrong_token_is_told_and_gives_no_cookie(dashboard: Dashboard, token: str) -> None:
    async with dashboard.browser() as stranger:
        answer = await stranger.log_in(token)
        assert answer.status_code == 403
        assert 'role="alert"' in answer.text
        assert "set-cookie" not in answer.headers


async def test_a_service_token_opens_nothing(dashboard: Dashboard, room: Showroom) -> None:
    await add_token(room.state, "service-token", "service", user="ann")
    async with dashboard.browser() as caller:
        answer = await caller.log_in("service-token")
        assert answer.status_code == 403
        assert "may only call services" in answer.text


async def test_a_cookie_that_was_made_up_or_is_over_opens_nothing(dashboard: Dashboard) -> None:
    async with dashboard.browser(USER) as bob:
        good = bob.cookie
    sealer = dashboard.plane.state.sealer
    others = ["", "x", good[:-4] + "AAAA", "ü", "a" * 5000, sealer.seal(USER).decode(), sealer.seal("[1]").decode()]
    others.append(sealer.seal('{"use": "dashboard", "token": "user-token", "form": "f", "until": 1}').decode())
    async with httpx.AsyncClient(base_url=dashboard.url, verify=False) as client:  # noqa: S501
        for cookie in others:
            answer = await client.get("/events", headers={"cookie": f"__Host-homeport={cookie}".encode()})
            assert answer.status_code == 303, cookie
        assert (await client.get("/events", headers={"cookie": f"__Host-homeport={good}"})).status_code == 200


async def test_a_revoked_token_ends_the_session(dashboard: Dashboard, room: Showroom) -> None:
    token_id = await add_token(room.state, "leaving", "user", user="bob")
    async with dashboard.browser("leaving") as bob:
        assert (await bob.get("/events")).status_code == 200
        async with room.state.database.write() as write:
            await tokens.revoke(write, token_id, 2000.0)
        answer = await bob.get("/events")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert "Max-Age=0" in answer.headers["set-cookie"]


async def test_signing_out_takes_the_cookie_away(dashboard: Dashboard) -> None:
    async with dashboard.browser(USER) as bob:
        answer = await bob.post("/logout", {"form_secret": await bob.secret()})
        assert (answer.status_code, bob.cookie) == (303, "")
        assert (await bob.get("/events")).status_code == 303


FOREIGN = {
    "another site": {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
    "a neighbour": {"sec-fetch-site": "same-site", "origin": "https://127.0.0.1"},
    "an old browser": {"origin": "https://evil.example"},
    "no origin": {"origin": "null"},
    "plain HTTP": {"origin": "http://{host}"},
    "no browser": {},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN.keys())
async def test_a_request_that_another_site_causes_changes_nothing(
    dashboard: Dashboard, room: Showroom, headers: dict[str, str]
) -> None:
    said = {name: value.format(host=dashboard.url.removeprefix("https://")) for name, value in headers.items()}
    async with dashboard.browser(ADMIN) as ann:
        secret = await ann.secret()
        for path in ACTIONS:
            answer = await ann.post(path.format(desk=desk(room)), {"form_secret": secret}, said)
            assert answer.status_code == 403, path
        assert (await ann.post("/login", {"token": USER}, said)).status_code == 403
    assert (await get_run(room.state, room.runs["whisper"])).wanted is RunWanted.RUN
    assert not (await get_host(room.state, desk(room))).cordoned


@pytest.mark.parametrize("secret", ["", "wrong", "of another"])
async def test_a_form_without_its_secret_changes_nothing(dashboard: Dashboard, room: Showroom, secret: str) -> None:
    async with dashboard.browser(ADMIN) as ann, dashboard.browser(ADMIN) as other:
        given = await other.secret() if secret == "of another" else secret
        for path in ACTIONS:
            answer = await ann.post(path.format(desk=desk(room)), {"form_secret": given})
            assert answer.status_code == 403, path
    assert (await get_run(room.state, room.runs["whisper"])).wanted is RunWanted.RUN


async def test_looking_changes_nothing(dashboard: Dashboard, room: Showroom) -> None:
    async with dashboard.browser(ADMIN) as ann:
        for path in ACTIONS[:3]:
            assert (await ann.get(path.format(desk=desk(room)))).status_code == 200
    assert (await get_run(room.state, room.runs["whisper"])).wanted is RunWanted.RUN
    assert not (await get_host(room.state, desk(room))).cordoned


async def test_a_user_may_not_drain_and_reads_why(dashboard: Dashboard, room: Showroom) -> None:
    async with dashboard.browser(USER) as bob:
        for action in ("drain", "undrain"):
            answer = await bob.post(f"/hosts/{desk(room)}/{action}", {"form_secret": await bob.secret()})
            assert answer.status_code == 403
            assert f"only an admin may {action} a host" in answer.text
    assert not (await get_host(room.state, desk(room))).cordoned


async def test_an_admin_drains_and_undrains_as_themselves(dashboard: Dashboard, room: Showroom) -> None:
    async with dashboard.browser(ADMIN) as ann:
        form = {"form_secret": await ann.secret()}
        answer = await ann.post(f"/hosts/{desk(room)}/drain", form)
        assert "Host desk-bob is drained: nothing runs there." in answer.text
        assert (await get_host(room.state, desk(room))).cordoned
        answer = await ann.post(f"/hosts/{desk(room)}/undrain", form)
        assert "Host desk-bob is not drained." in answer.text
        told = (await ann.get("/events?kind=host")).text
    assert not (await get_host(room.state, desk(room))).cordoned
    assert "user ann" in told


async def test_every_answer_has_the_policy_and_is_not_kept(dashboard: Dashboard, room: Showroom) -> None:
    async with dashboard.browser() as stranger, dashboard.browser(ADMIN) as ann:
        answers = [await ann.get(path) for path in PAGES]
        answers += [await stranger.get("/"), await stranger.get("/login"), await ann.get("/services/none/stop")]
        answers += [await ann.get("/services/nobody"), await ann.post("/logout", {}), await stranger.log_in("wrong")]
        async with ann.client.stream("GET", "/live/fleet") as live:
            answers.append(live)
        file = await ann.get(answers[0].text.split('rel="stylesheet" href="')[1].split('"')[0])
    for answer in (*answers, file):
        said = answer.headers
        assert said["content-security-policy"] == POLICY, answer.url
        assert said["x-content-type-options"] == "nosniff"
        assert said["referrer-policy"] == "same-origin"
    assert all(answer.headers["cache-control"] == "no-store" for answer in answers)
    assert "immutable" in file.headers["cache-control"]
    assert "unsafe" not in POLICY
    assert "frame-ancestors 'none'" in POLICY


async def test_what_others_wrote_is_text_and_no_markup(dashboard: Dashboard, room: Showroom) -> None:
    bad = "<img src=x onerror=alert(1)>\"'&"
    await room.hosts["desk-ann"].agent.report(facts=_named(room, bad))
    await room.hosts["atlas"].write("c0", f"\x1b[31mred\x1b[0m {bad} \x07", stream="stderr")
    async with dashboard.browser(ADMIN) as ann:
        async with asyncio.timeout(15):
            while "onerror" not in (fleet := (await ann.get("/")).text):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        log = (await ann.get("/services/llama-chat")).text
        confirm = (await ann.get("/services/%3Cimg%20src=x%3E")).text
    for text in (fleet, log, confirm):
        assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in fleet
    assert "red &lt;img src=x onerror=alert(1)&gt;" in log
    await room.hosts["desk-ann"].agent.report(facts=room.hosts["desk-ann"].facts())


def _named(room: Showroom, process: str):  # type: ignore[no-untyped-def]
    facts = room.hosts["desk-ann"].facts()
    facts.gpus[0].name = process
    return facts


async def test_a_long_form_is_not_read(dashboard: Dashboard) -> None:
    async with dashboard.browser() as stranger:
        assert (await stranger.post("/login", {"token": "x" * 100_000})).status_code == 413


async def test_wrong_logins_count_as_guesses(dashboard: Dashboard) -> None:
    async with dashboard.browser() as stranger:
        answers = [await stranger.log_in(f"wrong-{place}") for place in range(int(BURST) + 2)]
    assert answers[0].status_code == 403
    assert answers[-1].status_code == 429
    assert "too many wrong tokens came from 127.0.0.1" in answers[-1].text
    async with dashboard.browser(ADMIN) as ann:
        assert (await ann.get("/events")).status_code == 200, "who was good lately goes on"


async def test_so_many_pages_are_looked_at_and_no_more(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_VIEWERS", 0)
    async with dashboard.browser(USER) as bob:
        answer = await bob.get("/live/fleet")
        assert answer.status_code == 429
        assert "0 pages are looked at, more are refused" in answer.text
