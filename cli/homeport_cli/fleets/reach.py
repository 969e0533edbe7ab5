"""Connections: to a place, through its jump host when it has one; every failure is one line.

A jump host is connected to once, for all that are behind it. Covers trust and who we are; does not cover what is done there.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import asyncssh
from homeport_protos.api.v1 import api_pb2

from homeport_cli.errors import CliError
from homeport_cli.fleets.hostkeys import HostKeys
from homeport_cli.fleets.keys import Keys

CONNECT_S = 15.0
KEEPALIVE_S = 10.0


class CannotReach(Exception):
    """One line: what happened, why, what to do."""


class UnknownHost(CannotReach):
    """Nothing is known of its key."""


class Reach:
    def __init__(self, keys: Keys, host_keys: HostKeys) -> None:
        self._keys = keys
        self._host_keys = host_keys
        self._jumps: dict[tuple[str, int], asyncio.Task[asyncssh.SSHClientConnection]] = {}

    @asynccontextmanager
    async def to(self, place: api_pb2.Place) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """Raises CannotReach."""
        connection = await self._connect(place, await self._jump(place))
        try:
            yield connection
        finally:
            connection.close()

    async def unknown_key(self, place: api_pb2.Place) -> asyncssh.SSHKey | None:
        """The key that a place shows; None when its key is known already. Raises CannotReach."""
        if self._host_keys.trusted(place.hostname, place.port) is not None:
            return None
        jump = await self._jump(place)
        try:
            async with asyncio.timeout(CONNECT_S):
                key = await asyncssh.get_server_host_key(place.hostname, place.port, tunnel=jump or (), config=None)
        except (OSError, asyncssh.Error) as error:
            raise CannotReach(_why(error, place)) from None
        if key is None:
            raise CannotReach(f"port {place.port} shows no host key; is it an SSH server?")
        return key

    def load_keys(self, places: Iterable[api_pb2.Place]) -> None:
        """Ask now for all passphrases; what is wrong with a key is told by `to`."""
        with_jumps = [
            each for place in places for each in ((place, place.jump) if place.HasField("jump") else (place,))
        ]
        for file in dict.fromkeys(place.identity_file for place in with_jumps if place.identity_file):
            with suppress(CliError):
                self._keys.load(file)

    async def close(self) -> None:
        for task in self._jumps.values():
            task.cancel()
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().close()
        self._jumps.clear()

    async def _jump(self, place: api_pb2.Place) -> asyncssh.SSHClientConnection | None:
        if not place.HasField("jump"):
            return None
        jump = place.jump
        task = self._jumps.get((jump.hostname, jump.port))
        if task is None:
            task = asyncio.create_task(self._connect(jump, None))
            self._jumps[jump.hostname, jump.port] = task
        try:
            return await asyncio.shield(task)
        except CannotReach as error:
            raise CannotReach(f"the jump host {jump.hostname}: {error}") from None

    async def _connect(
        self, place: api_pb2.Place, jump: asyncssh.SSHClientConnection | None
    ) -> asyncssh.SSHClientConnection:
        trusted = self._host_keys.trusted(place.hostname, place.port)
        if trusted is None:
            raise UnknownHost("its host key is not known here")
        try:
            key = self._keys.load(place.identity_file) if place.identity_file else None
        except CliError as error:
            raise CannotReach(str(error)) from None
        own = {"client_keys": [key], "agent_path": None} if key else {}
        try:
            return await asyncssh.connect(
                place.hostname,
                place.port,
                username=place.user,
                known_hosts=trusted,
                tunnel=jump or (),
                connect_timeout=CONNECT_S,
                login_timeout=CONNECT_S,
                keepalive_interval=KEEPALIVE_S,
                config=None,
                **own,
            )
        except (OSError, asyncssh.Error) as error:
            raise CannotReach(_why(error, place)) from None


def _why(error: Exception, place: api_pb2.Place) -> str:
    match error:
        case asyncssh.PermissionDenied():
            tried = (
                f"the key {place.identity_file}" if place.identity_file else "the keys of the SSH agent and of ~/.ssh"
            )
            return (
                f"{place.user} is refused with {tried}; "
                f"add the public key to ~{place.user}/.ssh/authorized_keys there, or name another user or identity_file"
            )
        case asyncssh.HostKeyNotVerifiable():
            return (
                "it shows another host key than the one that is known: it was installed anew, or somebody stands between; "
                f"if it is right, forget the old one: ssh-keygen -R {place.hostname}"
            )
        case TimeoutError() | asyncssh.ConnectionLost():
            return f"no answer on port {place.port} within {CONNECT_S:g} s; is it on, and is the port open?"
        case ConnectionRefusedError():
            return f"port {place.port} refuses connections; does an SSH server run there?"
        case socket.gaierror():
            return "no address is known for that name; check `hostname`"
        case asyncssh.ChannelOpenError():
            return f"the jump host cannot reach port {place.port} of it: {error.reason}"
        case OSError():
            return f"{(error.strerror or str(error) or 'no connection').lower()} (port {place.port})"
        case _:
            return f"SSH failed: {error}"
