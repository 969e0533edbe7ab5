"""The way to the leader: one channel over mTLS, with this server's certificate, to where the lease says that it is.

Covers waiting until there is one. A channel to one that leads no more is closed, which ends what goes over it: its callers
come again, and a leader that was stopped in the middle holds nobody.
"""

import asyncio
from typing import Any

import grpc

from homeport_control.trust.ca import SERVER_NAME, KeyPair

CONNECT_S = 1.0  # one try; then it is looked again who leads
TRY_AGAIN_S = 0.1
OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.ssl_target_name_override", SERVER_NAME),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),  # what came in at a port was held to that port's limit
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 1000),  # one that fell silent is noticed as agents notice it
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.http2.ping_timeout_ms", 3000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 3000),  # so long may one try take, its handshakes included; no pause
    ("grpc.max_reconnect_backoff_ms", 500),
)


class Unknown(Exception):
    """Nobody who leads could be reached in time; the words say what is known."""


class LeaderChannel:
    def __init__(self, ca_pem: bytes, pair: KeyPair) -> None:
        self._credentials = grpc.ssl_channel_credentials(ca_pem, pair.key_pem, pair.certificate_pem)
        self._address, self._because = "", ""
        self._term = 0
        self._channel: grpc.aio.Channel | None = None
        self._changed = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()

    def is_at(self, address: str, term: int, because: str = "") -> None:
        """Who leads is there now; empty: that is not known, and why."""
        self._because = because
        if (address, term) == (self._address, self._term):
            return
        self._drop()
        self._address, self._term = address, term
        self._changed.set()
        self._changed = asyncio.Event()

    async def get(self, deadline_s: float) -> grpc.aio.Channel:
        """Connected. `deadline_s` by the clock of the event loop. Raises Unknown."""
        loop = asyncio.get_running_loop()
        while (left_s := deadline_s - loop.time()) > 0:
            changed = self._changed
            if not self._address:
                await _until(changed.wait(), left_s)
                continue
            if self._channel is None:
                self._channel = grpc.aio.secure_channel(self._address, self._credentials, options=OPTIONS)
            channel = self._channel
            if await _until(channel.channel_ready(), min(left_s, CONNECT_S)) and channel is self._channel:
                return channel
            await _until(changed.wait(), TRY_AGAIN_S)
        raise Unknown(f"{self._address} does not answer" if self._address else self._because or "none leads now")

    async def close(self) -> None:
        self._drop()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _drop(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            task = asyncio.create_task(channel.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _until(waiting: Any, timeout_s: float) -> bool:
    """Whether it came to its end in time."""
    try:
        async with asyncio.timeout(timeout_s):
            await waiting
    except (TimeoutError, grpc.aio.UsageError, grpc.aio.InternalError):  # the channel was closed meanwhile
        return False
    return True
