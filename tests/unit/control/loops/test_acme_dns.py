"""loops/acme by DNS: one certificate for all names, proved by the hook, with the same patience."""

import time

import pytest
from fakes.authority import Authority, acme_of
from fixtures.control import State, add_run
from homeport_control.domain.certificates import ACCOUNT, CannotIssue, Kept
from homeport_control.domain.gateway import Certificate
from homeport_control.loops.acme import AcmeLoop
from homeport_control.store import certificates, events, gateways

NOW_S = time.time()
NAMES = ["gateway.example.com", "web.example.com"]
WILD = "*.example.com"
HOOKED = Certificate("acme", "a@b.c", "https://ca/dir", hook="/hook")


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def loop(state: State, authority: Authority) -> AcmeLoop:
    return await acme_of(state, authority)


async def kept(state: State) -> dict[str, Kept]:
    async with state.database.read() as connection:
        return {it.name: it for it in await certificates.list_all(connection)}


async def by_hook(state: State, **changed: object) -> None:
    async with state.database.write() as write:
        await gateways.update(write, "main", certificate=HOOKED, **changed)


async def told(state: State) -> list[str]:
    async with state.database.read() as connection:
        return [event.sentence for event in await events.newest(connection, events.Filter(kind="gateway"), 10)]


async def test_by_dns_one_for_all_names_is_proved_by_the_hook_without_the_gateway(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    await by_hook(state, ready=False)
    turn = await loop.turn(NOW_S)
    assert turn.sentence == "1 certificates came"
    assert (authority.asked, authority.challenges) == ([("https://ca/dir", "the account's key", WILD)], ["dns-01"])
    proof = ("/.well-known/x", f"text of {WILD}")
    assert authority.calls == [("/hook", "present", *proof), ("/hook", "cleanup", *proof)]
    assert authority.shown == []
    assert sorted(await kept(state)) == [WILD, ACCOUNT]
    await add_run(state, "another")
    assert (await loop.turn(NOW_S)).sentence == "no certificate is due", "it is there for what comes later"


async def test_by_dns_it_is_renewed_after_two_thirds_by_the_same_account(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    await by_hook(state)
    await loop.turn(NOW_S)
    before = await kept(state)
    assert (await loop.turn(NOW_S + 59 * 86400)).sentence == "no certificate is due"
    await loop.turn(NOW_S + 61 * 86400)
    after = await kept(state)
    assert after[WILD].chain_pem != before[WILD].chain_pem
    assert after[ACCOUNT].key == before[ACCOUNT].key


@pytest.mark.parametrize("at", ["present", "obtain"])
async def test_by_dns_what_fails_is_told_cleaned_up_and_tried_again_later_and_later(
    state: State, loop: AcmeLoop, authority: Authority, at: str
) -> None:
    await by_hook(state)
    authority.hook_fails_at, authority.trouble = at, CannotIssue("the authority cannot be reached")
    why = "the hook /hook present failed with status 1: no" if at == "present" else "the authority cannot be reached"
    waits_s, now_s = [], time.time()
    for _ in range(3):
        await loop.turn(now_s)
        it = (await kept(state))[WILD]
        waits_s.append(round(it.next_try_s - time.time(), -1))
        assert it.problem == why
        assert (await loop.turn(it.next_try_s - 5)).sentence == "no certificate is due"
        now_s = it.next_try_s + 1
    assert waits_s == [60, 120, 240]
    assert [action for _, action, *_ in authority.calls] == ["present", "cleanup"] * 3
    assert (await told(state))[-1] == f"gateway main got no certificate for {WILD}: {why}"


async def test_by_dns_a_limit_of_the_authority_counts(state: State, loop: AcmeLoop, authority: Authority) -> None:
    await by_hook(state)
    authority.trouble = CannotIssue("too many", wait_s=7200.0)
    await loop.turn(time.time())
    assert (await kept(state))[WILD].next_try_s - time.time() > 7000


async def test_a_record_that_the_hook_cannot_take_back_is_told_and_costs_nothing(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    await by_hook(state)
    authority.hook_fails_at = "cleanup"
    await loop.turn(NOW_S)
    assert (await kept(state))[WILD].problem == ""
    assert (await told(state))[-1] == (
        f"gateway main got a certificate for {WILD}; /.well-known/x may still hold text of {WILD}: "
        "the hook /hook cleanup failed with status 1: no"
    )


async def test_those_of_single_names_are_kept_until_the_wildcard_is_there_and_let_go_when_they_are_old(
    state: State, loop: AcmeLoop, authority: Authority
) -> None:
    await loop.turn(NOW_S)
    await by_hook(state)
    authority.trouble = CannotIssue("no")
    await loop.turn(NOW_S + 89 * 86400)
    assert sorted(await kept(state)) == [WILD, ACCOUNT, *NAMES], "they are what is served"
    authority.trouble = None
    await loop.turn(time.time() + 89 * 86400 + 70)
    await loop.turn(time.time() + 89 * 86400 + 70)
    assert sorted(await kept(state)) == [WILD, ACCOUNT]
