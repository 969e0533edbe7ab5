"""Who may call what, through a real Envoy: tokens, grants, and the bodies of refusals."""

import pytest
from homeport_control.domain.gateway import PublishedModel, ServiceRoute, TokenGrant
from homeport_control.xds import token_filter
from homeport_control.xds.token_filter import SEAL_HEADER
from rig.gateway import TOKEN, Gateway, replicas, sha256

pytestmark = pytest.mark.envoy


def error(response: object) -> dict[str, str]:
    body = response.json()  # type: ignore[attr-defined]
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["param"] is None
    return body["error"]  # type: ignore[no-any-return]


async def test_a_request_with_a_good_token_reaches_the_replica_without_the_token(gateway: Gateway) -> None:
    async with replicas("r1") as (r1,):
        await gateway.control.publish(gateway.snapshot(r1.endpoint()))
        response = await gateway.client.request(path="/v1/x?y=1", headers={"x-mine": "kept"})
        assert response.status == 200
        seen = response.json()
        assert seen["path"] == "/v1/x?y=1"
        assert seen["headers"]["x-mine"] == "kept"  # type: ignore[index]
        assert "authorization" not in seen["headers"]  # type: ignore[operator]
        assert SEAL_HEADER not in seen["headers"]  # type: ignore[operator]
        again = await gateway.client.request()
        assert again.status == 200  # from the cache of tokens this time


async def test_refusals_are_json_that_says_what_is_wrong(gateway: Gateway) -> None:
    async with replicas("r1") as (r1,):
        await gateway.control.publish(gateway.snapshot(r1.endpoint()))
        client = gateway.client

        missing = await client.request(token=None)
        assert (missing.status, missing.headers["www-authenticate"]) == (401, "Bearer")
        assert error(missing)["code"] == "missing_token"
        assert missing.headers["content-type"] == "application/json"
        basic = await client.request(token=None, headers={"authorization": "Basic aGk6aGk="})
        assert basic.status == 401

        wrong = await client.request(token="hp_wrong")
        assert (wrong.status, error(wrong)["code"]) == (403, "invalid_token")

        unknown = await client.request(host="nobody.localhost:7480")
        assert (unknown.status, error(unknown)["code"]) == (404, "service_not_found")
        assert "nobody.localhost:7480" in error(unknown)["message"]
        assert r1.served == 0


async def test_a_service_without_a_replica_says_so(gateway: Gateway) -> None:
    await gateway.control.publish(gateway.snapshot())
    response = await gateway.client.request()
    assert (response.status, error(response)["message"]) == (503, "No replica of hello is ready.")
    assert error(response)["code"] == "no_ready_replica"


async def test_no_header_from_a_client_opens_the_door(gateway: Gateway) -> None:
    async with replicas("r1") as (r1,):
        await gateway.control.publish(gateway.snapshot(r1.endpoint()))
        for name, value in ((SEAL_HEADER, "1"), (SEAL_HEADER, ""), ("x-homeport-grant", "*")):
            assert (await gateway.client.request(token=None, headers={name: value})).status == 401
            assert (await gateway.client.request(token="hp_wrong", headers={name.title(): value})).status == 403
        assert (await gateway.client.request(token=sha256(TOKEN))).status == 403
        assert r1.served == 0
        seen = (await gateway.client.request(headers={SEAL_HEADER: "7"})).json()
        assert SEAL_HEADER not in seen["headers"]  # type: ignore[operator]


@pytest.mark.parametrize("broken", ["", 'function envoy_on_request(handle) error("broken") end'])
async def test_a_token_filter_that_does_not_run_lets_nobody_in(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Envoy lets a request go on when its Lua fails; the seal is what stops it. The fault is put into the source."""
    monkeypatch.setattr(token_filter, "_SOURCE", broken)
    token_filter._token_filter.cache_clear()
    try:
        async with replicas("r1") as (r1,):
            await gateway.control.publish(gateway.snapshot(r1.endpoint()))
            for headers in ({}, {SEAL_HEADER: "1"}, {"x-homeport-grant": "*"}):
                for token in (TOKEN, None):
                    refused = await gateway.client.request(token=token, headers=headers)
                    assert (refused.status, error(refused)["code"]) == (500, "token_check_failed")
            assert r1.served == 0
    finally:
        token_filter._token_filter.cache_clear()


async def test_the_scheme_of_the_header_may_be_written_in_any_case(gateway: Gateway) -> None:
    async with replicas("r1") as (r1,):
        await gateway.control.publish(gateway.snapshot(r1.endpoint()))
        response = await gateway.client.request(token=None, headers={"Authorization": f"bearer {TOKEN}"})
        assert response.status == 200


async def test_a_token_works_when_it_is_made_and_stops_when_it_is_revoked(gateway: Gateway) -> None:
    async with replicas("r1") as (r1,):
        both = (TokenGrant(sha256(TOKEN)), TokenGrant(sha256("hp_second")))
        await gateway.control.publish(gateway.snapshot(r1.endpoint()))
        assert (await gateway.client.request(token="hp_second")).status == 403
        await gateway.control.publish(gateway.snapshot(r1.endpoint(), tokens=both))
        assert (await gateway.client.request(token="hp_second")).status == 200
        await gateway.control.publish(gateway.snapshot(r1.endpoint()))
        assert (await gateway.client.request(token="hp_second")).status == 403
        assert (await gateway.client.request()).status == 200


async def test_a_service_token_calls_its_own_services_only(gateway: Gateway) -> None:
    async with replicas("r1", "r2") as (r1, r2):
        other = ServiceRoute("hello-2", ("hello-2.localhost",), True, (r2.endpoint(),))
        tokens = (TokenGrant(sha256(TOKEN)), TokenGrant(sha256("hp_service"), ("hello",)))
        await gateway.control.publish(gateway.snapshot(r1.endpoint(), services=(other,), tokens=tokens))
        assert (await gateway.client.request(token="hp_service")).status == 200
        refused = await gateway.client.request("hello-2.localhost", token="hp_service")
        assert (refused.status, error(refused)["code"]) == (403, "invalid_token")
        assert (await gateway.client.request("hello-2.localhost")).status == 200


async def test_a_replica_sees_the_token_only_where_the_file_says_so(gateway: Gateway) -> None:
    async with replicas("r1") as (r1,):
        for forward_token, seen in ((True, f"Bearer {TOKEN}"), (False, None)):
            model = ServiceRoute(
                "llm", ("llm.localhost",), True, (r1.endpoint(),), PublishedModel("llama"), forward_token=forward_token
            )
            await gateway.control.publish(
                gateway.snapshot(r1.endpoint(), forward_token=forward_token, services=(model,))
            )
            for host, path in (
                ("hello.localhost", "/"),
                ("llm.localhost", "/"),
                ("gateway.localhost", "/v1/embeddings"),
            ):
                answer = await gateway.client.request(host, path, method="POST", body=b'{"model":"llama"}')
                assert answer.json()["headers"].get("authorization") == seen  # type: ignore[attr-defined]
            assert (await gateway.client.request(token="hp_wrong")).status == 403


async def test_a_service_without_auth_needs_no_token_and_keeps_the_header_of_its_own(gateway: Gateway) -> None:
    async with replicas("r1") as (r1,):
        await gateway.control.publish(gateway.snapshot(r1.endpoint(), auth=False))
        response = await gateway.client.request(token="of-the-application")
        assert response.status == 200
        assert response.json()["headers"]["authorization"] == "Bearer of-the-application"  # type: ignore[index]
        assert SEAL_HEADER not in response.json()["headers"]  # type: ignore[operator]
        await gateway.control.publish(gateway.snapshot(r1.endpoint(), auth=True))
        assert (await gateway.client.request(token=None)).status == 401
