"""Requests that are held at the door of a service that is asleep, through a real Envoy."""

import asyncio

import pytest
from rig.gateway import Gateway, replicas

pytestmark = pytest.mark.envoy


async def test_a_held_request_goes_on_when_a_replica_is_in_rotation(gateway: Gateway) -> None:
    async with replicas("a") as (a,):
        await gateway.control.publish(gateway.snapshot(held=True))
        waits = asyncio.create_task(gateway.client.request())
        await gateway.control.until(lambda: gateway.control.held.get("hello") == 1)
        assert not waits.done()
        await gateway.control.publish(gateway.snapshot(a.endpoint()))
        assert (await waits).json()["replica"] == "a"
        assert gateway.control.held == {"hello": 0}
        assert (await gateway.client.request()).status == 200
