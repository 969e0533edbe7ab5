"""A fleet of simulated agents against a real server: what tests/bench/fleet measures with thousands, with fifty.

All that is applied is placed and acknowledged; when the server is killed all of them come back, while the command line works.
"""

import asyncio

from bench.fleet.bench_fleet import service
from bench.fleet.stand import Client, Crowd, Server, stand, until

AGENTS, SERVICES, REPLICAS = 50, 5, 20
DEADLINE_S = 60.0


def test_all_are_placed_and_acknowledged_and_a_storm_of_reconnections_settles() -> None:
    with stand(AGENTS) as (server, crowd):
        asyncio.run(_story(server, crowd))


async def _story(server: Server, crowd: Crowd) -> None:
    async with server.client() as client:

        async def connected() -> bool:
            return bool(crowd.look()["connected"] == AGENTS)

        await until("all agents are connected", connected, DEADLINE_S)
        for number in range(SERVICES):
            await client.apply(service(f"service-{number}", REPLICAS))

        async def in_rotation() -> bool:
            return await _in_rotation(client) == SERVICES * REPLICAS

        await until("all replicas are in rotation", in_rotation, DEADLINE_S)
        assert crowd.look()["ready"] == SERVICES * REPLICAS
        await asyncio.to_thread(server.log_in)
        before = crowd.look()["sessions"]
        server.process.kill()
        server.process.start()
        await client.up()
        done = await asyncio.to_thread(server.homeport, "ps")
        assert done.returncode == 0, done.stderr

        async def back() -> bool:
            there = crowd.look()
            if there["connected"] != AGENTS or there["sessions"] < before + AGENTS:
                return False
            return all(it.connection == "connected" for it in (await client.hosts()).hosts)

        await until("all agents are back and shown as connected", back, DEADLINE_S)
        assert await _in_rotation(client) == SERVICES * REPLICAS, "the storm took replicas out of rotation"
        assert crowd.look()["held"] == SERVICES * REPLICAS, "the storm moved replicas"


async def _in_rotation(client: Client) -> int:
    return sum(replica.in_rotation for run in (await client.ps()).runs for replica in run.replicas)
