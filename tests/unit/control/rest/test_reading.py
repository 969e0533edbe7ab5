"""rest/reading: a body is read within its bounds of size and time; few large ones are held at once."""

import asyncio
from typing import Any

import pytest
from fixtures.control import until_true
from homeport_control.rest.reading import MOST_LARGE, SMALL_BYTES, Bodies, Refused
from starlette.requests import Request

MOST = 1 << 20


class Sender:
    """A caller whose body comes in pieces, and then no more without its end."""

    def __init__(self, *pieces: bytes, ends: bool = True, length: int | None = None) -> None:
        self._messages = [{"type": "http.request", "body": it, "more_body": True} for it in pieces]
        if ends:
            self._messages.append({"type": "http.request", "body": b"", "more_body": False})
        headers = [(b"content-length", str(length).encode())] if length is not None else []
        self.request = Request({"type": "http", "headers": headers, "method": "POST"}, self._receive)
        self.taken = 0

    async def _receive(self) -> dict[str, Any]:
        self.taken += 1
        if not self._messages:
            await asyncio.Event().wait()
        return self._messages.pop(0)


async def read(bodies: Bodies, sender: Sender) -> bytes:
    async with bodies.of(sender.request) as body:
        return body


@pytest.fixture
async def bodies() -> Bodies:
    return Bodies(MOST, read_s=5.0)


async def test_a_body_comes_whole(bodies: Bodies) -> None:
    assert await read(bodies, Sender(b"ab", b"c")) == b"abc"
    assert await read(bodies, Sender()) == b""


async def test_one_that_says_that_it_is_too_long_is_not_read(bodies: Bodies) -> None:
    sender = Sender(b"a", length=MOST + 1)
    with pytest.raises(Refused, match="the body is longer than 1 MiB") as caught:
        await read(bodies, sender)
    assert (caught.value.failure.status, sender.taken) == (413, 0)


async def test_one_that_is_longer_than_it_said_is_read_no_further(bodies: Bodies) -> None:
    sender = Sender(*[bytes(MOST // 2)] * 10)
    with pytest.raises(Refused, match="the body is longer"):
        await read(bodies, sender)
    assert sender.taken == 3


async def test_one_that_does_not_end_is_not_waited_for() -> None:
    with pytest.raises(Refused, match=r"the body did not come within 0\.01 s") as caught:
        await read(Bodies(MOST, read_s=0.01), Sender(b"a", ends=False))
    assert caught.value.failure.status == 408


async def test_of_large_ones_few_are_held_at_a_time_and_small_ones_pass(bodies: Bodies) -> None:
    go_on = asyncio.Event()
    held = 0

    async def hold() -> None:
        nonlocal held
        async with bodies.of(Sender(bytes(SMALL_BYTES + 1)).request):
            held += 1
            await go_on.wait()

    tasks = [asyncio.create_task(hold()) for _ in range(MOST_LARGE + 1)]
    await until_true(lambda: held == MOST_LARGE)
    assert await read(bodies, Sender(b"small")) == b"small"
    assert held == MOST_LARGE
    go_on.set()
    await asyncio.gather(*tasks)
    assert held == MOST_LARGE + 1
