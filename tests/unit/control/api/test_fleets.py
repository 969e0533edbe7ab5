"""api/fleets: plan, keep, report, delete; over the wire, with the real database."""

import json
from typing import Any

import grpc
from fixtures.control import State, add_host
from fixtures.plane import Api, refusal
from homeport_control.api.fleets import STALLED_S, pending_message
from homeport_control.domain.fleets import Place, Registration
from homeport_control.store import hosts
from homeport_protos.api.v1 import api_pb2

DOCUMENT = {
    "type": "fleet",
    "name": "local",  # the fleet that add_host puts its hosts in
    "labels": {"rack": "a"},
    "region": "cellar",
    "ssh_config": {
        "user": "ops",
        "identity_file": "~/.ssh/k",
        "proxy_jump": {"hostname": "bastion"},
        "hosts": ["gpu-1", {"hostname": "gpu-2", "port": 2222, "user": "root"}, "bastion"],
    },
}


def request(**changed: Any) -> api_pb2.PlanFleetRequest:
    return api_pb2.PlanFleetRequest(json=json.dumps({**DOCUMENT, **changed}))


def report(**fields: Any) -> api_pb2.RegistrationReport:
    return api_pb2.RegistrationReport(**{"fleet": "local", "hostname": "gpu-1", "port": 22, **fields})


async def listed(api: Api) -> dict[str, api_pb2.Host]:
    return {host.address: host for host in (await api("ListHosts", api_pb2.ListHostsRequest())).hosts}


async def test_the_plan_fills_in_the_fleets_defaults(user: Api) -> None:
    answer = await user("PlanFleet", request())
    first, second, bastion = answer.hosts
    jump = api_pb2.Place(hostname="bastion", port=22, user="ops", identity_file="~/.ssh/k")
    assert (answer.name, answer.action, first.action) == ("local", "create", "new")
    assert first.place == api_pb2.Place(hostname="gpu-1", port=22, user="ops", identity_file="~/.ssh/k", jump=jump)
    assert (second.place.port, second.place.user) == (2222, "root")
    assert not bastion.place.HasField("jump"), "the way to the jump host does not lead through itself"


async def test_mistakes_come_back_with_their_place(user: Api) -> None:
    bad = await user("PlanFleet", request(ssh_config={"hosts": ["gpu-1"]}))
    assert [problem.path for problem in bad.problems] == ["ssh_config.hosts[0]"]
    keyless = await user("PlanFleet", request(provision="on-demand", ssh_config={"user": "u", "hosts": ["a"]}))
    assert [problem.path for problem in keyless.problems] == ["ssh_config.hosts[0]"]
    nameless = await user("PlanFleet", request(name=None))
    assert [problem.path for problem in nameless.problems] == ["name"]


async def test_only_an_admin_may_change_a_fleet(user: Api) -> None:
    for method, message in (("ApplyFleet", request()), ("ReportRegistration", report())):
        code, _ = await refusal(user(method, message))
        assert code is grpc.StatusCode.PERMISSION_DENIED


async def test_each_machine_gets_a_token_of_its_own_and_waits_until_somebody_installs_it(admin: Api) -> None:
    applied = await admin("ApplyFleet", request())
    assert len({install.token for install in applied.installs}) == 3
    row = (await listed(admin))["gpu-1"]
    assert (row.state, row.fleet) == ("pending", "local")
    assert row.reason == "registered; nobody is at it: apply the fleet again"


async def test_a_step_and_an_error_are_shown_until_it_is_a_host(state: State, admin: Api) -> None:
    await add_host(state, "h2")
    await admin("ApplyFleet", request())
    await admin("ReportRegistration", report(step="installing"))
    assert (await listed(admin))["gpu-1"].state == "provisioning"
    await admin("ReportRegistration", report(error="no Docker"))
    row = (await listed(admin))["gpu-1"]
    assert (row.state, row.reason) == (
        "pending", "installing failed: no Docker; next try: when the fleet is applied again",
    )  # fmt: skip
    await admin("ReportRegistration", report(step="connected", host_id="h2"))
    rows = await listed(admin)
    assert rows["gpu-1"].id == "h2", "the host is known by the address that the file gives it"
    assert [host.action for host in (await admin("PlanFleet", request())).hosts] == ["unchanged", "repair", "repair"]


async def test_labels_and_region_of_the_fleet_are_its_hosts_and_go_with_it(state: State, admin: Api) -> None:
    await add_host(state, "h2")
    async with state.database.write() as write:
        await hosts.update(write, "h2", {"labels": (("own", "1"),)})
    await admin("ApplyFleet", request())
    async with state.database.read() as connection:
        host = await hosts.get(connection, "h2")
        assert host is not None
        assert (host.labels, host.region) == ((("own", "1"), ("rack", "a")), "cellar")
    await admin("ApplyFleet", request(labels={}, region=None))
    async with state.database.read() as connection:
        host = await hosts.get(connection, "h2")
        assert host is not None
        assert (host.labels, host.region) == ((("own", "1"),), "remote")


async def test_a_report_of_what_nobody_registered_or_of_another_fleets_host_is_refused(
    state: State, admin: Api
) -> None:
    code, words = await refusal(admin("ReportRegistration", report()))
    assert (code, words) == (
        grpc.StatusCode.NOT_FOUND, "gpu-1 is not registered for the fleet local; apply it again",
    )  # fmt: skip
    await add_host(state, "h2")
    await admin("ApplyFleet", request(name="other"))
    code, words = await refusal(admin("ReportRegistration", report(fleet="other", host_id="h2")))
    assert code is grpc.StatusCode.ABORTED
    assert "is the host h2 of the fleet local already" in words


async def test_one_that_never_joined_is_forgotten_when_the_file_lists_it_no_more(admin: Api) -> None:
    await admin("ApplyFleet", request())
    await admin("ApplyFleet", request(ssh_config={"user": "ops", "hosts": ["gpu-1"]}))
    assert set(await listed(admin)) & {"gpu-1", "gpu-2", "bastion"} == {"gpu-1"}


async def test_a_fleet_goes_only_without_hosts(state: State, admin: Api) -> None:
    await admin("ApplyFleet", request(name="empty"))
    assert (await admin("DeleteFleet", api_pb2.DeleteFleetRequest(name="empty"))).sentence == "fleet empty is deleted"
    assert "gpu-1" not in await listed(admin)
    code, words = await refusal(admin("DeleteFleet", api_pb2.DeleteFleetRequest(name="local")))
    assert code is grpc.StatusCode.ABORTED
    assert words.startswith("fleet local has ")
    code, _ = await refusal(admin("DeleteFleet", api_pb2.DeleteFleetRequest(name="nowhere")))
    assert code is grpc.StatusCode.NOT_FOUND


def test_an_installation_that_nobody_goes_on_with_is_pending_again() -> None:
    registration = Registration("lab", Place("a", 22, "ops"), "installing", since_s=100.0)
    assert pending_message(registration, 100.0 + STALLED_S - 1).state == "provisioning"
    assert pending_message(registration, 100.0 + STALLED_S).state == "pending"
