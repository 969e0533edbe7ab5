"""Certificates of gateways from an ACME authority: asked for before they are needed and before they end, one after the other.

A failure leaves the last one in place, with the reason, and is tried again later and later; what the authority itself says
about its limits counts. Apart from `certificates`, so that an authority or a hook that hangs holds up nothing else.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace

from homeport_control.decide.certificates import (
    MAX_WAIT_S,
    due_at_s,
    is_due,
    is_waited_for,
    next_try_s,
    source_of,
    unneeded,
    wanted,
)
from homeport_control.domain.certificates import ACCOUNT, DNS_01, HTTP_01, CannotIssue, Issued, Kept
from homeport_control.domain.errors import BadRequest
from homeport_control.domain.gateway import Gateway, Proof
from homeport_control.loops.certificates import names_by_gateway
from homeport_control.loops.loop import Turn
from homeport_control.store import certificates, events, gateways, runs
from homeport_control.store.connect import Database
from homeport_control.trust.gateway_ca import checked
from homeport_control.trust.sealing import Sealer

# (directory, email, account key, name, challenge, show) -> what was issued; blocking. Raises CannotIssue.
Obtain = Callable[[str, str, str, str, str, Callable[[str, str], None]], Issued]
# (path of the hook, present or cleanup, record, value); blocking. Raises CannotIssue.
Hook = Callable[[str, str, str, str], None]
Proving = Callable[[str, Proof], AbstractAsyncContextManager[None]]
SHOW_S = 270.0  # longer than a gateway is waited for, or a hook that must take back what it could not set


class AcmeLoop:
    topics = ("gateways", "runs")

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        obtain: Obtain,
        new_account_key: Callable[[], str],
        proving: Proving,
        hook: Hook,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._obtain = obtain
        self._new_account_key = new_account_key
        self._proving = proving
        self._hook = hook

    async def turn(self, now_s: float) -> Turn:
        async with self._database.read() as connection:
            there = await gateways.list_all(connection)
            active = await runs.list_unsettled(connection)
            kept = await certificates.list_all(connection)
        published, wakes, got, failed = names_by_gateway(there, active), [], 0, 0
        for gateway in there:
            if gateway.certificate.type not in {"acme", "lets-encrypt"}:
                continue
            mine = {it.name: it for it in kept if it.gateway == gateway.name}
            await self._let_go(gateway, unneeded(gateway, published[gateway.name], mine.values(), now_s))
            if not gateway.ready and not gateway.certificate.hook:
                continue  # nothing can be proved through it
            source = source_of(gateway.certificate)
            for name in wanted(gateway, published[gateway.name]):
                known = mine.get(name)
                if not is_due(known, source, now_s):
                    wakes.append(due_at_s(known) if known else now_s)
                    continue
                if known is not None and is_waited_for(known, source, now_s):
                    wakes.append(known.next_try_s)
                    continue
                fresh = await self._order(gateway, name, known, now_s)
                got, failed = got + (not fresh.problem), failed + bool(fresh.problem)
                wakes.append(fresh.next_try_s or due_at_s(fresh))
        words = [f"{got} certificates came" if got else "", f"{failed} did not come" if failed else ""]
        sentence = ", ".join(filter(None, words)) or "no certificate is due"
        return Turn(sentence, min((it for it in wakes if it > now_s), default=None))

    async def _order(self, gateway: Gateway, name: str, known: Kept | None, now_s: float) -> Kept:
        certificate, source = gateway.certificate, source_of(gateway.certificate)
        account = await self._account(gateway, source)
        challenge = DNS_01 if certificate.hook else HTTP_01
        running = asyncio.get_running_loop()
        left: list[str] = []
        async with AsyncExitStack() as proofs:

            def show(where: str, text: str) -> None:
                """In the client's thread: returns when the gateway answers so, or the hook has set the record."""
                shown = proofs.enter_async_context(
                    self._recording(certificate.hook, where, text, left)
                    if certificate.hook
                    else self._proving(gateway.name, Proof(name, where, text))
                )
                try:
                    asyncio.run_coroutine_threadsafe(shown, running).result(SHOW_S)
                except TimeoutError:
                    raise CannotIssue("the gateway does not acknowledge the proof: is it connected?") from None

            try:
                issued = await asyncio.to_thread(
                    self._obtain, certificate.directory, certificate.email, account, name, challenge, show
                )
                validity = checked(issued.chain_pem.encode(), issued.key_pem.encode())
                sealed = self._sealer.seal(issued.key_pem)
                ends = (validity.not_before_s, validity.not_after_s)
                fresh = Kept(gateway.name, name, source, issued.chain_pem, sealed, *ends)
                if is_due(fresh, source, now_s):  # by a clock that is wrong: asking again would bring the same
                    fresh = replace(fresh, next_try_s=now_s + MAX_WAIT_S)
            except (CannotIssue, BadRequest) as error:  # BadRequest: what came is not served
                before = known if known and known.source == source else Kept(gateway.name, name, source)
                failures, at_s = before.failures + 1, time.time()
                wait_s = error.wait_s if isinstance(error, CannotIssue) else 0.0
                wait_until_s = next_try_s(failures, at_s, wait_s)
                fresh = replace(before, problem=str(error), failures=failures, next_try_s=wait_until_s)
        await self._keep(gateway, fresh, left)
        return fresh

    @asynccontextmanager
    async def _recording(self, hook: str, record: str, value: str, left: list[str]) -> AsyncIterator[None]:
        """Inside, the hook has set the record. What it could not take back is `left`. Raises CannotIssue."""
        try:
            await asyncio.to_thread(self._hook, hook, "present", record, value)
            yield
        finally:
            try:
                await asyncio.to_thread(self._hook, hook, "cleanup", record, value)
            except CannotIssue as error:
                left.append(f"{record} may still hold {value}: {error}")

    async def _keep(self, gateway: Gateway, fresh: Kept, left: Iterable[str]) -> None:
        name, problem = fresh.name, fresh.problem
        what = f"no certificate for {name}: {problem}" if problem else f"a certificate for {name}"
        sentence = "; ".join([f"gateway {gateway.name} got {what}", *([] if problem else left)])
        async with self._database.write() as write:
            if await gateways.get(write.connection, gateway.name) is not None:
                await certificates.put(write, fresh)
                events.record(write, kind="gateway", object_id=gateway.name, name=gateway.name, sentence=sentence)

    async def _let_go(self, gateway: Gateway, names: list[str]) -> None:
        if names:
            async with self._database.write() as write:
                await certificates.remove(write, gateway.name, names)

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
