"""The port behind which this host's Envoys are kept, one for each gateway that it is.

Covers the port only; `homeport_agent.envoy` is what stands behind it.
"""

from typing import Protocol

from homeport_agent.model import GatewayObserved, GatewayRole


class GatewayHost(Protocol):
    async def apply(self, roles: tuple[GatewayRole, ...]) -> None:
        """Take the roles (none: this host is no gateway). Only notes them; `run` does the work."""

    def observed(self) -> tuple[GatewayObserved, ...]:
        """How each Envoy is; a gateway that is no more stands here until its Envoy has ended."""

    async def run(self) -> None:
        """Until cancelled. Envoy goes on after that: it is never a child of this process."""


class NoGateway:
    """For a host that cannot be a gateway: says so when it is asked to be one."""

    def __init__(self, because: str) -> None:
        self._because = because
        self._roles: tuple[GatewayRole, ...] = ()

    async def apply(self, roles: tuple[GatewayRole, ...]) -> None:
        self._roles = roles

    def observed(self) -> tuple[GatewayObserved, ...]:
        return tuple(GatewayObserved(role.name, False, self._because) for role in self._roles)

    async def run(self) -> None:
        return
