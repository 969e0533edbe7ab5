"""A real HTTP/3 client for tests: aioquic, with the name in the hello and the certificate checked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent
from rig.gateway import Response


@dataclass
class _Answer:
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False


class Http3(QuicConnectionProtocol):
    """One connection."""

    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)  # type: ignore[arg-type]
        self._http = H3Connection(self._quic)
        self._answers: dict[int, _Answer] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        for it in self._http.handle_event(event):
            if isinstance(it, (HeadersReceived, DataReceived)):
                answer = self._answers[it.stream_id]
                if isinstance(it, HeadersReceived):
                    answer.headers.update({name.decode(): value.decode() for name, value in it.headers})
                else:
                    answer.body += it.data
                answer.ended = it.stream_ended
                answer.changed.set()

    def send(self, host: str, path: str, token: str, body: bytes = b"") -> _Answer:
        stream = self._quic.get_next_available_stream_id()
        answer = self._answers[stream] = _Answer()
        head = {":method": "POST" if body else "GET", ":scheme": "https", ":authority": host, ":path": path}
        head |= {"authorization": f"Bearer {token}"} if token else {}
        fields = [(name.encode(), value.encode()) for name, value in head.items()]
        self._http.send_headers(stream, fields, end_stream=not body)
        if body:
            self._http.send_data(stream, body, end_stream=True)
        self.transmit()
        return answer

    async def ask(self, host: str, path: str = "/", token: str = "", body: bytes = b"") -> Response:
        return await self.whole(self.send(host, path, token, body))

    async def whole(self, answer: _Answer, until: bytes | None = None, timeout_s: float = 10) -> Response:
        """The answer to its end, or until this has come of its body."""
        async with asyncio.timeout(timeout_s):
            while not answer.ended and (until is None or until not in answer.body):
                answer.changed.clear()
                await answer.changed.wait()
        return Response(int(answer.headers[":status"]), answer.headers, answer.body)


@asynccontextmanager
async def http3(
    port: int, name: str, ca_pem: bytes, *, connect_s: float = 10, idle_s: float = 60
) -> AsyncIterator[Http3]:
    """Raises ConnectionError, TimeoutError when there is no such connection, or its certificate is not to be trusted."""
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, server_name=name, cadata=ca_pem, idle_timeout=idle_s)
    entering = connect("127.0.0.1", port, configuration=configuration, create_protocol=Http3)
    async with asyncio.timeout(connect_s):
        client = await entering.__aenter__()
    try:
        assert isinstance(client, Http3)
        yield client
    finally:
        client.close()
        await entering.__aexit__(None, None, None)
