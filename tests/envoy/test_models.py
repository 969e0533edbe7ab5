"""Models by name at gateway.<domain>/v1, through a real Envoy: which body leads where, and what else is said."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from homeport_control.domain.gateway import Endpoint, PublishedModel, ServiceRoute, TokenGrant
from homeport_control.xds import token_filter, virtual_hosts
from homeport_control.xds.token_filter import SEAL_HEADER
from rig.gateway import TOKEN, Gateway, Replica, Response, read_body, read_head, replicas, sha256

pytestmark = pytest.mark.envoy

CHAT = "/v1/chat/completions"
ONLY_LLAMA = "hp_only-llama"


def service(name: str, model: str, *endpoints: Endpoint, auth: bool = True, prefix: str = "/v1") -> ServiceRoute:
    return ServiceRoute(name, (f"{name}.localhost",), auth, endpoints, PublishedModel(model, prefix, 1700000000))


async def publish(gateway: Gateway, *services: ServiceRoute) -> None:
    tokens = (TokenGrant(sha256(TOKEN)), TokenGrant(sha256(ONLY_LLAMA), ("llama",)))
    await gateway.control.publish(gateway.snapshot(services=services, tokens=tokens))


async def post(
    gateway: Gateway, body: object, *, path: str = CHAT, token: str | None = TOKEN, **headers: str
) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await gateway.client.request(
        "gateway.localhost:7480", path, token=token, method="POST", body=data, headers=headers
    )


def code(response: Response) -> tuple[int, str]:
    body = response.json()
    assert response.headers["content-type"] == "application/json"
    assert set(body) == {"error"}
    return response.status, body["error"]["code"]  # type: ignore[index]


@pytest.fixture
async def two(gateway: Gateway) -> AsyncIterator[tuple[Replica, Replica]]:
    """Models llama (of service llama) and org/qwen (of service qwen, which has its own prefix)."""
    async with replicas("llama", "qwen") as (llama, qwen):
        await publish(
            gateway,
            service("llama", "llama", llama.endpoint()),
            service("qwen", "org/qwen", qwen.endpoint(), prefix="/api/openai/"),
        )
        yield llama, qwen


async def test_the_name_in_the_body_decides_and_the_prefix_is_the_services_own(
    gateway: Gateway, two: tuple[Replica, Replica]
) -> None:
    for path in (CHAT, "/v1/completions", "/v1/embeddings"):
        seen = (await post(gateway, {"model": "llama"}, path=path)).json()
        assert (seen["replica"], seen["path"]) == ("llama", path)
        seen = (await post(gateway, {"model": "org/qwen"}, path=f"{path}?a=1&b=/v1/")).json()
        assert (seen["replica"], seen["path"]) == ("qwen", f"/api/openai{path[3:]}?a=1&b=/v1/")
        assert "authorization" not in seen["headers"]  # type: ignore[operator]
        assert SEAL_HEADER not in seen["headers"]  # type: ignore[operator]


BIG = 'x\\" model: {' * 100_000  # 1.2 MB
NASTY: list[tuple[object, str | tuple[int, str]]] = [
    ({"messages": [{"role": "user", "content": BIG}], "model": "llama"}, "llama"),
    ({"model": "llama", "messages": [{"model": "org/qwen"}], "x": {"model": "org/qwen"}}, "llama"),
    ({"x": {"model": "org/qwen"}, "y": [["model", "org/qwen"]], "model": "llama"}, "llama"),
    ({"x": "model", "y": '"model":"org/qwen"', "model": "llama"}, "llama"),
    ({"a\\": "\\", 'b"': '\\"', "model": "llama"}, "llama"),
    (b' \n\t{ "model"\n:\t"llama" } ', "llama"),
    (rb'{"model":"org\/qwen"}', "qwen"),
    (rb'{"mod\u0065l":"\u006clama"}', "llama"),
    (rb'{"model":"llama","mod\u0065l":"org/qwen"}', (400, "invalid_body")),
    (b'{"model":"llama","model":"llama"}', (400, "invalid_body")),
    ({"model": 5}, (400, "invalid_body")),
    ({"model": {"model": "llama"}}, (400, "invalid_body")),
    ({"model": ["llama"]}, (400, "invalid_body")),
    ({"model": None, "x": "llama"}, (400, "invalid_body")),
    ({"x": {"model": "llama"}}, (400, "invalid_body")),
    ([{"model": "llama"}], (400, "invalid_body")),
    (["model", "llama"], (400, "invalid_body")),
    ("model", (400, "invalid_body")),
    (b'{"model":"llama"', (400, "invalid_body")),
    (b'{"model":"llama', (400, "invalid_body")),
    (rb'{"model":"\ud800"}', (400, "invalid_body")),
    (b"model=llama", (400, "invalid_body")),
    (b"", (400, "invalid_body")),
    ({"model": ""}, (404, "model_not_found")),
    ({"model": "Llama"}, (404, "model_not_found")),
    ({"model": 'll"ama\\'}, (404, "model_not_found")),
    ({"model": "\x00"}, (404, "model_not_found")),
]


@pytest.mark.parametrize(("body", "end"), NASTY, ids=range(len(NASTY)))
async def test_a_nasty_body_leads_to_its_model_or_is_refused_in_words(
    gateway: Gateway, two: tuple[Replica, Replica], body: object, end: str | tuple[int, str]
) -> None:
    response = await post(gateway, body)
    if isinstance(end, str):
        assert response.json()["replica"] == end
        size = len(body) if isinstance(body, bytes) else len(json.dumps(body))
        assert response.json()["body_bytes"] == size
    else:
        assert code(response) == end
        assert sum(replica.served for replica in two) == 0


async def test_random_documents_are_read_as_python_reads_them(gateway: Gateway) -> None:
    chance = random.Random(7)  # noqa: S311
    names = ["m", "é", "模型/😀", 'a"b', "\\", "]]", "a b", "%41", "\n"]
    async with replicas(*(f"m{number}" for number in range(len(names)))) as all_of_them:
        routes = [service(r.name, n, r.endpoint()) for r, n in zip(all_of_them, names, strict=True)]
        await publish(gateway, *routes)

        def value(depth: int) -> object:
            kind = chance.randrange(6 if depth else 4)
            if kind == 4:
                return [value(depth - 1) for _ in range(chance.randrange(4))]
            if kind == 5:
                return {text(): value(depth - 1) for _ in range(chance.randrange(4))}
            return [text(), chance.random() * 1e9, None, chance.random() < 0.5][kind]

        def text() -> str:
            return "".join(chance.choices(["model", '"', "\\", "{", "]", ",", ":", "\u00e9", "\U0001f600", "\n"], k=3))

        for _ in range(150):
            wanted = chance.randrange(len(names))
            members = [(text(), value(3)) for _ in range(chance.randrange(5))]
            members.insert(chance.randrange(len(members) + 1), ("model", names[wanted]))
            document = json.dumps(dict(members), ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 1]))
            response = await post(gateway, document.encode())
            assert response.json().get("replica") == f"m{wanted}", document
        listed = (await gateway.client.request("gateway.localhost", "/v1/models")).json()
        assert {entry["id"] for entry in listed["data"]} == set(names)  # type: ignore[attr-defined]


async def test_an_unknown_model_is_answered_with_those_that_there_are(
    gateway: Gateway, two: tuple[Replica, Replica]
) -> None:
    response = await post(gateway, {"model": "gpt-5"})
    assert code(response) == (404, "model_not_found")
    assert response.json()["error"]["message"] == "There is no model 'gpt-5' here. There are: llama, org/qwen."  # type: ignore[index]
    assert response.json()["error"]["type"] == "invalid_request_error"  # type: ignore[index]
    await publish(gateway)
    nothing = (await post(gateway, {"model": "gpt-5"})).json()["error"]["message"]  # type: ignore[index]
    assert nothing == "There is no model 'gpt-5' here. There is none that you may call."


async def test_the_list_is_in_openais_shape(gateway: Gateway, two: tuple[Replica, Replica]) -> None:
    response = await gateway.client.request("gateway.localhost:7480", "/v1/models")
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    llama, qwen = (
        {"id": name, "object": "model", "created": 1700000000, "owned_by": "homeport"} for name in ("llama", "org/qwen")
    )
    assert response.json() == {"object": "list", "data": [llama, qwen]}
    one = await gateway.client.request("gateway.localhost", "/v1/models/org%2Fqwen")
    assert (one.status, one.json()) == (200, qwen)
    assert code(await gateway.client.request("gateway.localhost", "/v1/models/none")) == (404, "model_not_found")
    assert code(await gateway.client.request("gateway.localhost", "/v2")) == (404, "unknown_path")
    assert code(await gateway.client.request("gateway.localhost", CHAT)) == (404, "unknown_path")


async def test_a_token_for_one_service_sees_and_calls_its_model_only(
    gateway: Gateway, two: tuple[Replica, Replica]
) -> None:
    listed = await gateway.client.request("gateway.localhost", "/v1/models", token=ONLY_LLAMA)
    assert [entry["id"] for entry in listed.json()["data"]] == ["llama"]  # type: ignore[attr-defined]
    assert (await post(gateway, {"model": "llama"}, token=ONLY_LLAMA)).status == 200
    refused = await post(gateway, {"model": "org/qwen"}, token=ONLY_LLAMA)
    assert code(refused) == (404, "model_not_found")
    assert refused.json()["error"]["message"] == "There is no model 'org/qwen' here. There are: llama."  # type: ignore[index]
    one = await gateway.client.request("gateway.localhost", "/v1/models/org/qwen", token=ONLY_LLAMA)
    assert code(one) == (404, "model_not_found")
    assert two[1].served == 0


async def test_without_a_good_token_nothing_is_read_or_told(gateway: Gateway, two: tuple[Replica, Replica]) -> None:
    for path, method in ((CHAT, "POST"), ("/v1/models", "GET"), ("/v1/models/llama", "GET"), ("/", "GET")):
        for token, end in ((None, (401, "missing_token")), ("hp_wrong", (403, "invalid_token"))):
            body = b'{"model":"llama"}' if method == "POST" else b""
            for headers in ({}, {SEAL_HEADER: "1"}):
                response = await gateway.client.request(
                    "gateway.localhost", path, token=token, method=method, body=body, headers=headers
                )
                assert code(response) == end
    assert two[0].served == 0


async def test_a_model_without_auth_is_called_without_a_token_and_with_any(gateway: Gateway) -> None:
    async with replicas("open", "shut") as (free, shut):
        await publish(
            gateway,
            service("free", "free", free.endpoint(), auth=False),
            service("shut", "shut", shut.endpoint()),
        )
        for token, header in ((None, None), ("none", "Bearer none"), (TOKEN, None)):
            response = await post(gateway, {"model": "free"}, token=token)
            assert response.json()["replica"] == "open"
            seen = response.json()["headers"]
            assert seen.get("authorization") == header  # type: ignore[attr-defined]
            assert SEAL_HEADER not in seen  # type: ignore[operator]
            assert (await gateway.client.request("gateway.localhost", "/v1/models/free", token=token)).status == 200
        assert code(await post(gateway, {"model": "shut"}, token=None)) == (401, "missing_token")
        assert code(await post(gateway, {"model": "nothing"}, token=None)) == (401, "missing_token")
        assert code(await post(gateway, {"model": "shut"}, token="none")) == (403, "invalid_token")
        hidden = await gateway.client.request("gateway.localhost", "/v1/models/shut", token=None)
        assert code(hidden) == (401, "missing_token")
        for token, names in ((None, ["free"]), ("none", ["free"]), (TOKEN, ["free", "shut"])):
            listed = await gateway.client.request("gateway.localhost", "/v1/models", token=token)
            assert [entry["id"] for entry in listed.json()["data"]] == names  # type: ignore[attr-defined]
        assert shut.served == 0


async def test_bodies_that_cannot_be_read_are_refused_in_words(gateway: Gateway, two: tuple[Replica, Replica]) -> None:
    packed = await post(gateway, b"\x1f\x8b", **{"content-encoding": "gzip"})
    assert code(packed) == (415, "compressed_body")
    large = await post(gateway, {"model": "llama", "x": "y" * (33 << 20)})
    assert code(large) == (413, "body_too_large")
    assert "32 MiB" in large.json()["error"]["message"]  # type: ignore[index]
    gateway.client.close()
    fits = {"x": "y" * (20 << 20), "model": "llama"}
    assert (await post(gateway, fits)).json()["body_bytes"] == len(json.dumps(fits))
    assert two[0].served == 1


async def test_each_of_its_names_leads_to_a_model_and_all_are_listed(gateway: Gateway) -> None:
    async with replicas("llama") as (llama,):
        model = PublishedModel("llama", aliases=("org/llama-3.1", "best"))
        await publish(gateway, ServiceRoute("llama", ("llama.localhost",), True, (llama.endpoint(),), model))
        for name in model.names:
            assert (await post(gateway, {"model": name})).json()["replica"] == "llama"
        listed = (await gateway.client.request("gateway.localhost", "/v1/models")).json()
        assert sorted(entry["id"] for entry in listed["data"]) == sorted(model.names)  # type: ignore[attr-defined]


def shares(name: str, replica: Replica, weight: int | None, *, ready: bool = True) -> ServiceRoute:
    model = PublishedModel("llama", weight=weight, ready=ready)
    return ServiceRoute(name, (f"{name}.localhost",), True, (replica.endpoint(),), model)


async def test_services_of_one_model_share_its_requests_by_their_weights(gateway: Gateway) -> None:
    async with replicas("old", "canary") as (old, canary):

        async def counted(*services: ServiceRoute, token: str = TOKEN, requests: int = 400) -> Counter[object]:
            await publish(gateway, *services)
            answers = [await post(gateway, {"model": "llama"}, token=token) for _ in range(requests)]
            return Counter(answer.json().get("replica", answer.status) for answer in answers)

        found = await counted(shares("llama", old, 90), shares("canary", canary, 10))
        assert found.keys() == {"old", "canary"}
        assert 15 <= found["canary"] <= 75  # 40; beyond four standard deviations on each side
        assert await counted(shares("llama", old, None), shares("canary", canary, 0), requests=50) == {"old": 50}
        # Who has no replica that is ready gets nothing, while another one has.
        assert await counted(shares("llama", old, None, ready=False), shares("canary", canary, 1), requests=50) == {
            "canary": 50
        }
        # A token for one of them calls that one.
        assert await counted(
            shares("llama", old, 1), shares("canary", canary, 1000), token=ONLY_LLAMA, requests=50
        ) == {"old": 50}
        listed = (await gateway.client.request("gateway.localhost", "/v1/models")).json()
        assert [entry["id"] for entry in listed["data"]] == ["llama"]  # type: ignore[attr-defined]


async def test_all_paths_that_name_a_model_in_json_lead_there(gateway: Gateway, two: tuple[Replica, Replica]) -> None:
    for path in (
        "responses",
        "messages",
        "rerank",
        "score",
        "pooling",
        "classify",
        "moderations",
        "images/generations",
    ):
        assert (await post(gateway, {"model": "llama"}, path=f"/v1/{path}")).json()["path"] == f"/v1/{path}"
    assert code(await post(gateway, {"model": "llama"}, path="/v1/audio/transcriptions")) == (404, "unknown_path")


async def test_a_model_whose_service_has_no_replica_says_so(gateway: Gateway) -> None:
    await publish(gateway, service("llama", "llama"))
    assert code(await post(gateway, {"model": "llama"})) == (503, "no_ready_replica")


async def test_a_model_comes_and_goes_without_touching_the_listener(gateway: Gateway) -> None:
    async with replicas("llama", "other") as (llama, other):
        await publish(gateway)
        assert code(await post(gateway, {"model": "llama"})) == (404, "model_not_found")
        await publish(gateway, service("llama", "llama", llama.endpoint()))
        assert (await post(gateway, {"model": "llama"})).json()["replica"] == "llama"
        await publish(gateway, service("other", "llama", other.endpoint()))
        assert (await post(gateway, {"model": "llama"})).json()["replica"] == "other"
        await publish(gateway)
        assert code(await post(gateway, {"model": "llama"})) == (404, "model_not_found")


@pytest.mark.parametrize("broken", ["", 'function envoy_on_request(handle) error("broken") end'])
async def test_a_model_filter_that_does_not_run_lets_nobody_in(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """The fault is put into the source, as in test_auth."""
    monkeypatch.setattr(token_filter, "_MODELS_SOURCE", broken)
    token_filter._token_filter.cache_clear()
    try:
        async with replicas("llama") as (llama,):
            await publish(gateway, service("llama", "llama", llama.endpoint()))
            response = await post(gateway, {"model": "llama"})
            assert code(response) == (500, "token_check_failed")
            assert llama.served == 0
    finally:
        token_filter._token_filter.cache_clear()


async def test_an_upload_that_stands_still_ends_and_a_silent_answer_does_not(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_hosts, "UPLOAD_IDLE", "0.3s")
    virtual_hosts._routes.cache_clear()
    try:
        async with replicas("llama") as (llama,):
            await publish(gateway, service("llama", "llama", llama.endpoint(), prefix="/hold?"))
            host, sent = "gateway.localhost", {"authorization": f"Bearer {TOKEN}"}
            held = await gateway.client.send("POST", CHAT, host, sent, b'{"model":"llama"}')
            _, status, _ = await read_head(held)
            assert status == "200"
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                head = f"POST {CHAT} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {TOKEN}\r\n"
                writer.write(f"{head}content-length: 100\r\n\r\nhalf".encode())
                _, status, _ = await read_head(reader)
                assert status in {"408", "504"}
                writer.close()
            llama.release.set()  # its answer was silent for as long as the other was given, and goes on
            assert await asyncio.wait_for(read_body(held, {"transfer-encoding": "chunked"}), 10) == b"firstlast"
    finally:
        virtual_hosts._routes.cache_clear()
