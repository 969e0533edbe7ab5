"""What is done at an on-demand machine: it is woken, installed and started; or its agent is stopped and it is shut down.

The install script is the one that everybody gets: it starts what is there, repairs what is broken, installs what is missing.
"""

import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeport_protos.ssh.access import Access
from homeport_protos.ssh.places import Place, Wake

from homeport_control.domain import fleets as domain
from homeport_control.domain.fleets import Errand
from homeport_control.machines.crew import Failed, Step

if TYPE_CHECKING:
    import asyncssh
    from homeport_protos.ssh.remote import Root

ASLEEP = "it does not answer"


@dataclass(frozen=True, slots=True)
class Errands:
    script: str  # the install script
    web_port: int  # where machines download from

    async def carry_out(self, errand: Errand, step: Step) -> str:
        """The id of the host that it is. Raises Failed."""
        # SSH costs a third of a second and 20 MB: only a server that brings machines up pays.
        from homeport_protos.ssh import remote
        from homeport_protos.ssh.reach import CannotReach, NoAnswer

        access = Access.from_json(errand.access)
        place = place_of(errand.registration.place)
        try:
            step("connecting")
            async with _connection(place, access, step, wake=errand.brings_up) as ssh:
                try:
                    root = await remote.become_root(ssh, access.sudo_password)
                except remote.WantsPassword:
                    raise Failed("sudo wants a password there; apply the fleet again, which asks for it") from None
                if errand.brings_up:
                    return await self._bring_up(errand, ssh, root, step)
                step("stopping its agent")
                await remote.release(ssh, root, power_off=errand.power_off)
        except NoAnswer as error:
            if errand.brings_up:
                raise Failed(str(error)) from None
            step(ASLEEP)  # then nothing of ours runs there
        except CannotReach as error:
            raise Failed(str(error)) from None
        return errand.registration.host_id

    async def _bring_up(
        self, errand: Errand, ssh: "asyncssh.SSHClientConnection", root: "Root", step: Callable[[str], None]
    ) -> str:
        from homeport_protos.ssh import remote

        arguments = shlex.join(["--server", errand.server, "--web-port", str(self.web_port)])
        return await remote.install(ssh, root, self.script, arguments, errand.token, step)


@asynccontextmanager
async def _connection(
    place: Place, access: Access, step: Callable[[str], None], *, wake: bool
) -> "AsyncIterator[asyncssh.SSHClientConnection]":
    from homeport_protos.ssh.given import GivenKeys
    from homeport_protos.ssh.reach import Reach
    from homeport_protos.ssh.waking import awake

    keys = GivenKeys(place, access)
    reach = Reach(keys, keys)
    try:
        async with awake(reach, place, step) if wake else reach.to(place) as ssh:
            yield ssh
    finally:
        await reach.close()


def place_of(place: domain.Place) -> Place:
    return Place(
        place.hostname,
        place.port,
        place.user,
        place.identity_file,
        place_of(place.jump) if place.jump is not None else None,
        Wake(place.wake_mac, place.wake_broadcast) if place.wake_mac else None,
    )
