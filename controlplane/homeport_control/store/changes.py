"""Topics that say that something changed: published after a commit, waited for by loops, sessions and watchers.

A topic says only *that* something changed; who waits reads it anew. So a missed or doubled signal costs a look, never a
state. Topics: "runs", "replicas", "hosts", "tokens", "users", "events", "gateways" (which there are, and how
they are), "gateway" (what one has acknowledged), "health" (what makes replicas leave a host), "held"
(requests wait for a service that is asleep), and "host:<id>" for what one host must run.
"""

import asyncio
from collections.abc import Iterable


class Subscription:
    """A waiting place for some topics. Use as a context manager; never blocks who publishes."""

    def __init__(self, changes: "Changes", topics: frozenset[str]) -> None:
        self._changes = changes
        self.topics = topics
        self._event = asyncio.Event()

    def __enter__(self) -> "Subscription":
        self._changes._subscriptions[self] = None
        return self

    def __exit__(self, *_: object) -> None:
        self._changes._subscriptions.pop(self, None)

    def notify(self) -> None:
        self._event.set()

    async def wait(self, timeout_s: float | None) -> bool:
        """True when a topic changed since the last wait, False when the time ran out first."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Changes:
    def __init__(self) -> None:
        self._subscriptions: dict[
            Subscription, None
        ] = {}  # woken in the order in which they came, in each run the same

    def subscribe(self, *topics: str) -> Subscription:
        return Subscription(self, frozenset(topics))

    def publish(self, topics: Iterable[str]) -> None:
        changed = frozenset(topics)
        for subscription in self._subscriptions:
            if subscription.topics & changed:
                subscription.notify()
