"""Requests to a gateway for as long as a test does something to it."""

import asyncio
from collections import Counter

from rig.gateway import Client, Gateway


class Load:
    """Requests without a pause over a few kept connections until it is left; what came back is counted."""

    def __init__(self, gateway: Gateway, clients: int = 4, method: str = "GET", timeout_s: float = 10) -> None:
        self._clients = [Client(gateway.port) for _ in range(clients)]
        self._method = method
        self._timeout_s = timeout_s
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._more = asyncio.Event()
        self.answers: Counter[int | str] = Counter()
        self.by_replica: Counter[str] = Counter()

    async def _work(self, client: Client) -> None:
        while not self._stopping:
            try:
                response = await client.request(method=self._method, timeout_s=self._timeout_s)
            except Exception as failure:  # every kind of failure is counted
                self.answers[repr(failure)] += 1
                client.close()
                continue
            self.answers[response.status] += 1
            if response.status == 200:
                self.by_replica[str(response.json()["replica"])] += 1
            self._more.set()

    async def more(self, count: int = 200) -> None:
        """Wait until so many further requests were answered."""
        wanted = self.answers.total() + count
        async with asyncio.timeout(20):
            while self.answers.total() < wanted:
                self._more.clear()
                await self._more.wait()

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self._work(client)) for client in self._clients]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)
        for client in self._clients:
            client.close()
