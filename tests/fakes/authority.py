"""An authority of certificates that answers as a test wants: it signs what it is asked for, or fails.

Not of ACME: that is pebble, in the rig.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fixtures.control import State, add_gateway, add_host, add_run
from homeport_control.domain.certificates import CannotIssue, Issued
from homeport_control.domain.gateway import Certificate, Proof
from homeport_control.loops.acme import AcmeLoop
from homeport_control.trust import gateway_ca

NOW_S = time.time()


@dataclass
class Authority:
    """Signs what it is asked for, or fails with `trouble`; shows one proof each time."""

    asked: list[tuple[str, str, str]] = field(default_factory=list)  # directory, account, name
    challenges: list[str] = field(default_factory=list)
    shown: list[Proof] = field(default_factory=list)
    taken_back: int = 0
    trouble: CannotIssue | None = None
    calls: list[tuple[str, ...]] = field(default_factory=list)  # of the hook
    hook_fails_at: str = ""
    sends_rubbish: bool = False

    def __post_init__(self) -> None:
        self._ca = gateway_ca.new_ca("authority", NOW_S)

    def obtain(
        self, directory: str, email: str, account: str, name: str, challenge: str, show: Callable[[str, str], None]
    ) -> Issued:
        self.asked.append((directory, account, name))
        self.challenges.append(challenge)
        show("/.well-known/x", f"text of {name}")
        if self.trouble:
            raise self.trouble
        pair = gateway_ca.issue(self._ca, name, NOW_S)
        if self.sends_rubbish:
            return Issued(self._ca.certificate_pem.decode(), pair.key_pem.decode())
        return Issued(pair.certificate_pem.decode(), pair.key_pem.decode())

    @asynccontextmanager
    async def proving(self, gateway: str, proof: Proof) -> AsyncIterator[None]:
        self.shown.append(proof)
        yield
        self.taken_back += 1

    def hook(self, path: str, action: str, record: str, value: str) -> None:
        self.calls.append((path, action, record, value))
        if action == self.hook_fails_at:
            raise CannotIssue(f"the hook {path} {action} failed with status 1: no")


async def acme_of(state: State, authority: Authority) -> AcmeLoop:
    """The loop over the gateway `main` of example.com, which publishes `web` and asks this authority."""
    await add_host(state, "h1")
    certificate = Certificate("acme", "a@b.c", "https://ca/dir")
    fields = {"https_port": 443, "certificate": certificate, "default": True, "ready": True}
    await add_gateway(state, "main", domain="example.com", **fields)
    await add_run(state, "web")
    obtain, proving, hook = authority.obtain, authority.proving, authority.hook
    return AcmeLoop(state.database, state.sealer, obtain, lambda: "the account's key", proving, hook)
