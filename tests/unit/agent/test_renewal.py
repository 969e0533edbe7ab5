import asyncio
import dataclasses
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fakes.control import fake_control
from homeport_agent import renewal
from homeport_agent.identity import IdentityStore
from homeport_agent.join import join


async def test_a_certificate_past_two_thirds_of_its_life_is_replaced_with_a_new_key(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path / "state")
    async with fake_control(tmp_path / "control") as control:
        old, _ = await join(store, f"127.0.0.1:{control.api_port}", control.token, "gpu-1", control.web_port)
        now_s = time.time()
        due = dataclasses.replace(old, not_before_s=now_s - 1000, not_after_s=now_s + 100)
        store.save(due)
        work = asyncio.ensure_future(renewal.run(store))
        async with asyncio.timeout(20):
            while store.read() == due:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.05)
        work.cancel()
        await asyncio.wait([work])
        new = store.read()
        assert new.not_after_s > now_s + 80_000
        assert new.key_pem != old.key_pem
        assert (new.host_id, new.link_target, new.ca_pem) == (old.host_id, old.link_target, old.ca_pem)
        # The new one is good: it is renewed once more with it.
        await renewal.renew(new)


async def test_after_its_end_a_new_one_is_asked_for_with_a_proof_of_the_old_key(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path / "state")
    async with fake_control(tmp_path / "control") as control:
        old, _ = await join(store, f"127.0.0.1:{control.api_port}", control.token, "gpu-1", control.web_port)
        over = dataclasses.replace(old, not_before_s=time.time() - 2000, not_after_s=time.time() - 1000)
        store.save(over)
        work = asyncio.ensure_future(renewal.run(store))
        async with asyncio.timeout(20):
            while store.read() == over:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.05)
        work.cancel()
        await asyncio.wait([work])
        (asked,) = control.recovered
        assert (asked.certificate_pem, asked.challenge) == (old.certificate_pem, "prove it")
        public = x509.load_pem_x509_certificate(old.certificate_pem.encode()).public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(asked.signature, f"prove it\n{asked.csr_pem}".encode(), ec.ECDSA(hashes.SHA256()))
        assert store.read().not_after_s > time.time()


async def test_a_server_that_is_away_is_told(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path / "state")
    async with fake_control(tmp_path / "control") as control:
        identity, _ = await join(store, f"127.0.0.1:{control.api_port}", control.token, "gpu-1", control.web_port)
    with pytest.raises(renewal.CannotRenew, match="cannot be reached"):
        await renewal.renew(identity)
