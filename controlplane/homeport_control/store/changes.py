"""Topics that say that something changed: published after a commit, waited for by loops, sessions and watchers.

A topic says only *that* something changed; who waits reads it anew. So a missed or doubled signal costs a look, never a
state. Those of other servers on the same database come by listening.py. Topics: "runs", "replicas", "hosts", "tokens",
"users", "events", "gateways" (which there are, and how they are), "gateway" (what one has acknowledged), "presence" (which
hosts there are, who is connected, with which build, and what is claimed there: not what a host says of itself, as "hosts"
does), "health" (what makes replicas leave a host), "held" (requests wait for a service that is asleep), and "host:<id>" for
what one host must run.
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
        self._changes._add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._changes._remove(self)

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
        # By topic: each host has one of its own. Who waits is woken in the order in which he came, in each run the same.
        self._subscriptions: dict[str, dict[Subscription, None]] = {}

    def subscribe(self, *topics: str) -> Subscription:
        return Subscription(self, frozenset(topics))

    def publish(self, topics: Iterable[str]) -> None:
        for topic in sorted(topics):
            for subscription in self._subscriptions.get(topic, ()):
                subscription.notify()

    def publish_all(self) -> None:
        """Something may have changed that was not heard of: everybody looks anew."""
        self.publish(list(self._subscriptions))

    def _add(self, subscription: Subscription) -> None:
        for topic in subscription.topics:
            self._subscriptions.setdefault(topic, {})[subscription] = None

    def _remove(self, subscription: Subscription) -> None:
        for topic in subscription.topics:
            there = self._subscriptions.get(topic, {})
            there.pop(subscription, None)
            if not there:
                self._subscriptions.pop(topic, None)
