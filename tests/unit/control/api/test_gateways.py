"""api/gateways and api/publishing: plan, apply, delete and choose gateways, by the wire; and which one a service gets."""

import asyncio
import json
import time
from typing import Any

import grpc
import pytest
from fixtures.control import State, add_gateway, add_host, add_run, get_gateway, get_run, service, until_true
from fixtures.plane import Api, first, refusal
from homeport_control.domain.certificates import Kept
from homeport_control.domain.hosts import Connection
from homeport_control.loops.certificates import CertificatesLoop
from homeport_control.spec.service import spec_from_json
from homeport_control.store import certificates, gateways, hosts, runs
from homeport_protos.api.v1 import api_pb2


def document(**fields: Any) -> str:
    least = {"type": "gateway", "name": "main", "domain": "example.com", "certificate": None}
    return json.dumps({**least, **fields})


async def plan(api: Api, **fields: Any) -> api_pb2.PlanGatewayResponse:
    answer: api_pb2.PlanGatewayResponse = await api("PlanGateway", api_pb2.PlanGatewayRequest(json=document(**fields)))
    return answer


async def apply(api: Api, **fields: Any) -> api_pb2.ApplyGatewayResponse:
    request = api_pb2.PlanGatewayRequest(json=document(**fields))
    answer: api_pb2.ApplyGatewayResponse = await api("ApplyGateway", request)
    assert list(answer.problems) == []
    return answer


async def listed(api: Api) -> dict[str, api_pb2.Gateway]:
    answer = await api("ListGateways", api_pb2.ListGatewaysRequest())
    return {it.name: it for it in answer.gateways}


async def submit(api: Api, name: str = "hello", **fields: Any) -> api_pb2.ApplyResponse:
    wanted = api_pb2.Document(json=json.dumps(service(name, **fields)))
    answer: api_pb2.ApplyResponse = await api("Apply", api_pb2.ApplyRequest(document=wanted))
    return answer


async def test_a_gateway_is_planned_made_found_unchanged_and_changed(state: State, admin: Api) -> None:
    planned = await plan(admin)
    assert (planned.name, planned.action, list(planned.changes)) == ("main", "create", [])
    assert {it.name: it.value for it in planned.properties} == {
        "Configuration": "gateway",
        "Name": "main",
        "Domain": "*.example.com, models at http://gateway.example.com/v1",
        "Host": "h1",
        "Listens on": "0.0.0.0:80",
        "Certificate": "none",
        "Default": "no",
    }
    assert "main" not in await listed(admin), "a plan changes nothing"
    assert (await apply(admin)).action == "create"
    made = (await listed(admin))["main"]
    assert (made.host, made.wanted_host, made.ready, made.message) == (
        "h1",
        "local",
        False,
        "its Envoy has not been heard yet",
    )
    assert (made.example_url, made.listens) == ("http://NAME.example.com", "0.0.0.0:80")
    assert (await plan(admin)).action == "unchanged"
    assert (await apply(admin)).action == "unchanged"
    planned = await plan(admin, domain="new.example", default=True)
    assert planned.action == "update"
    assert [(it.path, it.old, it.new) for it in planned.changes] == [
        ("domain", "example.com", "new.example"),
        ("default", "no", "yes"),
    ]
    await apply(admin, domain="new.example", default=True)
    changed = (await listed(admin))["main"]
    assert (changed.domain, changed.old_domain, changed.default) == ("new.example", "example.com", True)
    assert not (await listed(admin))["local"].default


async def test_what_its_envoy_said_stays_true_while_its_host_is_the_same(state: State, admin: Api) -> None:
    await add_host(state, "h2")
    await apply(admin)
    async with state.database.write() as write:
        await gateways.update(write, "main", ready=True, message="")
    await apply(admin, domain="b.c")
    assert (await get_gateway(state, "main")).ready
    await apply(admin, domain="b.c", host="h2")
    moved = await get_gateway(state, "main")
    assert (moved.host_id, moved.ready, moved.message) == ("h2", False, "its Envoy has not been heard yet")


async def test_a_file_without_a_name_is_about_the_gateway_of_its_domain(admin: Api) -> None:
    name = (await apply(admin, name=None)).name
    assert name in await listed(admin)
    assert (await apply(admin, name=None, default=True)).name == name


async def test_the_servers_own_may_be_applied_and_is_as_the_file_says_from_then_on(state: State, admin: Api) -> None:
    same = {"name": "local", "domain": "localhost", "http_port": 7480}
    assert (await apply(admin, **same)).action == "update", "it is the file's now"
    assert (await apply(admin, **same)).action == "unchanged"
    own = await get_gateway(state)
    assert (own.applied, own.ready, own.default) == (True, True, True)


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ({"host": "gpu-9"}, "host", "there is no host `gpu-9`"),
        ({"host": "10.0.0.7"}, "host", "there is no host `10.0.0.7`"),
        ({"host": {"hostname": "edge", "port": 2222}}, "host", "has no user"),
        ({"domain": "localhost", "http_port": 7480}, "http_port", "7480 is the port of the gateway `local`"),
        ({"domain": "localhost"}, "domain", "`localhost` is the domain of the gateway `local`"),
        ({"http_port": 0}, "http_port", "is not a port"),
        ({"address": "eth0"}, "address", "is not an address to listen on"),
        ({"domian": "b.c"}, "domian", "unknown key `domian`"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_place(
    admin: Api, fields: dict[str, Any], path: str, words: str
) -> None:
    answer = await plan(admin, **fields)
    assert words in {problem.path: problem.message for problem in answer.problems}[path]
    assert all(problem.hint for problem in answer.problems if problem.path != "domian")
    request = api_pb2.PlanGatewayRequest(json=document(**fields))
    assert (await admin("ApplyGateway", request)).problems == answer.problems
    assert set(await listed(admin)) == {"local"}


async def test_a_plan_that_is_stale_is_not_carried_out(admin: Api) -> None:
    planned = await plan(admin)
    await apply(admin, domain="b.c")
    stale = api_pb2.PlanGatewayRequest(json=document(), plan_token=planned.plan_token)
    code, words = await refusal(admin("ApplyGateway", stale))
    assert code is grpc.StatusCode.ABORTED
    assert "was changed after this plan was made" in words


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("ApplyGateway", api_pb2.PlanGatewayRequest(json=document())),
        ("DeleteGateway", api_pb2.GatewayRequest(name="local")),
        ("SetDefaultGateway", api_pb2.GatewayRequest(name="local")),
    ],
)
async def test_only_an_admin_changes_gateways(user: Api, method: str, request_: Any) -> None:
    code, _ = await refusal(user(method, request_))
    assert code is grpc.StatusCode.PERMISSION_DENIED


async def test_a_service_gets_the_gateway_that_it_names_or_the_default_of_its_moment(state: State, admin: Api) -> None:
    await add_gateway(state, "main", domain="b.c", http_port=80, ready=True)
    first_run = (await submit(admin, "one")).run_id
    await admin("SetDefaultGateway", api_pb2.GatewayRequest(name="main"))
    second_run = (await submit(admin, "two")).run_id
    third_run = (await submit(admin, "three", gateway="local")).run_id
    found = [spec_from_json((await get_run(state, run)).newest.spec_json) for run in (first_run, second_run, third_run)]
    assert [spec.gateway for spec in found] == ["local", "main", "local"]
    shown = {run.name: run.url for run in (await admin("ListRuns", api_pb2.ListRunsRequest())).runs}
    assert shown == {
        "one": "http://one.localhost:7480",
        "two": "http://two.b.c",
        "three": "http://three.localhost:7480",
    }
    assert {name: list(it.services) for name, it in (await listed(admin)).items()} == {
        "local": ["one", "three"],
        "main": ["two"],
    }


async def test_another_default_is_a_change_of_the_next_apply_and_says_so(state: State, admin: Api) -> None:
    await add_gateway(state, "main", domain="b.c", http_port=80, ready=True)
    await submit(admin)
    await admin("SetDefaultGateway", api_pb2.GatewayRequest(name="main"))
    request = api_pb2.PlanRequest(document=api_pb2.Document(json=json.dumps(service())))
    planned = await admin("Plan", request)
    assert [(it.path, it.old, it.new, it.how) for it in planned.changes] == [("gateway", "local", "main", "in place")]


async def test_a_run_from_before_there_were_several_is_unchanged(state: State, admin: Api) -> None:
    await add_run(state)
    request = api_pb2.PlanRequest(document=api_pb2.Document(json=json.dumps(service())))
    assert (await admin("Plan", request)).action == "unchanged"


async def test_a_gateway_that_is_not_there_is_a_problem_of_the_file(state: State, admin: Api) -> None:
    (problem,) = (await submit(admin, gateway="other")).problems
    assert (problem.path, problem.message, problem.hint) == (
        "gateway",
        "there is no gateway `other`",
        "These are there: `local`",
    )
    async with state.database.write() as write:
        await gateways.update(write, "local", default=False)
    (problem,) = (await submit(admin)).problems
    assert (problem.message, problem.hint) == (
        "is not given, and no gateway is the default",
        "Choose one: `homeport gateway set-default NAME`",
    )


async def test_a_gateway_is_deleted_only_when_nothing_needs_it(state: State, admin: Api) -> None:
    await add_gateway(state, "main", domain="b.c", http_port=80)
    await add_run(state, "two", gateway="local")
    await add_run(state, "one")
    delete = api_pb2.GatewayRequest(name="local")
    code, words = await refusal(admin("DeleteGateway", delete))
    assert code is grpc.StatusCode.ABORTED
    assert words.startswith("gateway local publishes 2 services (one, two); stop them")
    await admin("StopRuns", api_pb2.StopRunsRequest(names=["one", "two"], abort=True))
    async with state.database.write() as write:
        for run in await runs.list_active(write.connection):
            await runs.update(write, run.id, ended_at_s=5.0)
    code, words = await refusal(admin("DeleteGateway", delete))
    assert words == "gateway local is the default; choose another first: homeport gateway set-default NAME"
    assert (await admin("DeleteGateway", api_pb2.GatewayRequest(name="main"))).sentence == "gateway main is deleted"
    await admin("DeleteGateway", delete)
    assert await listed(admin) == {}
    code, words = await refusal(admin("DeleteGateway", delete))
    assert (code, words) == (grpc.StatusCode.NOT_FOUND, "no gateway local; `homeport gateway list` shows all")


async def test_the_only_gateway_that_there_is_is_the_default(state: State, admin: Api) -> None:
    await admin("DeleteGateway", api_pb2.GatewayRequest(name="local"))
    await apply(admin)
    assert (await get_gateway(state, "main")).default


async def test_what_is_wrong_although_it_is_ready_is_told(state: State, admin: Api) -> None:
    async with state.database.write() as write:
        await gateways.update(write, "local", refused="bad field")
        away = {"connection": Connection.UNREACHABLE, "connection_reason": "its session broke"}
        await hosts.update(write, "h1", away)
    local = (await listed(admin))["local"]
    assert local.ready
    assert local.notice == (
        "Envoy refused its newest configuration, the last good one stays: bad field; "
        "its host h1 is unreachable (its session broke); what it serves goes on"
    )


async def test_a_watch_tells_when_a_gateway_becomes_ready(state: State, admin: Api) -> None:
    await apply(admin)
    watch = admin.stream("WatchGateways", api_pb2.ListGatewaysRequest())
    assert [it.ready for it in (await first(watch)).gateways] == [True, False]
    async with state.database.write() as write:
        await gateways.update(write, "main", ready=True, message="")
    assert [it.ready for it in (await first(watch)).gateways] == [True, True]
    watch.cancel()


async def test_an_apply_that_meets_the_end_of_its_gateway_is_told_so(state: State, admin: Api) -> None:
    main = await add_gateway(state, "main", domain="b.c", http_port=80, ready=True)
    async with state.database.write() as write:
        applying = asyncio.create_task(refusal(submit(admin, gateway="main")))
        await until_true(lambda: state.database._writing._waiters)  # it has looked, and waits for its turn to write
        await gateways.remove(write, main)
    code, words = await applying
    assert code is grpc.StatusCode.ABORTED
    assert words == "gateway main was deleted just now; run `homeport apply` again"


async def test_the_ca_of_a_gateway_is_told_when_it_has_one(state: State, admin: Api) -> None:
    ask = api_pb2.GatewayRequest(name="main")
    assert (await refusal(admin("GetGatewayCa", ask)))[0] is grpc.StatusCode.NOT_FOUND
    await apply(admin, certificate="self-signed", default=True)
    code, words = await refusal(admin("GetGatewayCa", ask))
    assert (code, words) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "the CA of gateway main is not made yet; ask again in a moment",
    )
    await CertificatesLoop(state.database, state.sealer).turn(time.time())
    answer = await admin("GetGatewayCa", api_pb2.GatewayRequest())
    assert (answer.name, answer.ca_pem[:27]) == ("main", "-----BEGIN CERTIFICATE-----")
    _, words = await refusal(admin("GetGatewayCa", api_pb2.GatewayRequest(name="local")))
    assert words == "gateway local has no CA of its own: its certificate is `none`"


async def test_a_gateway_with_a_certificate_is_called_by_https(state: State, admin: Api) -> None:
    await apply(admin, certificate="self-signed")
    async with state.database.write() as write:
        await gateways.update(write, "main", ready=True)
    main = (await listed(admin))["main"]
    assert (main.example_url, main.listens) == ("https://NAME.example.com", "0.0.0.0:80, 0.0.0.0:443")
    for name, https in (("one", "auto"), ("two", True), ("three", False)):
        assert (await submit(admin, name, gateway="main", https=https)).action == "create"
    shown = {run.name: run.url for run in (await admin("ListRuns", api_pb2.ListRunsRequest())).runs}
    assert shown == {
        "one": "https://one.example.com",
        "two": "https://two.example.com",
        "three": "http://three.example.com",
    }


async def test_https_alone_is_refused_where_the_gateway_has_no_certificate(admin: Api) -> None:
    (problem,) = (await submit(admin, https=True)).problems
    assert (problem.path, problem.message) == ("https", "the gateway `local` has no certificate")


async def test_what_is_wrong_with_a_certificate_is_told(state: State, admin: Api) -> None:
    await apply(admin, certificate={"type": "files", "cert": "/nowhere/c", "key": "/nowhere/k"})
    await CertificatesLoop(state.database, state.sealer).turn(time.time())
    main = (await listed(admin))["main"]
    assert main.notice == (
        "its certificate: /nowhere/c cannot be read on the server's machine: No such file or directory"
    )
    assert not main.HasField("certificate_until")


async def test_a_hook_is_shown_and_another_is_tried_at_once(state: State, admin: Api) -> None:
    proof = {"type": "lets-encrypt", "challenge": "dns-01", "hook": "/hook"}
    shown = {it.name: it.value for it in (await plan(admin, certificate=proof)).properties}
    assert shown["Certificate"] == "lets-encrypt dns-01 /hook"
    await apply(admin, certificate=proof)
    source = "https://acme-v02.api.letsencrypt.org/directory"
    failed = Kept("main", "*.example.com", source, problem="the hook fails", failures=9, next_try_s=time.time() + 9999)
    async with state.database.write() as write:
        await certificates.put(write, failed)
    assert (await listed(admin))["main"].notice == "its certificate for *.example.com: the hook fails"
    await apply(admin, certificate=proof, default=True)
    async with state.database.read() as connection:
        assert await certificates.get(connection, "main", "*.example.com") == failed
    await apply(admin, certificate={**proof, "hook": "/another"}, default=True)
    async with state.database.read() as connection:
        kept = await certificates.get(connection, "main", "*.example.com")
    assert kept is not None
    assert kept.next_try_s == 0


async def test_http3_is_shown_kept_and_a_change_like_others(state: State, admin: Api) -> None:
    await apply(admin, certificate="self-signed")
    planned = await plan(admin, certificate="self-signed", http3=True)
    assert [(it.path, it.old, it.new) for it in planned.changes] == [("HTTP/3", "no", "yes")]
    await apply(admin, certificate="self-signed", http3=True)
    assert (await get_gateway(state, "main")).http3
    assert (await listed(admin))["main"].listens == "0.0.0.0:80, 0.0.0.0:443, HTTP/3 by UDP"
    (problem,) = (await plan(admin, http3=True)).problems
    assert (problem.path, problem.message) == ("http3", "HTTP/3 needs a certificate")
