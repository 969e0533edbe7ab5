"""Records a load for bench_autoscale.py: requests per second at a small HTTP server that people with pauses call.

    python tests/bench/record_load.py [--minutes 10] > tests/bench/recorded/sessions.csv

Real sockets and a real clock; the people are simulated: sessions begin at random, more and then fewer of them, each asks some
times and thinks in between. One number a line, a line a second.
"""

import argparse
import asyncio
import math
import random
import sys

SESSIONS_PER_S = 2.5  # on average


async def main(seconds: int) -> None:
    counted = [0] * seconds
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await reader.readline()).startswith(b"GET"):
            await reader.readline()
            second = int(loop.time() - began_s)
            if second < seconds:
                counted[second] += 1
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def session(chance: random.Random) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(1 + int(chance.expovariate(1 / 12))):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(chance.lognormvariate(-0.4, 0.9))
        writer.close()

    chance = random.Random()  # noqa: S311 - when people come is no secret
    async with asyncio.TaskGroup() as tasks:
        while (at_s := loop.time() - began_s) < seconds:
            tide = 1 - math.cos(2 * math.pi * at_s / seconds)  # none, twice the average, none
            crowd = 4.0 if chance.random() < 0.01 else 1.0
            tasks.create_task(session(chance))
            await asyncio.sleep(min(chance.expovariate(SESSIONS_PER_S * max(tide, 0.05) * crowd), 5))
    server.close()
    sys.stdout.write("".join(f"{number}\n" for number in counted))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    asyncio.run(main(int(parser.parse_args().minutes * 60)))
