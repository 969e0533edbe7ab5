"""Certificates of gateways from an ACME authority: asked for before they are needed and before they end, one after the other.

A failure leaves the last one in place, with the reason, and is tried again later and later; what the authority itself says
about its limits counts. Apart from `certificates`, so that an authority that hangs holds up nothing else.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace

from homeport_control.decide.certificates import due_at_s, is_due, next_try_s, source_of
from homeport_control.domain.certificates import ACCOUNT, CannotIssue, Issued, Kept
from homeport_control.domain.gateway import Gateway, Proof
from homeport_control.loops.certificates import names_by_gateway
from homeport_control.loops.loop import Turn
from homeport_control.store import certificates, events, gateways, runs
from homeport_control.store.connect import Database
from homeport_control.trust.gateway_ca import checked
from homeport_control.trust.sealing import Sealer

# (directory, email, account key, name, show) -> what was issued; blocking. Raises CannotIssue.
Obtain = Callable[[str, str, str, str, Callable[[str, str], None]], Issued]
Proving = Callable[[str, Proof], AbstractAsyncContextManager[None]]
SHOW_S = 40.0


class AcmeLoop:
    topics = ("gateways", "runs")

    def __init__(
        self, database: Database, sealer: Sealer, obtain: Obtain, new_account_key: Callable[[], str], proving: Proving
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._obtain = obtain
        self._new_account_key = new_account_key
        self._proving = proving

    async def turn(self, now_s: float) -> Turn:
        async with self._database.read() as connection:
            there = await gateways.list_all(connection)
            active = await runs.list_unsettled(connection)
            kept = await certificates.list_all(connection)
        published, wakes, got, failed = names_by_gateway(there, active), [], 0, 0
        for gateway in there:
            if gateway.certificate.type not in {"acme", "lets-encrypt"} or not gateway.ready:
                continue
            mine = {it.name: it for it in kept if it.gateway == gateway.name}
            source = source_of(gateway.certificate)
            for name in published[gateway.name]:
                known = mine.get(name)
                if not is_due(known, source, now_s):
                    wakes.append(due_at_s(known) if known else now_s)
                    continue
                if known is not None and known.source == source and known.next_try_s > now_s:
                    wakes.append(known.next_try_s)
                    continue
                fresh = await self._order(gateway, name, known)
                got, failed = got + (not fresh.problem), failed + bool(fresh.problem)
                wakes.append(fresh.next_try_s if fresh.problem else due_at_s(fresh))
        words = [f"{got} certificates came" if got else "", f"{failed} did not come" if failed else ""]
        sentence = ", ".join(filter(None, words)) or "no certificate is due"
        return Turn(sentence, min((it for it in wakes if it > now_s), default=None))

    async def _order(self, gateway: Gateway, name: str, known: Kept | None) -> Kept:
        certificate, source = gateway.certificate, source_of(gateway.certificate)
        account = await self._account(gateway, source)
        running = asyncio.get_running_loop()
        async with AsyncExitStack() as proofs:

            def show(path: str, text: str) -> None:
                """In the client's thread: returns when the gateway answers so."""
                shown = proofs.enter_async_context(self._proving(gateway.name, Proof(name, path, text)))
                try:
                    asyncio.run_coroutine_threadsafe(shown, running).result(SHOW_S)
                except TimeoutError:
                    raise CannotIssue("the gateway does not acknowledge the proof: is it connected?") from None

            try:
                issued = await asyncio.to_thread(
                    self._obtain, certificate.directory, certificate.email, account, name, show
                )
                validity = checked(issued.chain_pem.encode(), issued.key_pem.encode())
                sealed = self._sealer.seal(issued.key_pem)
                ends = (validity.not_before_s, validity.not_after_s)
                fresh = Kept(gateway.name, name, source, issued.chain_pem, sealed, *ends)
            except CannotIssue as error:
                before = known if known and known.source == source else Kept(gateway.name, name, source)
                failures, at_s = before.failures + 1, time.time()
                wait_until_s = next_try_s(failures, at_s, error.wait_s)
                fresh = replace(before, problem=str(error), failures=failures, next_try_s=wait_until_s)
        async with self._database.write() as write:
            if await gateways.get(write.connection, gateway.name) is not None:
                await certificates.put(write, fresh)
                what = f"no certificate for {name}: {fresh.problem}" if fresh.problem else f"a certificate for {name}"
                sentence = f"gateway {gateway.name} got {what}"
                events.record(write, kind="gateway", object_id=gateway.name, name=gateway.name, sentence=sentence)
        return fresh

    async def _account(self, gateway: Gateway, source: str) -> str:
        """The key of the account with this authority; made once and kept."""
        async with self._database.read() as connection:
            known = await certificates.get(connection, gateway.name, ACCOUNT)
        if known is not None and known.source == source:
            return self._sealer.open(known.key)
        key = await asyncio.to_thread(self._new_account_key)
        async with self._database.write() as write:
            await certificates.put(write, Kept(gateway.name, ACCOUNT, source, key=self._sealer.seal(key)))
        return key
