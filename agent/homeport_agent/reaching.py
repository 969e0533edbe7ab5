"""Whether this host, a gateway, can dial the doors of others: a handshake with each, now and then, and no more.

Who answers must show the certificate of that host, as Envoy will ask for. It is what the server needs to know before it sends
anybody's requests that way; later Envoy itself sees who answers.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress

from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.tunnel_words import name_of
from homeport_agent.model import Reached, ReachTarget

DIAL_S = 2.0
AGAIN_S = 5.0  # for those that did not answer
PER_S = 16.0  # of those that did, at most so many: a handshake costs a millisecond
LOOK_S = 5.0  # but not sooner than this
AT_ONCE = 32


class Reaching:
    def __init__(self, identity: Callable[[], Identity], on_change: Callable[[], None]) -> None:
        self._identity = identity
        self._on_change = on_change
        self._targets: tuple[ReachTarget, ...] = ()
        self._results: dict[str, Reached] = {}
        self._wake = asyncio.Event()

    def apply(self, targets: tuple[ReachTarget, ...]) -> None:
        if targets != self._targets:
            self._targets = targets
            self._wake.set()

    def observed(self) -> tuple[Reached, ...]:
        return tuple(self._results[key] for key in sorted(self._results))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            targets = self._targets
            limit = asyncio.Semaphore(AT_ONCE)
            trust = await asyncio.to_thread(self._trust) if targets else None
            found = await asyncio.gather(*(self._dial(target, limit, trust) for target in targets))
            results = {it.host_id: it for it in found}
            if results != self._results:
                self._results = results
                self._on_change()
            failed = any(it.error for it in found)
            with suppress(TimeoutError):
                look_s = max(LOOK_S, len(targets) / PER_S) if targets else None
                async with asyncio.timeout(AGAIN_S if failed else look_s):
                    await self._wake.wait()

    def _trust(self) -> ssl.SSLContext:
        """Read anew each time: certificates are renewed."""
        identity = self._identity()
        context = ssl.create_default_context(cafile=str(identity.ca))
        context.load_cert_chain(identity.certificate, identity.key)
        return context

    @staticmethod
    async def _dial(target: ReachTarget, limit: asyncio.Semaphore, trust: ssl.SSLContext | None) -> Reached:
        where = f"{target.address}:{target.port}"
        name = name_of(target.host_id)
        async with limit:
            try:
                async with asyncio.timeout(DIAL_S):
                    _, writer = await asyncio.open_connection(
                        target.address, target.port, ssl=trust, server_hostname=name
                    )
                writer.transport.abort()
            except TimeoutError:
                return Reached(target.host_id, f"{where} does not answer within {DIAL_S:g} s")
            except ssl.SSLCertVerificationError as error:
                return Reached(target.host_id, f"{where} shows no certificate of that host: {error.verify_message}")
            except OSError as error:
                return Reached(target.host_id, f"{where}: {(error.strerror or str(error)).lower()}")
        return Reached(target.host_id, "")
