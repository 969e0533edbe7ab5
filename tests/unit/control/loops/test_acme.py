"""loops/acme: when an authority is asked, what is kept, how long it is left alone. The real one: tests/e2e/test_acme.py."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from fixtures.control import State, add_gateway, add_host, add_run
from homeport_control.decide.certificates import trouble
from homeport_control.domain.certificates import ACCOUNT, CannotIssue, Issued, Kept
from homeport_control.domain.gateway import Certificate, Proof
from homeport_control.loops.acme import AcmeLoop
from homeport_control.store import certificates, events, gateways
from homeport_control.trust import gateway_ca

NOW_S = time.time()
NAMES = ["gateway.example.com", "web.example.com"]


@dataclass
class Authority:
    """Signs what it is asked for, or fails with `trouble`; shows one proof each time."""

    asked: list[tuple[str, str, str]] = field(default_factory=list)  # directory, account, name
    challenges: list[str] = field(default_factory=list)
    shown: list[Proof] = field(default_factory=list)
    taken_back: int = 0
    trouble: CannotIssue | None = None
    calls: list[tuple[str, ...]] = field(default_factory=list)  # of the hook
    hook_fails_at: str = ""
    sends_rubbish: bool = False

    def __post_init__(self) -> None:
        self._ca = gateway_ca.new_ca("authority", NOW_S)

    def obtain(
        self, directory: str, email: str, account: str, name: str, challenge: str, show: Callable[[str, str], None]
    ) -> Issued:
        self.asked.append((directory, account, name))
        self.challenges.append(challenge)
        show("/.well-known/x", f"text of {name}")
        if self.trouble:
            raise self.trouble
        pair = gateway_ca.issue(self._ca, name, NOW_S)
        if self.sends_rubbish:
            return Issued(self._ca.certificate_pem.decode(), pair.key_pem.decode())
        return Issued(pair.certificate_pem.decode(), pair.key_pem.decode())

    @asynccontextmanager
    async def proving(self, gateway: str, proof: Proof) -> AsyncIterator[None]:
        self.shown.append(proof)
        yield
        self.taken_back += 1

    def hook(self, path: str, action: str, record: str, value: str) -> None:
        self.calls.append((path, action, record, value))
        if action == self.hook_fails_at:
            raise CannotIssue(f"the hook {path} {action} failed with status 1: no")


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def loop(state: State, authority: Authority) -> AcmeLoop:
    await add_host(state, "h1")
    certificate = Certificate("acme", "a@b.c", "https://ca/dir")
    await add_gateway(
        state, "main", domain="example.com", https_port=443, certificate=certificate, default=True, ready=True
    )
    await add_run(state, "web")
    obtain, proving, hook = authority.obtain, authority.proving, authority.hook
    return AcmeLoop(state.database, state.sealer, obtain, lambda: "the account's key", proving, hook)


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


WILD = "*.example.com"
HOOKED = Certificate("acme", "a@b.c", "https://ca/dir", hook="/hook")


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
