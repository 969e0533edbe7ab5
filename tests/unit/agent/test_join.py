import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes.control import FakeControl, fake_control
from homeport_agent.identity import Identity, IdentityStore
from homeport_agent.join import BadJoinInput, CannotJoin, join, parse_label, parse_server, parse_token
from rig.ports import free_ports


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[FakeControl]:
    async with fake_control(tmp_path / "control") as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path / "state")


async def joined(control: FakeControl, store: IdentityStore, token: str = "") -> tuple[Identity, bool]:
    server = f"127.0.0.1:{control.api_port}"
    return await join(store, server, token or control.token, "gpu-1", control.web_port)


async def test_a_host_joins_with_a_key_of_its_own_and_keeps_what_it_got(
    control: FakeControl, store: IdentityStore
) -> None:
    identity, was_known = await joined(control, store)
    assert not was_known
    assert (identity.host_id, identity.server_id, identity.link_port) == ("host-1", "server-1", control.link_port)
    assert "PRIVATE KEY" in identity.key_pem
    assert "PRIVATE KEY" not in control.joins[0].csr_pem
    assert control.joins[0].hostname == "gpu-1"
    assert identity.renew_at_s() == pytest.approx(time.time() + 86400 * 2 / 3, abs=60)
    assert store.read() == identity


async def test_joining_twice_changes_nothing(control: FakeControl, store: IdentityStore) -> None:
    first, _ = await joined(control, store)
    second, was_known = await joined(control, store)
    assert (second, was_known) == (first, True)
    assert len(control.joins) == 1


async def test_a_host_whose_certificate_has_expired_is_the_same_host_by_a_proof_of_its_key(
    control: FakeControl, store: IdentityStore
) -> None:
    first, _ = await joined(control, store)
    store.save(dataclasses.replace(first, not_after_s=time.time() - 1))
    second, was_known = await joined(control, store)
    assert was_known
    assert second.key_pem != first.key_pem
    assert store.read() == second
    assert (len(control.joins), len(control.recovered)) == (1, 1)


async def test_one_that_proves_nothing_any_more_joins_as_another_host(
    control: FakeControl, store: IdentityStore
) -> None:
    first, _ = await joined(control, store)
    store.save(dataclasses.replace(first, not_after_s=time.time() - 1))
    control.refuses_recovery = "this host is not part of the fleet any more"
    second, was_known = await joined(control, store)
    assert not was_known
    assert second.key_pem != first.key_pem
    assert len(control.joins) == 2


async def test_the_token_is_not_sent_to_a_server_with_another_ca(control: FakeControl, store: IdentityStore) -> None:
    with pytest.raises(CannotJoin, match="the token was not sent"):
        await joined(control, store, f"hpj_{'0' * 64}_secretsecret")
    assert control.joins == []
    assert not store.is_there()


async def test_a_page_that_shows_the_right_ca_does_not_make_a_wrong_server_right(
    control: FakeControl, store: IdentityStore, tmp_path: Path
) -> None:
    # An impostor can copy the public certificate, but cannot prove that it holds the key.
    async with fake_control(tmp_path / "impostor") as impostor:
        with pytest.raises(CannotJoin, match="not of the CA"):
            await join(store, f"127.0.0.1:{impostor.api_port}", control.token, "gpu-1", control.web_port)
        assert impostor.joins == []


async def test_a_refused_token_is_told_in_the_words_of_the_server(control: FakeControl, store: IdentityStore) -> None:
    control.refuses = "the join token has expired; make a new one with `homeport fleet join-command`"
    with pytest.raises(CannotJoin, match="the join token has expired; make a new one"):
        await joined(control, store)
    assert not store.is_there()


async def test_a_host_of_another_server_is_not_taken_away(
    control: FakeControl, store: IdentityStore, tmp_path: Path
) -> None:
    await joined(control, store)
    async with fake_control(tmp_path / "other") as other:
        with pytest.raises(CannotJoin, match=r"belongs to the server at 127\.0\.0\.1 already; remove"):
            await joined(other, store)


async def test_nobody_at_the_address_is_told_with_the_port_that_was_tried(store: IdentityStore) -> None:
    (port,) = free_ports(1)
    with pytest.raises(CannotJoin, match=rf"https://127\.0\.0\.1:{port + 2}/ca\.pem: Connection refused"):
        await join(store, f"127.0.0.1:{port}", f"hpj_{'0' * 64}_secretsecret", "gpu-1")


@pytest.mark.parametrize(
    ("body", "status", "tls", "says"),
    [
        (b"hello", "200 OK", True, "is no certificate"),
        (b"", "404 Not Found", True, "answered 404"),
        (b"hello", "200 OK", False, "does not speak TLS"),
    ],
)
async def test_a_port_of_something_else_is_told(
    control: FakeControl, store: IdentityStore, body: bytes, status: str, tls: bool, says: str
) -> None:
    async with control.web(body, status, tls) as port:
        with pytest.raises(CannotJoin, match=says):
            await join(store, f"127.0.0.1:{control.api_port}", control.token, "gpu-1", port)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpu-server", ("gpu-server", 7400)),
        ("10.0.0.1:7500", ("10.0.0.1", 7500)),
        ("[fd00::1]:7500", ("fd00::1", 7500)),
        ("https://h.example:7400/", ("h.example", 7400)),
    ],
)
def test_the_ways_to_write_a_server(text: str, expected: tuple[str, int]) -> None:
    assert parse_server(text) == expected


@pytest.mark.parametrize("text", ["", "host:", "host:0", "host:99999", "a b", "host/path", "fd00::1:7400"])
def test_what_is_no_server_is_refused(text: str) -> None:
    with pytest.raises(BadJoinInput, match="no HOST:PORT"):
        parse_server(text)


@pytest.mark.parametrize("text", ["", "hp_user-token", "hpj_abc_secretsecret", f"hpj_{'g' * 64}_secretsecret"])
def test_what_is_no_join_token_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(BadJoinInput) as caught:
        parse_token(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("text", ["rack", "=a", "rack=", "a b=c", f"{'k' * 64}=v", "rack=a,b"])
def test_what_is_no_label_is_refused(text: str) -> None:
    with pytest.raises(BadJoinInput, match="no NAME=VALUE"):
        parse_label(text)


async def test_labels_travel_with_the_join(control: FakeControl, store: IdentityStore) -> None:
    labels = dict([parse_label("rack=a"), parse_label("tier=gold.1")])
    await join(store, f"127.0.0.1:{control.api_port}", control.token, "gpu-1", control.web_port, labels)
    assert dict(control.joins[0].labels) == {"rack": "a", "tier": "gold.1"}


def test_a_token_never_shows_in_a_repr() -> None:
    assert "secret" not in repr(parse_token(f"hpj_{'0' * 64}_secretsecret"))
