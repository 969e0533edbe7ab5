"""loops/acme: when an authority is asked, what is kept, how long it is left alone. The real one: tests/e2e/test_acme.py."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from fixtures.control import State, add_gateway, add_host, add_run
from homeport_control.domain.certificates import ACCOUNT, CannotIssue, Issued, Kept
from homeport_control.domain.gateway import Certificate, Proof
from homeport_control.loops.acme import AcmeLoop
from homeport_control.store import certificates, gateways
from homeport_control.trust import gateway_ca

NOW_S = time.time()
NAMES = ["gateway.example.com", "web.example.com"]


@dataclass
class Authority:
    """Signs what it is asked for, or fails with `trouble`; shows one proof each time."""

    asked: list[tuple[str, str, str]] = field(default_factory=list)  # directory, account, name
    shown: list[Proof] = field(default_factory=list)
    taken_back: int = 0
    trouble: CannotIssue | None = None

    def __post_init__(self) -> None:
        self._ca = gateway_ca.new_ca("authority", NOW_S)

    def obtain(self, directory: str, email: str, account: str, name: str, show: Callable[[str, str], None]) -> Issued:
        self.asked.append((directory, account, name))
        show("/.well-known/x", f"text of {name}")
        if self.trouble:
            raise self.trouble
        pair = gateway_ca.issue(self._ca, name, NOW_S)
        return Issued(pair.certificate_pem.decode(), pair.key_pem.decode())

    @asynccontextmanager
    async def proving(self, gateway: str, proof: Proof) -> AsyncIterator[None]:
        self.shown.append(proof)
        yield
        self.taken_back += 1


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
    return AcmeLoop(state.database, state.sealer, authority.obtain, lambda: "the account's key", authority.proving)


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
