"""Gateways on machines that are reached by SSH: what a plan finds of them, and how one is registered to be installed.

Nothing is installed here: who applies has the keys, and reports (`fleets`), like for a fleet.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.api.fleets import change_message, new_token, place_message, progress
from homeport_control.decide import gateway_machines as decide
from homeport_control.domain.fleets import PlaceChange, Registration
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import GATEWAYS_FLEET, Host
from homeport_control.spec.gateway_host import GatewayHost, address_of
from homeport_control.spec.problems import Problem
from homeport_control.store import fleets, hosts
from homeport_control.store.connect import Write


@dataclass(frozen=True, slots=True)
class Machine:
    """Of one gateway, as it is wanted."""

    change: PlaceChange
    host: Host | None  # that it has become
    problems: tuple[Problem, ...]

    @property
    def installs(self) -> bool:
        return self.change.installs


async def planned(connection: AsyncConnection, wanted: GatewayHost) -> Machine | None:
    """None: it is not reached by SSH."""
    if not wanted.is_ssh:
        return None
    registered, by_id = await _known(connection)
    place = decide.place_of(wanted)
    change = decide.machine_change(place, registered, by_id)
    problems = tuple(decide.of_another_fleet(place, registered, by_id))
    return Machine(change, by_id.get(change.host_id), problems)


async def gone(connection: AsyncConnection, gateways: Sequence[Gateway]) -> tuple[PlaceChange, ...]:
    """Machines that none of these needs."""
    registered, by_id = await _known(connection)
    return decide.gone(registered, gateways, by_id)


async def forget_unjoined(write: Write, changes: Sequence[PlaceChange]) -> None:
    """There is nothing to take out of these."""
    await fleets.unregister(write, GATEWAYS_FLEET, [it.place.address for it in changes if not it.host_id])


async def register(write: Write, machine: Machine, ca_sha256: str) -> api_pb2.Install:
    """It is to be installed now; how."""
    now_s, change = time.time(), machine.change
    await fleets.register(write, Registration(GATEWAYS_FLEET, change.place, since_s=now_s, host_id=change.host_id))
    token = await new_token(write, ca_sha256, GATEWAYS_FLEET, now_s)
    return api_pb2.Install(place=place_message(change.place), token=token, gateway=True)


def messages(machine: Machine | None, left: Sequence[PlaceChange]) -> list[api_pb2.FleetHost]:
    return [change_message(it) for it in (*([machine.change] if machine else ()), *left)]


def progress_of(gateway: Gateway, registered: Sequence[Registration], now_s: float) -> str:
    """How far the machine is that it waits for; empty: it waits for none."""
    address = address_of(gateway.wanted_host)
    if address is None:
        return ""
    mine = next((it for it in registered if it.fleet == GATEWAYS_FLEET and it.place.address == address), None)
    if mine is None or (mine.host_id and mine.host_id == gateway.host_id):
        return ""
    return f"{gateway.wanted_host}: {progress(mine, now_s)[1]}"


async def _known(connection: AsyncConnection) -> tuple[tuple[Registration, ...], Mapping[str, Host]]:
    return await fleets.registered(connection), await hosts.all_by_id(connection)
