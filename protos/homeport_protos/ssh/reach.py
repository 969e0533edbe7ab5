"""Connections: to a place, through its jump host when it has one; every failure is one line.

A jump host is connected to once, for all that are behind it. Covers trust and who we are; does not cover what is done there.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import asyncssh

from homeport_protos.ssh.places import Place

CONNECT_S = 15.0
KEEPALIVE_S = 10.0


class CannotReach(Exception):
    """One line: what happened, why, what to do."""


class NoAnswer(CannotReach):
    """Nobody answers there: it may be asleep."""


class UnknownHost(CannotReach):
    """Nothing is known of its key."""


class BadKey(CannotReach):
    """A private key that cannot be used."""


Trusted = tuple[Sequence[asyncssh.SSHKey], Sequence[asyncssh.SSHKey], Sequence[asyncssh.SSHKey]]


class KeySource(Protocol):
    def load(self, place: Place) -> asyncssh.SSHKey | None:
        """The private key for a place; None: the SSH agent's. Raises BadKey."""


class HostKeySource(Protocol):
    def trusted(self, host: str, port: int) -> Trusted | None:
        """Keys, authorities, revoked keys; None: nothing is known of it."""


class Reach:
    def __init__(self, keys: KeySource, host_keys: HostKeySource) -> None:
        self._keys = keys
        self._host_keys = host_keys
        self._jumps: dict[tuple[str, int], asyncio.Task[asyncssh.SSHClientConnection]] = {}

    @asynccontextmanager
    async def to(self, place: Place) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """Raises CannotReach."""
        connection = await self._connect(place, await self._jump(place))
        try:
            yield connection
        finally:
            connection.close()

    async def unknown_key(self, place: Place) -> asyncssh.SSHKey | None:
        """The key that a place shows; None when its key is known already. Raises CannotReach."""
        if self._host_keys.trusted(place.hostname, place.port) is not None:
            return None
        jump = await self._jump(place)
        try:
            async with asyncio.timeout(CONNECT_S):
                key = await asyncssh.get_server_host_key(place.hostname, place.port, tunnel=jump or (), config=None)
        except (OSError, asyncssh.Error) as error:
            raise _failure(error, place) from None
        if key is None:
            raise CannotReach(f"port {place.port} shows no host key; is it an SSH server?")
        return key

    def load_keys(self, places: Iterable[Place]) -> None:
        """Ask now for all passphrases; what is wrong with a key is told by `to`."""
        for place in places:
            for each in (place, place.jump):
                if each is not None:
                    with suppress(BadKey):
                        self._keys.load(each)

    async def jump_key(self, place: Place) -> asyncssh.SSHKey | None:
        """The key that its jump host has shown; None: it has none. Raises CannotReach."""
        jump = await self._jump(place)
        return None if jump is None else jump.get_server_host_key()

    async def close(self) -> None:
        for task in self._jumps.values():
            task.cancel()
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().close()
        self._jumps.clear()

    async def _jump(self, place: Place) -> asyncssh.SSHClientConnection | None:
        jump = place.jump
        if jump is None:
            return None
        task = self._jumps.get((jump.hostname, jump.port))
        if task is None:
            task = asyncio.create_task(self._connect(jump, None))
            self._jumps[jump.hostname, jump.port] = task
        try:
            return await asyncio.shield(task)
        except CannotReach as error:
            raise CannotReach(f"the jump host {jump.hostname}: {error}") from None

    async def _connect(self, place: Place, jump: asyncssh.SSHClientConnection | None) -> asyncssh.SSHClientConnection:
        trusted = self._host_keys.trusted(place.hostname, place.port)
        if trusted is None:
            raise UnknownHost("its host key is not known here, and it showed none when it was asked for it; is it on?")
        key = self._keys.load(place)
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
            raise _failure(error, place) from None


def _failure(error: Exception, place: Place) -> CannotReach:
    # A TimeoutError is an OSError; asyncssh's own errors are none.
    nobody = isinstance(error, OSError | asyncssh.ConnectionLost | asyncssh.ChannelOpenError)
    return (NoAnswer if nobody else CannotReach)(_why(error, place))


def _why(error: Exception, place: Place) -> str:
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
