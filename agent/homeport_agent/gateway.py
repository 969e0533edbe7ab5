"""The port behind which this host's Envoy is kept, when the host is a gateway.

Covers the port only; `homeport_agent.envoy` is what stands behind it.
"""

from typing import Protocol

from homeport_agent.model import GatewayObserved, GatewayRole


class GatewayHost(Protocol):
    async def apply(self, role: GatewayRole | None) -> None:
        """Take the role (None: this host is no gateway). Only notes it; `run` does the work."""

    def observed(self) -> GatewayObserved | None:
        """How the Envoy is; None when this host is no gateway."""

    async def run(self) -> None:
        """Until cancelled. Envoy goes on after that: it is never a child of this process."""


class NoGateway:
    """For a host that cannot be a gateway: says so when it is asked to be one."""

    def __init__(self, because: str) -> None:
        self._because = because
        self._role: GatewayRole | None = None

    async def apply(self, role: GatewayRole | None) -> None:
        self._role = role

    def observed(self) -> GatewayObserved | None:
        return None if self._role is None else GatewayObserved(self._role.name, False, self._because)

    async def run(self) -> None:
        return
