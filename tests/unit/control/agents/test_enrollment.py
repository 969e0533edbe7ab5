"""agents/enrollment: joining over real TLS: who may, what it gets, and what is left when it may not."""

import asyncio

import grpc
import pytest
from cryptography import x509
from fixtures.control import State, add_token, get_gateway, get_host
from fixtures.plane import Plane, new_request, serving
from homeport_control.agents.enrollment import _host_name
from homeport_control.domain.hosts import Connection
from homeport_control.store import hosts
from homeport_control.trust.guesses import address_of
from homeport_control.trust.tokens import new_join_token
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.versions import PROTOCOL


async def refused(plane: Plane, token: str, *, csr: str = "", protocol: int = PROTOCOL) -> tuple[grpc.StatusCode, str]:
    request = agent_pb2.JoinRequest(token=token, hostname="box", csr_pem=csr or new_request()[1], protocol=protocol)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await plane.join(request)
    async with plane.state.database.read() as connection:
        known = await hosts.list_all(connection)
    assert all(host.name != "box" for host in known), "nothing is left of a host that was refused"
    details = caught.value.details() or ""
    assert "\n" not in details
    return caught.value.code(), details


async def test_a_token_gives_a_certificate_of_the_servers_ca(state: State) -> None:
    async with serving(state) as plane:
        agent = await plane.joined("box", await plane.join_token(fleet="lab"))
        answer = agent.joined
        certificate = x509.load_pem_x509_certificate(answer.certificate_pem.encode())
        certificate.verify_directly_issued_by(state.ca.certificate)
        assert (answer.ca_pem.encode(), answer.link_port) == (state.ca.pem, plane.settings.link_port)
        host = await get_host(state, answer.host_id)
        assert (host.name, host.fleet, host.connection) == ("box", "lab", Connection.UNREACHABLE)


async def test_the_first_host_of_the_servers_own_machine_is_the_gateway(state: State) -> None:
    async with serving(state) as plane:
        first, second = await plane.joined(), await plane.joined()
        assert (await get_gateway(state)).host_id == first.host_id
        assert (await get_host(state, second.host_id)).name == "box-2"


async def test_a_token_of_one_use_lets_one_host_in(state: State) -> None:
    async with serving(state) as plane:
        token = await plane.join_token(one_use=True)
        code, _ = await refused(plane, token, csr="garbage")
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        await plane.joined("first", token)
        code, details = await refused(plane, token)
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert "was used already" in details


async def test_of_many_that_race_for_a_token_of_one_use_one_wins(state: State) -> None:
    async with serving(state) as plane:
        token = await plane.join_token(one_use=True)
        answers = await asyncio.gather(*(plane.joined("box", token) for _ in range(5)), return_exceptions=True)
        assert sum(not isinstance(answer, BaseException) for answer in answers) == 1
        async with state.database.read() as connection:
            assert len(await hosts.list_all(connection)) == 1


async def test_other_tokens_let_nobody_in(state: State) -> None:
    async with serving(state) as plane:
        await add_token(state, "hp_admin", "admin")
        await add_token(state, "hpj_old", "join", expires_at_s=2000.0)
        for token, word in (
            (new_join_token("ab" * 32), "is not known here"),
            ("", "is not known here"),
            ("hp_admin", "is not known here"),
            ("hpj_old", "expired"),
        ):
            code, details = await refused(plane, token)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert word in details
            assert not token or token not in details


async def test_an_agent_that_is_too_old_is_told_so_in_words(state: State) -> None:
    async with serving(state) as plane:
        code, details = await refused(plane, await plane.join_token(), protocol=0)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "speaks protocol 0" in details
        assert "install the agent of the server's version" in details


async def test_labels_of_a_host_are_kept_and_bad_ones_are_refused(state: State) -> None:
    async with serving(state) as plane:
        request = agent_pb2.JoinRequest(
            token=await plane.join_token(), hostname="racked", csr_pem=new_request()[1], protocol=PROTOCOL
        )
        request.labels.update({"tier": "gold", "rack": "a"})
        answer = await plane.join(request)
        assert (await get_host(state, answer.host_id)).labels == (("rack", "a"), ("tier", "gold"))
        for labels, says in (({"a b": "c"}, "is no NAME=VALUE"), ({f"k{n}": "v" for n in range(33)}, "at most 32")):
            request.labels.clear()
            request.labels.update(labels)
            with pytest.raises(grpc.aio.AioRpcError, match=says):
                await plane.join(request)


@pytest.mark.parametrize(
    ("peer", "address"),
    [("ipv4:10.0.0.7:51734", "10.0.0.7"), ("ipv6:%5B::1%5D:51734", "::1"), ("ipv6:[fe80::1]:1", "fe80::1")],
)
def test_the_address_is_read_from_the_peer(peer: str, address: str) -> None:
    assert address_of(peer) == address


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("box-1.lan", "box-1.lan"), ("", "host"), ("two\nlines", "two-lines"), ("🙂", "host"), ("x" * 300, "x" * 63)],
)
def test_a_host_has_a_name_that_can_stand_in_a_line(wanted: str, name: str) -> None:
    assert _host_name(wanted) == name
