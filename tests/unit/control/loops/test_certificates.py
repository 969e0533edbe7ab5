"""loops/certificates: made by a gateway's own CA, read from files that change, kept when something is wrong."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.control import State, add_gateway, add_host, add_run, get_gateway, written
from homeport_control.decide.certificates import trouble
from homeport_control.domain.certificates import ALL_NAMES, CA, Kept
from homeport_control.domain.gateway import Certificate
from homeport_control.loops.certificates import CertificatesLoop
from homeport_control.store import certificates, events, gateways
from homeport_control.trust import gateway_ca

NOW_S = time.time()
NAMES = ["gateway.example.com", "web.example.com"]


@pytest.fixture
async def loop(state: State) -> CertificatesLoop:
    """A gateway with a CA of its own, which publishes `web` by HTTPS and `plain` not."""
    await add_host(state, "h1")
    fields = {"https_port": 443, "certificate": Certificate("self-signed"), "default": True}
    await add_gateway(state, "main", domain="example.com", **fields)
    await add_run(state, "web")
    await add_run(state, "plain", https=False)
    return CertificatesLoop(state.database, state.sealer)


async def kept(state: State) -> dict[str, Kept]:
    async with state.database.read() as connection:
        return {it.name: it for it in await certificates.list_all(connection)}


async def test_each_name_gets_one_and_its_key_is_sealed(state: State, loop: CertificatesLoop) -> None:
    turn = await loop.turn(NOW_S)
    assert turn.sentence == "2 certificates were made or read"
    found = await kept(state)
    assert sorted(found) == [CA, *NAMES]
    for it in found.values():
        assert b"PRIVATE" not in it.key
        gateway_ca.checked(it.chain_pem.encode(), state.sealer.open(it.key).encode())
    assert (await written(state)).count(b"PRIVATE KEY") == 2, "in the CA's own file"
    turn = await loop.turn(NOW_S)
    assert await kept(state) == found, "what is good is left alone, over restarts too"
    assert turn.wake_at_s is not None
    assert NOW_S + 59 * 86400 < turn.wake_at_s < NOW_S + 61 * 86400


async def test_with_http3_there_is_a_wildcard_besides(state: State, loop: CertificatesLoop) -> None:
    async with state.database.write() as write:
        await gateways.update(write, "main", http3=True)
    await loop.turn(NOW_S)
    assert sorted(await kept(state)) == [CA, "*.example.com", *NAMES]
    async with state.database.write() as write:
        await gateways.update(write, "main", http3=False)
    await loop.turn(NOW_S)
    assert sorted(await kept(state)) == [CA, *NAMES]


async def test_one_is_replaced_after_two_thirds_of_its_life_by_the_same_ca(
    state: State, loop: CertificatesLoop
) -> None:
    await loop.turn(NOW_S)
    before = await kept(state)
    await loop.turn(NOW_S + 61 * 86400)
    after = await kept(state)
    assert after[CA].chain_pem == before[CA].chain_pem
    assert all(after[name].chain_pem != before[name].chain_pem for name in NAMES)


async def test_one_that_a_wrong_clock_made_is_replaced_when_the_clock_is_right(
    state: State, loop: CertificatesLoop
) -> None:
    await loop.turn(NOW_S)
    await loop.turn(NOW_S + 365 * 86400)
    assert all(it.not_before_s > NOW_S for name, it in (await kept(state)).items() if name != CA)
    await loop.turn(NOW_S)
    found = await kept(state)
    assert all(found[name].not_before_s <= NOW_S for name in NAMES)


async def test_a_clock_that_goes_back_before_its_ca_changes_nothing_and_what_it_makes_is_replaced(
    state: State, loop: CertificatesLoop
) -> None:
    await loop.turn(NOW_S)
    before = await kept(state)
    await add_run(state, "later")
    await loop.turn(0.0)
    assert {name: it for name, it in (await kept(state)).items() if name in before} == before
    await loop.turn(NOW_S)
    assert (await kept(state))["later.example.com"].not_before_s > NOW_S - 86400


async def test_one_that_has_expired_while_the_server_was_away_is_replaced_at_once(
    state: State, loop: CertificatesLoop
) -> None:
    await loop.turn(NOW_S)
    late_s = NOW_S + 200 * 86400
    assert "has expired" in trouble((await kept(state))[NAMES[0]], late_s)
    await loop.turn(late_s)
    found = await kept(state)
    assert [trouble(found[name], late_s) for name in (CA, *NAMES)] == ["", "", ""]


async def test_a_new_domain_gets_its_own_beside_the_old_one_and_what_is_not_served_goes(
    state: State, loop: CertificatesLoop
) -> None:
    await loop.turn(NOW_S)
    async with state.database.write() as write:
        await gateways.update(write, "main", domain="b.c", old_domain="example.com")
    await loop.turn(NOW_S)
    assert sorted(await kept(state)) == [CA, "gateway.b.c", NAMES[0], "web.b.c", NAMES[1]]
    async with state.database.write() as write:
        await gateways.update(write, "main", old_domain="")
    await loop.turn(NOW_S)
    assert sorted(await kept(state)) == [CA, "gateway.b.c", "web.b.c"]


class Files:
    """A pair on disk, replaced as certbot does: a new file, renamed over the old one."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.ca = gateway_ca.new_ca("elsewhere", NOW_S)

    def write(self, now_s: float = NOW_S) -> str:
        pair = gateway_ca.issue(self.ca, "*.example.com", now_s)
        for path, content in ((self.cert, pair.certificate_pem), (self.key, pair.key_pem)):
            fresh = path.with_suffix(".new")
            fresh.write_bytes(content)
            os.replace(fresh, path)
        return pair.certificate_pem.decode()


@pytest.fixture
async def files(state: State, loop: CertificatesLoop, tmp_path: Path) -> Files:
    made = Files(tmp_path)
    certificate = Certificate("files", cert=str(made.cert), key=str(made.key))
    async with state.database.write() as write:
        await gateways.put(write, replace(await get_gateway(state, "main"), certificate=certificate), "changed")
    return made


async def test_files_are_read_and_read_again_when_they_change(
    state: State, loop: CertificatesLoop, files: Files
) -> None:
    first = files.write()
    turn = await loop.turn(NOW_S)
    assert (await kept(state))[ALL_NAMES].chain_pem == first
    assert turn.wake_at_s is not None, "nobody tells when a file changes"
    with state.database.changes.subscribe("gateways") as woken:
        await loop.turn(NOW_S)
        assert not await woken.wait(0), "nothing has changed"
        second = files.write()
        await loop.turn(NOW_S)
        assert await woken.wait(0)
    assert (await kept(state))[ALL_NAMES].chain_pem == second


async def test_files_that_are_gone_or_broken_leave_the_last_good_one_with_the_reason(
    state: State, loop: CertificatesLoop, files: Files
) -> None:
    good = files.write()
    await loop.turn(NOW_S)
    files.key.unlink()
    await loop.turn(NOW_S)
    it = (await kept(state))[ALL_NAMES]
    assert it.chain_pem == good
    assert it.problem == f"{files.key} cannot be read on the server's machine: No such file or directory"
    files.key.write_text("no key")
    await loop.turn(NOW_S)
    assert (await kept(state))[ALL_NAMES].problem == "the key is not PEM, or of a kind that is not known"
    async with state.database.read() as connection:
        told = [event.sentence for event in await events.newest(connection, events.Filter(kind="gateway"), 10)]
    assert told[-1].startswith("gateway main keeps its certificate: the key is not PEM")
    fresh = files.write()
    await loop.turn(NOW_S)
    assert ((await kept(state))[ALL_NAMES].chain_pem, (await kept(state))[ALL_NAMES].problem) == (fresh, "")


async def test_files_that_never_were_there_are_told(state: State, loop: CertificatesLoop, files: Files) -> None:
    await loop.turn(NOW_S)
    it = (await kept(state))[ALL_NAMES]
    assert (it.chain_pem, "No such file" in it.problem) == ("", True)


async def test_a_restart_reads_the_files_anew_and_changes_nothing(
    state: State, loop: CertificatesLoop, files: Files
) -> None:
    files.write()
    await loop.turn(NOW_S)
    before = await kept(state)
    await CertificatesLoop(state.database, state.sealer).turn(NOW_S)
    assert await kept(state) == before
