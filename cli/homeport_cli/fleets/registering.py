"""Many machines at once: connect to all, ask for a sudo password once, install, and tell the server how each is doing.

A machine that fails has one reason and holds up no other.
"""

import asyncio
import shlex
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncssh
from homeport import Client, Error
from homeport_protos.api.v1 import api_pb2
from homeport_protos.ssh import remote
from homeport_protos.ssh.reach import CannotReach, Reach
from homeport_protos.ssh.waking import awake

from homeport_cli.fleets.board import Board
from homeport_cli.fleets.keys import Keys
from homeport_cli.fleets.show import name_of, place_of

AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Source:
    """What is installed, and from where."""

    fleet: str
    script: str
    arguments: str  # of the script, for a shell

    @classmethod
    def of(cls, fleet: str, script: str, server: str, web_port: int) -> "Source":
        return cls(fleet, script, shlex.join(["--server", server, "--web-port", str(web_port)]))


class Registering:
    """`ask_password`: for sudo, of these machines; raises CliError when there is nobody to ask."""

    def __init__(
        self,
        api: Client,
        reach: Reach,
        keys: Keys,
        board: Board,
        source: Source,
        ask_password: Callable[[list[str]], str],
    ) -> None:
        self._api = api
        self._reach = reach
        self._keys = keys
        self._board = board
        self._source = source
        self._ask_password = ask_password
        self.failed: dict[str, str] = {}  # the reason, by name

    async def run(self, installs: Sequence[api_pb2.Install]) -> None:
        limit = asyncio.Semaphore(AT_ONCE)
        async with AsyncExitStack() as connections:
            reached = await asyncio.gather(*(self._connect(it, connections, limit) for it in installs))
            ready = [(it, ssh, root) for it, ssh, root in reached if ssh is not None]
            asking = [name_of(it.place) for it, _, root in ready if root is None]
            password = ""
            if asking:
                try:
                    password = self._ask_password(asking)
                except Error as error:
                    for it, _, root in ready:
                        if root is None:
                            await self._fail(it.place, str(error))
                    ready = [row for row in ready if row[2] is not None]
            await asyncio.gather(*(self._install(it, ssh, root, password, limit) for it, ssh, root in ready))

    async def _connect(
        self, wanted: api_pb2.Install, connections: AsyncExitStack, limit: asyncio.Semaphore
    ) -> tuple[api_pb2.Install, asyncssh.SSHClientConnection | None, remote.Root | None]:
        """No connection: it has failed. No root: sudo wants a password."""
        async with limit:
            await self._step(wanted.place, "connecting")
            try:
                place = place_of(wanted.place)
                ssh = await connections.enter_async_context(awake(self._reach, place, self._show(wanted.place)))
                return wanted, ssh, await remote.become_root(ssh)
            except remote.WantsPassword:
                return wanted, ssh, None
            except CannotReach as error:
                await self._fail(wanted.place, str(error))
                return wanted, None, None

    async def _install(
        self,
        wanted: api_pb2.Install,
        ssh: asyncssh.SSHClientConnection,
        root: remote.Root | None,
        password: str,
        limit: asyncio.Semaphore,
    ) -> None:
        place = wanted.place
        async with limit:
            try:
                root = root or await remote.become_root(ssh, password)
                if wanted.survey:
                    await self._survey(place, ssh, root)
                    return
                await self._step(place, "installing")
                arguments = f"{self._source.arguments}{' --gateway' if wanted.gateway else ''}"
                host_id = await remote.install(
                    ssh, root, self._source.script, arguments, wanted.token, self._show(place)
                )
                await self._tell(api_pb2.RegistrationReport(step="connected", host_id=host_id), place)
            except (CannotReach, Error) as error:
                await self._fail(place, str(error))
            except remote.WantsPassword:
                await self._fail(place, "sudo wants a password for that user")
            else:
                self._board.step(name_of(place), "connected", "done")

    async def _survey(self, place: api_pb2.Place, ssh: asyncssh.SSHClientConnection, root: remote.Root) -> None:
        """What it has, and what the server needs to bring it up by itself. Raises CannotReach, CliError."""
        await self._step(place, "looking at it")
        facts = await remote.survey(ssh, root, self._source.script, self._source.arguments, self._show(place))
        access = self._access(place, ssh.get_server_host_key(), root.password)
        jump_key = await self._reach.jump_key(place_of(place))
        if jump_key is not None:
            access.jump.CopyFrom(self._access(place.jump, jump_key, ""))
        await self._tell(api_pb2.RegistrationReport(facts=facts, access=access), place)
        self._board.step(name_of(place), "not provisioned", "installed when a run needs it")

    def _access(self, place: api_pb2.Place, host_key: asyncssh.SSHKey | None, sudo_password: str) -> api_pb2.Access:
        key = self._keys.load(place_of(place))
        if key is None or host_key is None:
            raise CannotReach("the server needs a key of a file to bring it up: name identity_file")
        return api_pb2.Access(
            private_key=key.export_private_key("openssh").decode(),
            host_key=" ".join(host_key.export_public_key("openssh").decode().split()[:2]),
            sudo_password=sudo_password,
        )

    def _show(self, place: api_pb2.Place) -> Callable[[str], None]:
        return lambda text: self._board.step(name_of(place), "provisioning", text)

    async def _step(self, place: api_pb2.Place, text: str) -> None:
        self._board.step(name_of(place), "provisioning", text)
        try:
            await self._tell(api_pb2.RegistrationReport(step=text), place)
        except Error:
            return  # the server shows an older step for a while; the installation goes on

    async def _fail(self, place: api_pb2.Place, reason: str) -> None:
        self.failed[name_of(place)] = reason
        self._board.step(name_of(place), "failed", reason)
        try:
            await self._tell(api_pb2.RegistrationReport(error=reason), place)
        except Error:
            return  # it is said here all the same

    async def _tell(self, report: api_pb2.RegistrationReport, place: api_pb2.Place) -> None:
        report.fleet, report.hostname, report.port = self._source.fleet, place.hostname, place.port
        await asyncio.to_thread(self._api.report_registration, report)
