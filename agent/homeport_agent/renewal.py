"""A new certificate at two thirds of the old one's life, or after it: then with a proof that this host has its key.

Covers when and how. The session that runs goes on with the old one; the next connection uses what is on disk.
"""

import asyncio
import dataclasses
import logging
import random
import time

from grpc.aio import AioRpcError
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.agent.v1.agent_pb2_grpc import AgentLinkStub, EnrollmentStub

from homeport_agent import keys
from homeport_agent.channel import mtls_channel, tls_channel, why
from homeport_agent.identity import Identity, IdentityStore

log = logging.getLogger("homeport.agent")

RENEW_S = 30.0
RETRY_S = 60.0
LONGEST_SLEEP_S = 600.0  # a machine that was asleep, or whose clock was set, is noticed by then


class CannotRenew(Exception):
    pass


async def renew(identity: Identity) -> Identity:
    """Ask the server for a new certificate for a new key. Raises CannotRenew."""
    try:
        fresh = await keys.new_key(identity.host_id)
        async with mtls_channel(identity) as channel:
            answer = await AgentLinkStub(channel).Renew(agent_pb2.RenewRequest(csr_pem=fresh.csr_pem), timeout=RENEW_S)
        return await _with(identity, fresh.key_pem, answer)
    except AioRpcError as error:
        raise CannotRenew(why(error, identity.link_target)) from None
    except keys.KeysFailed as error:
        raise CannotRenew(str(error)) from None


async def recover(identity: Identity) -> Identity:
    """The same after the old one's end, which the server does not let in any more. Raises CannotRenew."""
    host, port = identity.server_host, identity.api_port
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        fresh = await keys.new_key(identity.host_id)
        async with tls_channel(target, identity.ca_pem) as channel:
            stub = EnrollmentStub(channel)
            challenge = (await stub.Challenge(agent_pb2.ChallengeRequest(), timeout=RENEW_S)).challenge
            request = agent_pb2.RecoverRequest(
                certificate_pem=identity.certificate_pem,
                csr_pem=fresh.csr_pem,
                challenge=challenge,
                signature=await keys.sign(identity.key_pem, f"{challenge}\n{fresh.csr_pem}"),
            )
            answer = await stub.Recover(request, timeout=RENEW_S)
        return await _with(identity, fresh.key_pem, answer)
    except AioRpcError as error:
        raise CannotRenew(why(error, target)) from None
    except keys.KeysFailed as error:
        raise CannotRenew(str(error)) from None


async def _with(identity: Identity, key_pem: str, answer: agent_pb2.JoinResponse) -> Identity:
    not_before_s, not_after_s = await keys.validity(answer.certificate_pem)
    return dataclasses.replace(
        identity,
        key_pem=key_pem,
        certificate_pem=answer.certificate_pem,
        not_before_s=not_before_s,
        not_after_s=not_after_s,
    )


async def run(store: IdentityStore) -> None:
    """Until cancelled."""
    while True:
        identity = store.read()
        left_s = identity.renew_at_s() - time.time()
        if left_s > 0:
            await asyncio.sleep(min(left_s, LONGEST_SLEEP_S))
            continue
        try:
            renewed = await (recover if identity.is_expired(time.time()) else renew)(identity)
            await asyncio.to_thread(store.save, renewed)
            log.info("certificate renewed, valid for another %.1f h", (renewed.not_after_s - time.time()) / 3600)
        except (CannotRenew, OSError) as error:
            log.warning("certificate not renewed: %s", error)
            await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
