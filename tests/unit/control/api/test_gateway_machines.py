"""api/gateway_machines: a gateway on a machine over SSH, by the wire: planned, registered, moved, taken out."""

import json
from dataclasses import replace
from typing import Any

import grpc
import pytest
from fixtures.control import State, a_host, add_host, get_gateway
from fixtures.plane import Api, refusal
from homeport_control.domain.hosts import GATEWAYS_FLEET, Connection
from homeport_control.store import gateways, hosts
from homeport_protos.api.v1 import api_pb2

EDGE = "ops@edge.example.com"


def request(host: object = EDGE, reinstall: bool = False, **fields: Any) -> api_pb2.PlanGatewayRequest:
    least = {"type": "gateway", "name": "main", "domain": "example.com", "certificate": None, "host": host}
    return api_pb2.PlanGatewayRequest(json=json.dumps({**least, **fields}), reinstall=reinstall)


async def install(state: State, api: Api, answer: api_pb2.ApplyGatewayResponse, host_id: str) -> None:
    """What the command line tells when the machine has joined."""
    [wanted] = answer.installs
    async with state.database.write() as write:
        await hosts.insert(write, replace(a_host(host_id), fleet=GATEWAYS_FLEET, name=f"{host_id}-name"))
    place = {"fleet": answer.fleet, "hostname": wanted.place.hostname, "port": wanted.place.port}
    await api("ReportRegistration", api_pb2.RegistrationReport(**place, step="connected", host_id=host_id))


async def shown(api: Api, name: str = "main") -> api_pb2.Gateway:
    answer = await api("ListGateways", api_pb2.ListGatewaysRequest())
    [found] = [it for it in answer.gateways if it.name == name]
    return found  # type: ignore[no-any-return]


async def test_it_is_planned_registered_and_gets_its_role_when_the_machine_has_joined(state: State, admin: Api) -> None:
    planned = await admin("PlanGateway", request())
    assert planned.action == "create"
    [machine] = planned.machines
    assert (machine.action, machine.reason) == ("new", "agent and Envoy are installed")
    assert machine.place == api_pb2.Place(hostname="edge.example.com", port=22, user="ops")
    values = {it.name: it.value for it in planned.properties}
    assert values["Host"] == f"{EDGE} over SSH: it runs gateways only"

    applied = await admin("ApplyGateway", request())
    [wanted] = applied.installs
    assert (wanted.gateway, bool(wanted.token), wanted.survey) == (True, True, False)
    waiting = await shown(admin)
    assert (waiting.ready, waiting.host) == (False, "")
    assert waiting.message == f"{EDGE}: registered; nobody is at it: apply the gateway again"
    report = api_pb2.RegistrationReport(fleet=applied.fleet, hostname="edge.example.com", port=22)
    report.step = "connecting"
    await admin("ReportRegistration", report)
    assert (await shown(admin)).message == f"{EDGE}: connecting"
    await admin("ReportRegistration", api_pb2.RegistrationReport(**_place(report), error="no route"))
    assert "connecting failed: no route; next try: when the gateway is applied again" in (await shown(admin)).message
    assert [it.action for it in (await admin("PlanGateway", request())).machines] == ["repair"]

    await install(state, admin, applied, "edge")
    assert (await get_gateway(state, "main")).host_id == "edge"
    assert (await shown(admin)).message == gateways.NOT_HEARD
    again = await admin("PlanGateway", request())
    assert (again.action, [it.action for it in again.machines]) == ("unchanged", ["unchanged"])
    assert not (await admin("ApplyGateway", request())).installs
    assert len((await admin("ApplyGateway", request(reinstall=True))).installs) == 1


def _place(report: api_pb2.RegistrationReport) -> dict[str, Any]:
    return {"fleet": report.fleet, "hostname": report.hostname, "port": report.port}


async def test_a_machine_that_is_away_is_repaired_by_the_next_apply(state: State, admin: Api) -> None:
    await install(state, admin, await admin("ApplyGateway", request()), "edge")
    async with state.database.write() as write:
        await hosts.update(write, "edge", {"connection": Connection.UNREACHABLE, "connection_reason": "it broke"})
    planned = await admin("PlanGateway", request())
    assert (planned.action, list(planned.changes), planned.machines[0].action) == ("update", [], "repair")
    assert len((await admin("ApplyGateway", request())).installs) == 1
    assert (await get_gateway(state, "main")).host_id == "edge", "it keeps its role meanwhile"


async def test_it_stays_where_it_is_until_its_next_machine_has_joined(state: State, admin: Api) -> None:
    await install(state, admin, await admin("ApplyGateway", request()), "edge")
    async with state.database.write() as write:
        await gateways.update(write, "main", ready=True, message="")
    planned = await admin("PlanGateway", request("ops@other"))
    assert [(it.place.hostname, it.action, it.host) for it in planned.machines] == [
        ("other", "new", ""),
        ("edge.example.com", "gone", "edge-name"),
    ]
    assert [(it.path, it.old, it.new) for it in planned.changes] == [("host", EDGE, "ops@other")]
    applied = await admin("ApplyGateway", request("ops@other"))
    moving = await shown(admin)
    assert (moving.host, moving.ready) == ("edge-name", True)
    assert moving.notice.startswith("it moves from edge-name to ops@other: registered")
    code, words = await refusal(admin("DeleteHost", api_pb2.DeleteHostRequest(host="edge")))
    assert (code, "it is the host of the gateway main" in words) == (grpc.StatusCode.ABORTED, True)

    await install(state, admin, applied, "other")
    assert (await get_gateway(state, "main")).host_id == "other"
    planned = await admin("PlanGateway", request("ops@other"))
    assert (planned.action, planned.machines[1].host) == ("update", "edge-name"), "who was cut off takes it out later"
    await admin("DeleteHost", api_pb2.DeleteHostRequest(host="edge"))
    assert (await admin("PlanGateway", request("ops@other"))).action == "unchanged"


async def test_back_on_a_host_that_is_there_its_machine_is_to_be_taken_out(state: State, admin: Api) -> None:
    await install(state, admin, await admin("ApplyGateway", request()), "edge")
    planned = await admin("PlanGateway", request("local"))
    assert [(it.action, it.host) for it in planned.machines] == [("gone", "edge-name")]
    assert not (await admin("ApplyGateway", request("local"))).installs
    assert (await get_gateway(state, "main")).host_id == "h1"


async def test_the_last_gateway_that_leaves_a_machine_takes_it_along(state: State, admin: Api) -> None:
    await install(state, admin, await admin("ApplyGateway", request()), "edge")
    more = {"name": "more", "domain": "b.c", "http_port": 8080}
    clash = (await admin("PlanGateway", request(**{**more, "http_port": 80}))).problems
    assert [it.path for it in clash] == ["http_port"]
    applied = await admin("ApplyGateway", request(**more))
    assert (list(applied.installs), (await shown(admin, "more")).host) == ([], "edge-name")
    answer = await admin("DeleteGateway", api_pb2.GatewayRequest(name="main"))
    assert (answer.sentence, list(answer.gone)) == ("gateway main is deleted", [])
    answer = await admin("DeleteGateway", api_pb2.GatewayRequest(name="more"))
    assert [(it.host, it.place.user) for it in answer.gone] == [("edge-name", "ops")]


async def test_one_that_never_joined_is_forgotten_with_its_gateway(admin: Api) -> None:
    await admin("ApplyGateway", request())
    assert [it.fleet for it in (await admin("ListHosts", api_pb2.ListHostsRequest())).hosts if not it.id]
    assert not (await admin("DeleteGateway", api_pb2.GatewayRequest(name="main"))).gone
    assert not [it for it in (await admin("ListHosts", api_pb2.ListHostsRequest())).hosts if not it.id]


async def test_two_that_wait_for_one_machine_share_no_port_of_it(admin: Api) -> None:
    await admin("ApplyGateway", request())
    planned = await admin("PlanGateway", request(name="more", domain="b.c"))
    assert [it.path for it in planned.problems] == ["http_port"]


async def test_a_machine_of_a_fleet_is_refused_with_its_name(state: State, admin: Api) -> None:
    await add_host(state, "h2")
    fleet = {"type": "fleet", "name": "local", "ssh_config": {"user": "ops", "hosts": ["edge.example.com"]}}
    await admin("ApplyFleet", api_pb2.PlanFleetRequest(json=json.dumps(fleet)))
    place = {"fleet": "local", "hostname": "edge.example.com", "port": 22}
    await admin("ReportRegistration", api_pb2.RegistrationReport(**place, host_id="h2"))
    [problem] = (await admin("PlanGateway", request())).problems
    assert (problem.path, problem.hint) == ("host", "Write its name: `host: h2`")
    # Known by another name, it is found out when it has been installed.
    await admin("ApplyGateway", request("ops@alias"))
    report = api_pb2.RegistrationReport(fleet=GATEWAYS_FLEET, hostname="alias", port=22, host_id="h2")
    code, words = await refusal(admin("ReportRegistration", report))
    assert code is grpc.StatusCode.ABORTED
    assert "write `host: h2` for a gateway on it" in words


async def test_one_whose_machine_was_removed_by_force_says_so(state: State, admin: Api) -> None:
    await install(state, admin, await admin("ApplyGateway", request()), "edge")
    await admin("DeleteHost", api_pb2.DeleteHostRequest(host="edge", force=True))
    assert (await shown(admin)).message == "its host edge-name was removed: apply it again, or with another"
    assert [it.action for it in (await admin("PlanGateway", request())).machines] == ["new"]


@pytest.mark.parametrize("where", ["local", "edge-name"])
async def test_a_machine_for_gateways_is_found_by_its_name_and_is_never_local(
    state: State, admin: Api, where: str
) -> None:
    await install(state, admin, await admin("ApplyGateway", request()), "edge")
    await admin("ApplyGateway", request(where, name="more", domain="b.c", http_port=8081))
    assert (await get_gateway(state, "more")).host_id == ("edge" if where == "edge-name" else "h1")
