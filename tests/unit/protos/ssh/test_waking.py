"""ssh/waking, ssh/given and ssh/reach: a machine that is asleep is woken; over loopback, with a real SSH server."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest
from homeport_protos.ssh import waking
from homeport_protos.ssh.access import Access
from homeport_protos.ssh.given import GivenKeys
from homeport_protos.ssh.places import Place, Wake
from homeport_protos.ssh.reach import BadKey, CannotReach, NoAnswer, Reach, UnknownHost
from homeport_protos.ssh.waking import awake, magic_packet
from rig.ports import free_port

MAC = "02:48:50:00:00:01"
LOOPBACK = "127.255.255.255"  # its broadcast address
WAKE = Wake(MAC, LOOPBACK)
OWN, THEIRS = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")


def access(host_key: asyncssh.SSHKey = THEIRS) -> Access:
    return Access(OWN.export_private_key("openssh").decode(), host_key.export_public_key("openssh").decode())


def place(port: int, wake: Wake | None = WAKE) -> Place:
    return Place("127.0.0.1", port, "ops", wake=wake)


def reach_of(place: Place, given: Access | None = None) -> Reach:
    keys = GivenKeys(place, given or access())
    return Reach(keys, keys)


async def ssh_server(port: int, folder: Path) -> asyncssh.SSHAcceptor:
    (folder / "authorized").write_bytes(OWN.export_public_key("openssh"))
    return await asyncssh.listen(
        "127.0.0.1",
        port,
        server_host_keys=[THEIRS],
        authorized_client_keys=str(folder / "authorized"),
        process_factory=lambda process: process.exit(0),
    )


class Card(asyncio.DatagramProtocol):
    """A network card: tells when its packet has come."""

    def __init__(self, woken: Callable[[], object]) -> None:
        self._woken = woken

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data == magic_packet(MAC):
            self._woken()


@asynccontextmanager
async def card(woken: Callable[[], object]) -> AsyncIterator[int]:
    """The port that it listens at."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((LOOPBACK, 0))
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Card(woken), sock=listener)
    try:
        yield listener.getsockname()[1]
    finally:
        transport.close()


def test_the_packet_is_six_ff_and_sixteen_times_the_address() -> None:
    assert magic_packet("0a:00:00:00:00:ff") == b"\xff" * 6 + b"\x0a\0\0\0\0\xff" * 16


async def test_a_machine_is_woken_and_reached_when_it_has_come_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    servers: list[asyncio.Task[asyncssh.SSHAcceptor]] = []
    steps: list[str] = []
    async with card(lambda: servers or servers.append(asyncio.create_task(ssh_server(port, tmp_path)))) as listening:
        monkeypatch.setattr(waking, "DISCARD_PORT", listening)
        monkeypatch.setattr(waking, "AGAIN_S", 0.01)
        async with awake(reach_of(place(port)), place(port), steps.append) as ssh:
            assert (await ssh.run("true")).exit_status == 0
    assert set(steps) == {f"waking it up ({MAC})"}
    servers[0].result().close()


async def test_one_that_does_not_wake_up_and_one_that_cannot_be_woken_are_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    monkeypatch.setattr(waking, "AGAIN_S", 0.01)
    with pytest.raises(CannotReach, match=r"did not wake up within 0.05 s: port \d+ refuses connections"):
        async with awake(reach_of(place(port)), place(port), lambda step: None, wake_s=0.05):
            pass
    asleep = place(port, None)
    with pytest.raises(NoAnswer, match="refuses connections"):
        async with awake(reach_of(asleep), asleep, lambda step: None):
            pass


async def test_who_answers_with_another_key_is_not_trusted_nor_woken(tmp_path: Path) -> None:
    port = free_port()
    server = await ssh_server(port, tmp_path)
    there = place(port)
    try:
        with pytest.raises(CannotReach, match="shows another host key"):
            async with awake(reach_of(there, access(OWN)), there, lambda step: None):
                pass
    finally:
        server.close()


async def test_nothing_is_known_of_another_place() -> None:
    keys = GivenKeys(place(22), access())
    assert keys.trusted("127.0.0.1", 23) is None
    with pytest.raises(BadKey, match="apply the fleet again"):
        keys.load(place(23))
    with pytest.raises(UnknownHost):
        async with Reach(keys, keys).to(place(23)):
            pass
