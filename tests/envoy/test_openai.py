"""OpenAI's own client against the model route: a chat, a stream of it as it comes, the list, and the errors that it raises."""

import asyncio
import json
from collections.abc import AsyncIterator

import openai
import pytest
from homeport_control.domain.gateway import Endpoint, PublishedModel, ServiceRoute, TokenGrant
from rig.gateway import TOKEN, Gateway, read_body, read_head, sha256

pytestmark = pytest.mark.envoy


class ChatServer:
    """Answers a chat with its last message; a stream word by word, each word only when `go` is released once more."""

    def __init__(self) -> None:
        self.go = asyncio.Semaphore(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, path, headers = await read_head(reader)
        asked = json.loads(await read_body(reader, headers))
        assert path == "/v1/chat/completions"
        text = asked["messages"][-1]["content"]
        base = {"id": "c1", "created": 1, "model": asked["model"]}
        if not asked.get("stream"):
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            body = json.dumps({**base, "object": "chat.completion", "choices": [choice]}).encode()
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for word in text.split():
            await self.go.acquire()
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            writer.write(chunk(json.dumps({**base, "object": "chat.completion.chunk", "choices": [choice]})))
            await writer.drain()
        writer.write(chunk("[DONE]") + b"0\r\n\r\n")


def chunk(data: str) -> bytes:
    event = f"data: {data}\n\n".encode()
    return f"{len(event):x}\r\n".encode() + event + b"\r\n"


@pytest.fixture
async def chat(gateway: Gateway) -> AsyncIterator[ChatServer]:
    made = ChatServer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    endpoint = Endpoint("r1", "127.0.0.1", server.sockets[0].getsockname()[1])
    service = ServiceRoute("llm", ("llm.localhost",), True, (endpoint,), PublishedModel("org/chat-1"))
    tokens = (TokenGrant(sha256(TOKEN)), TokenGrant(sha256("hp_other"), ("hello",)))
    await gateway.control.publish(gateway.snapshot(services=(service,), tokens=tokens))
    yield made
    server.close()


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{gateway.port}/v1",
        api_key=TOKEN,
        default_headers={"Host": f"gateway.localhost:{gateway.port}"},  # resolvers do not all know *.localhost
        max_retries=0,
        timeout=10,
    ) as made:
        yield made


async def test_a_chat_is_answered(chat: ChatServer, client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="org/chat-1", messages=[{"role": "user", "content": "hi"}])
    assert answer.choices[0].message.content == "hi"


async def test_each_word_of_a_stream_comes_when_it_is_said(chat: ChatServer, client: openai.AsyncOpenAI) -> None:
    chat.go.release()
    stream = await client.chat.completions.create(
        model="org/chat-1", messages=[{"role": "user", "content": "one two three"}], stream=True
    )
    words = []
    async for event in stream:
        words.append(event.choices[0].delta.content)
        chat.go.release()  # the next word is not said before this one is here: a buffered answer would never come
    assert words == ["one", "two", "three"]


async def test_the_models_are_listed_and_one_is_described(chat: ChatServer, client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["org/chat-1"]
    assert (await client.models.retrieve("org/chat-1")).owned_by == "homeport"


async def test_refusals_are_the_clients_own_exceptions(chat: ChatServer, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="There are: org/chat-1") as unknown:
        await client.chat.completions.create(model="nope", messages=[])
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.PermissionDeniedError, match="This token is not valid"):
        await client.with_options(api_key="hp_wrong").models.list()
    assert [model.id async for model in client.with_options(api_key="hp_other").models.list()] == []
