"""agents/recovery: a host whose certificate expired gets a new one by a proof of its key, and nobody else does."""

import dataclasses
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fixtures.control import State, add_host
from fixtures.plane import Plane, WireAgent, key_pem, new_request, serving
from homeport_agent import keys, renewal
from homeport_agent.identity import Identity
from homeport_control.agents.recovery import Recovery
from homeport_control.domain.errors import Denied
from homeport_control.domain.hosts import Connection
from homeport_control.store import hosts
from homeport_control.trust.ca import CertificateAuthority
from homeport_protos.agent.v1 import agent_pb2

DAY_S = 86400.0
NOW_S = time.time()


class Case:
    """A host with a key and a certificate, and a server that may be asked for another one."""

    def __init__(self, state: State, host_id: str = "h1", ca: CertificateAuthority | None = None) -> None:
        self.key, csr = new_request()
        self.certificate_pem = (ca or state.ca).sign_host(csr, host_id)
        self.recovery = Recovery(state.database, state.ca)

    async def request(self, at_s: float = NOW_S, **changed: object) -> agent_pb2.RecoverRequest:
        challenge, csr_pem = self.recovery.challenge(at_s), new_request()[1]
        signature = await keys.sign(key_pem(self.key).decode(), f"{challenge}\n{csr_pem}")
        request = agent_pb2.RecoverRequest(
            certificate_pem=self.certificate_pem, csr_pem=csr_pem, challenge=challenge, signature=signature
        )
        request.MergeFrom(agent_pb2.RecoverRequest(**changed))  # type: ignore[arg-type]
        return request

    async def refused(self, request: agent_pb2.RecoverRequest, at_s: float = NOW_S) -> str:
        with pytest.raises(Denied) as caught:
            await self.recovery.recover(request, at_s)
        return str(caught.value)


@pytest.fixture
async def case(state: State) -> Case:
    await add_host(state, "h1", connected=False)
    return Case(state)


async def test_the_key_of_an_expired_certificate_gets_a_new_one_for_the_same_host(state: State, case: Case) -> None:
    later_s = NOW_S + 3 * DAY_S
    request = await case.request(later_s)
    host_id, pem = await case.recovery.recover(request, later_s)
    made = x509.load_pem_x509_certificate(pem.encode())
    made.verify_directly_issued_by(state.ca.certificate)
    assert host_id == "h1"
    assert made.public_key() == x509.load_pem_x509_csr(request.csr_pem.encode()).public_key()


async def test_who_has_not_the_key_gets_nothing(state: State, case: Case) -> None:
    thief = Case(state)
    stolen = await case.request(certificate_pem=thief.certificate_pem)
    assert "not by the key of a certificate of this server" in await case.refused(stolen)
    other_csr = await case.request(csr_pem=new_request()[1])
    assert "not by the key" in await case.refused(other_csr), "what was signed is the request too"
    assert "not by the key" in await case.refused(await case.request(signature=b"x"))
    assert "not by the key" in await case.refused(await case.request(certificate_pem="nothing"))


async def test_a_certificate_of_another_server_is_none(
    state: State, case: Case, tmp_path_factory: pytest.TempPathFactory
) -> None:
    foreign = CertificateAuthority.load_or_create(tmp_path_factory.mktemp("ca"), "s2")
    other = Case(state, ca=foreign)
    other.recovery = case.recovery
    assert "not by the key of a certificate of this server" in await other.refused(await other.request())


async def test_a_challenge_is_good_for_a_minute_and_at_the_server_that_made_it(state: State, case: Case) -> None:
    request = await case.request(NOW_S - 61)
    assert "not a fresh one" in await case.refused(request)
    assert "not a fresh one" in await case.refused(await case.request(NOW_S + 30)), "of the future"
    elsewhere = Case(state)
    assert "not a fresh one" in await elsewhere.refused(await case.request())
    for garbage in ("", "1.2", f"{int(NOW_S)}.aa.bb", "é"):
        assert "not a fresh one" in await case.refused(agent_pb2.RecoverRequest(challenge=garbage))


async def test_after_a_month_it_has_to_join_again(case: Case) -> None:
    later_s = NOW_S + 33 * DAY_S
    words = await case.refused(await case.request(later_s), later_s)
    assert words.startswith("the certificate expired 31 days ago, 30 are allowed; join again")


async def test_a_host_that_we_let_go_may_come_back_at_any_time(state: State, case: Case) -> None:
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"connection": Connection.RELEASED})
    later_s = NOW_S + 400 * DAY_S
    host_id, _ = await case.recovery.recover(await case.request(later_s), later_s)
    assert host_id == "h1"


async def test_a_host_that_was_removed_gets_none(state: State, case: Case) -> None:
    async with state.database.write() as write:
        host = await hosts.get(write.connection, "h1")
        assert host is not None
        await hosts.remove(write, host, NOW_S)
    assert "not part of the fleet any more" in await case.refused(await case.request())


async def test_a_copy_of_a_disk_whose_first_is_connected_gets_none_and_is_told_why(state: State) -> None:
    await add_host(state, "h1")
    case = Case(state)
    assert "another machine with a copy of its identity" in await case.refused(await case.request())


def identity(plane: Plane, agent: WireAgent) -> Identity:
    return Identity(
        server_host="127.0.0.1", api_port=plane.settings.api_port, link_port=plane.settings.link_port,
        server_id=agent.joined.server_id, host_id=agent.host_id, name="box", not_before_s=NOW_S - 2 * DAY_S,
        not_after_s=NOW_S - DAY_S, key_pem=key_pem(agent.key).decode(), certificate_pem=agent.joined.certificate_pem,
        ca_pem=plane.state.ca.pem.decode(),
    )  # fmt: skip


async def test_the_real_agent_recovers_at_the_real_server_and_speaks_with_what_it_got(state: State) -> None:
    async with serving(state) as plane:
        agent = await plane.joined("box")
        old = identity(plane, agent)
        new = await renewal.recover(old)
        assert (new.host_id, new.key_pem != old.key_pem, new.is_expired(time.time())) == (agent.host_id, True, False)
        assert (await renewal.renew(new)).host_id == agent.host_id, "it is good for mTLS"
        key = serialization.load_pem_private_key(new.key_pem.encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        agent.key, agent.joined.certificate_pem = key, new.certificate_pem
        await agent.connect()
        with pytest.raises(renewal.CannotRenew, match="another machine with a copy of its identity"):
            await renewal.recover(dataclasses.replace(old))
        await agent.close()


async def test_a_certificate_that_newer_ones_have_replaced_recovers_nothing(state: State, case: Case) -> None:
    stolen = case.certificate_pem
    for _ in range(2):
        _, case.certificate_pem = await case.recovery.recover(await renewed(case), NOW_S)
    case.certificate_pem = stolen
    assert "newer certificates than this one" in await case.refused(await case.request())


async def renewed(case: Case) -> agent_pb2.RecoverRequest:
    """A request for another certificate of the same key, so that the case can go on with it."""
    challenge = case.recovery.challenge(NOW_S)
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(case.key, hashes.SHA256())
    csr_pem = csr.public_bytes(serialization.Encoding.PEM).decode()
    signature = await keys.sign(key_pem(case.key).decode(), f"{challenge}\n{csr_pem}")
    return agent_pb2.RecoverRequest(
        certificate_pem=case.certificate_pem, csr_pem=csr_pem, challenge=challenge, signature=signature
    )
