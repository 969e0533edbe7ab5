"""loops/acme: when an authority is asked, what is kept, how long it is left alone. The real one: tests/e2e/test_acme.py."""

import time

import pytest
from fakes.authority import Authority, acme_of
from fixtures.control import State
from homeport_control.decide.certificates import trouble
from homeport_control.domain.certificates import ACCOUNT, CannotIssue, Kept
from homeport_control.domain.gateway import Certificate
from homeport_control.loops.acme import AcmeLoop
from homeport_control.store import certificates, gateways

NOW_S = time.time()
NAMES = ["gateway.example.com", "web.example.com"]


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def loop(state: State, authority: Authority) -> AcmeLoop:
    return await acme_of(state, authority)


async def kept(state: State) -> dict[str, Kept]:
    async with state.database.read() as connection:
        return {it.name: it for it in await certificates.list_all(connection)}


async def test_each_name_is_proved_and_kept_and_the_account_is_one(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    turn = await loop.turn(NOW_S)
    assert turn.sentence == "2 certificates came"
    assert authority.asked == [("https://ca/dir", "the account's key", name) for name in NAMES]
    assert [proof.name for proof in authority.shown] == NAMES
    assert authority.taken_back == 2
    found = await kept(state)
    assert sorted(found) == [ACCOUNT, *NAMES]
    assert state.sealer.open(found[ACCOUNT].key) == "the account's key"
    assert "PRIVATE" in state.sealer.open(found[NAMES[0]].key)
    assert (await loop.turn(NOW_S)).sentence == "no certificate is due"
    assert turn.wake_at_s is not None
    assert NOW_S + 59 * 86400 < turn.wake_at_s < NOW_S + 61 * 86400


async def test_it_is_renewed_after_two_thirds_and_what_fails_leaves_the_old_one(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    await loop.turn(NOW_S)
    before = await kept(state)
    authority.trouble = CannotIssue("the authority cannot be reached")
    turn = await loop.turn(NOW_S + 61 * 86400)
    assert turn.sentence == "2 did not come"
    after = await kept(state)
    for name in NAMES:
        assert after[name].chain_pem == before[name].chain_pem
        assert (after[name].problem, after[name].failures) == ("the authority cannot be reached", 1)
    assert len(authority.asked) == 4


async def test_a_failure_is_tried_again_later_and_later_and_a_limit_counts(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    authority.trouble = CannotIssue("no")
    now_s = time.time()
    await loop.turn(now_s)
    tried = len(authority.asked)
    await loop.turn(now_s + 5)
    assert len(authority.asked) == tried, "not within a minute"
    at_s = (await kept(state))[NAMES[0]].next_try_s
    assert 50 < at_s - now_s < 80
    authority.trouble = CannotIssue("too many", wait_s=7200.0)
    await loop.turn(at_s + 30)
    limited = (await kept(state))[NAMES[0]]
    assert limited.failures == 2
    assert limited.next_try_s - time.time() > 7000
    authority.trouble = None
    await loop.turn(limited.next_try_s + 1)
    assert ((await kept(state))[NAMES[0]].problem, (await kept(state))[NAMES[0]].failures) == ("", 0)


async def test_another_authority_is_asked_at_once_with_another_account(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    authority.trouble = CannotIssue("no")
    await loop.turn(NOW_S)
    authority.trouble = None
    async with state.database.write() as write:
        await gateways.update(write, "main", certificate=Certificate("lets-encrypt"))
    await loop.turn(NOW_S)
    assert [directory for directory, _, _ in authority.asked[-2:]] == ["", ""]
    assert (await kept(state))[ACCOUNT].source.startswith("https://acme-v02.api.letsencrypt.org")


async def test_while_its_envoy_does_not_run_nothing_is_asked_for(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    async with state.database.write() as write:
        await gateways.update(write, "main", ready=False)
    await loop.turn(NOW_S)
    assert authority.asked == [], "it could not prove anything, and tries are counted"


async def test_one_of_a_service_that_is_gone_is_let_go_when_it_is_old(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    await loop.turn(NOW_S)
    async with state.database.write() as write:
        await gateways.update(write, "main", domain="b.c")
    await loop.turn(NOW_S)
    assert NAMES[0] in await kept(state), "it may come back, and orders are counted"
    await loop.turn(NOW_S + 61 * 86400)
    assert NAMES[0] not in await kept(state)


async def test_a_clock_that_is_wrong_asks_once_and_what_comes_is_served(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    await loop.turn(NOW_S)
    await loop.turn(NOW_S - 300 * 86400)
    assert len(authority.asked) == 2, "gone back: an authority would sign by its own clock again"
    ahead_s = NOW_S + 300 * 86400
    turn = await loop.turn(ahead_s)
    assert turn.sentence == "2 certificates came"
    for _ in range(3):
        assert (await loop.turn(ahead_s + 60)).sentence == "no certificate is due"
    assert len(authority.asked) == 4
    found = (await kept(state))[NAMES[0]]
    assert "old by the server's clock" in trouble(found, ahead_s + 60)
    assert trouble(found, NOW_S) == "", "the clock is right again"
    assert (await loop.turn(NOW_S)).sentence == "no certificate is due"


async def test_a_failure_while_the_clock_was_ahead_is_tried_again_when_it_is_right(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    async with state.database.write() as write:
        failed = Kept("main", NAMES[0], "https://ca/dir", problem="no", failures=1, next_try_s=NOW_S + 300 * 86400)
        await certificates.put(write, failed)
    assert (await loop.turn(NOW_S)).sentence == "2 certificates came"


async def test_what_expired_while_its_authority_is_away_stays_and_is_told(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    await loop.turn(NOW_S)
    before = (await kept(state))[NAMES[0]]
    authority.trouble = CannotIssue("the authority cannot be reached")
    late_s = NOW_S + 91 * 86400
    await loop.turn(late_s)
    after = (await kept(state))[NAMES[0]]
    assert after.chain_pem == before.chain_pem
    said = trouble(after, late_s)
    assert said.startswith(f"its certificate for {NAMES[0]} has expired 24 h ago and is served all the same; ")
    assert said.endswith("is not replaced: the authority cannot be reached")


async def test_what_comes_and_cannot_be_served_is_a_failure_like_others(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    authority.sends_rubbish = True
    assert (await loop.turn(time.time())).sentence == "2 did not come"
    it = (await kept(state))[NAMES[0]]
    assert (it.chain_pem, it.failures) == ("", 1)
    assert it.problem == "the key is not that of the first certificate"
    assert (await loop.turn(time.time())).sentence == "no certificate is due", "not at once again"
