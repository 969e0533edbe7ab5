"""A service that was asleep and whose first replica is on another host: its requests go on as soon as it is published there."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from homeport_control.domain.gateway import Endpoint, ServiceRoute
from rig.far import FarHost, cut_off, far_host
from rig.gateway import Client, Gateway, replicas

pytestmark = pytest.mark.envoy


@pytest.fixture
async def far(gateway: Gateway) -> AsyncIterator[FarHost]:
    async with far_host(gateway) as made:
        yield made


def sleeper(*endpoints: Endpoint, held: bool = False) -> ServiceRoute:
    return ServiceRoute("asleep", ("asleep.localhost",), True, endpoints, held=held, sleeps=True)


async def woken(gateway: Gateway, clients: list[Client], endpoint: Endpoint) -> Counter[int]:
    """What so many requests that were held are answered when this endpoint comes."""
    await gateway.control.publish(gateway.snapshot(services=(sleeper(held=True),)))
    waits = [asyncio.create_task(client.request("asleep.localhost")) for client in clients]
    await gateway.control.until(lambda: gateway.control.held.get("asleep") == len(clients))
    await gateway.control.publish(gateway.snapshot(services=(sleeper(endpoint),)))
    return Counter(answer.status for answer in await asyncio.gather(*waits))


async def test_what_was_held_goes_on_there(gateway: Gateway, far: FarHost) -> None:
    async with replicas("away") as (away,):
        await far.opens(away)
        clients = [Client(gateway.port) for _ in range(50)]
        for _ in range(20):
            assert await woken(gateway, clients, far.directly(away)) == {200: 50}
        for client in clients:
            client.close()


async def test_also_when_its_first_check_takes_long(gateway: Gateway, far: FarHost) -> None:
    """It is dialled all the same: nobody else is there."""
    async with replicas("away") as (away,):
        await far.opens(away)
        clients = [Client(gateway.port) for _ in range(20)]
        with cut_off(away):
            going = asyncio.create_task(woken(gateway, clients, far.directly(away)))
            await gateway.control.until(lambda: gateway.control.held.get("asleep") == 20)
            await gateway.control.until(lambda: gateway.control.held.get("asleep") == 0)
        assert await going == {200: 20}
        for client in clients:
            client.close()
