"""Reaching a machine that may be asleep: Wake-on-LAN again and again until its SSH server answers, within a deadline.

The packet is AMD's Magic Packet (white paper 20213): six times FF, then sixteen times the hardware address, in a UDP
datagram to a broadcast address. It does not cross routers by itself, and nobody acknowledges it.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import asyncssh

from homeport_protos.ssh.places import Place, Wake
from homeport_protos.ssh.reach import CannotReach, NoAnswer, Reach

WAKE_S = 300.0  # servers with much memory take minutes to start
AGAIN_S = 2.0  # a card may miss a packet while its machine goes down
DISCARD_PORT = 9  # as most tools use it; the card looks at what is in the packet only


def magic_packet(mac: str) -> bytes:
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "").replace("-", "")) * 16


def send(wake: Wake) -> None:
    """Raises OSError when there is no way to that network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.sendto(magic_packet(wake.mac), (wake.broadcast, DISCARD_PORT))


@asynccontextmanager
async def awake(
    reach: Reach, place: Place, step: Callable[[str], None], wake_s: float = WAKE_S
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection to a place, which is woken when it does not answer and can be. Raises CannotReach."""
    clock = asyncio.get_running_loop().time
    until_s = clock() + wake_s
    async with AsyncExitStack() as stack:
        while True:
            try:
                connection = await stack.enter_async_context(reach.to(place))
                break
            except NoAnswer as error:
                if place.wake is None:
                    raise
                if clock() >= until_s:
                    raise CannotReach(f"it did not wake up within {wake_s:g} s: {error}") from None
            step(f"waking it up ({place.wake.mac})")
            try:
                send(place.wake)
            except OSError as error:
                raise CannotReach(
                    f"the packet that wakes it cannot be sent to {place.wake.broadcast}: {error.strerror}"
                ) from None
            await asyncio.sleep(AGAIN_S)
        yield connection
