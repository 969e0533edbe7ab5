"""A process of simulated agents: `python -P -m bench.fleet.agents --first 0 --count 100 --api HOST:PORT --ca FILE --token T`.

Prints a JSON line each time when a line comes on stdin: how many are connected, what they hold and have said. Ends with
stdin. See simulated for what one of them does.
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from pathlib import Path

from bench.fleet.simulated import Counters, Identity, SimulatedAgent, enrol
from homeport_protos.agent.v1 import agent_pb2 as pb

AT_ONCE = 20  # that join


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--api", required=True)
    parser.add_argument("--ca", type=Path, required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--facts-every-s", type=float, default=60.0)
    arguments = parser.parse_args()
    ca_pem = arguments.ca.read_text()
    room = asyncio.Semaphore(AT_ONCE)

    async def joined(number: int) -> Identity:
        async with room:
            return await enrol(arguments.api, ca_pem, arguments.token, f"sim-{number:05d}")

    numbers = range(arguments.first, arguments.first + arguments.count)
    # The first of the first process alone: on a fresh server it becomes the gateway's host.
    identities = [await joined(numbers[0]), *await asyncio.gather(*(joined(it) for it in numbers[1:]))]
    counters = Counters()
    agents = [
        SimulatedAgent(number, identity, counters, arguments.facts_every_s)
        for number, identity in zip(numbers, identities, strict=True)
    ]
    gc.collect()
    gc.freeze()
    say({"joined": len(agents)})
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(agent.run()) for agent in agents]
        while await asyncio.to_thread(sys.stdin.readline):
            lives = [life for agent in agents for life in agent.lives]
            say(
                {
                    "connected": counters.connected,
                    "sessions": counters.sessions,
                    "reports": counters.reports,
                    "telemetry": counters.telemetry,
                    "assignments": counters.assignments,
                    "held": len(lives),
                    "ready": sum(it.phase == pb.PHASE_READY for it in lives),
                    "broken": counters.broken,
                    "cpu_s": time.process_time(),
                }
            )
        for task in tasks:
            task.cancel()


def say(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
