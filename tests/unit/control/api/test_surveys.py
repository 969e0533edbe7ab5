"""api/surveys: an on-demand fleet by the API: machines are looked at, what the server needs for them is kept sealed."""

import json
import re
import time
from dataclasses import replace
from typing import Any

import grpc
from fixtures.control import State, add_host, get_host
from fixtures.plane import Api, refusal
from homeport_control.domain.fleets import Phase, Registration
from homeport_control.domain.hosts import Connection
from homeport_control.store import fleets, hosts
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2
from homeport_protos.ssh.access import Access

DOCUMENT = {
    "type": "fleet",
    "name": "local",
    "provision": "on-demand",
    "idle_duration": "1h",
    "ssh_config": {"user": "ops", "identity_file": "~/.ssh/k", "proxy_jump": "bastion", "hosts": ["gpu-1"]},
}
FACTS = host_pb2.HostFacts(
    hostname="gpu-1", cpus=24, memory_mib=65536, disk_free_mib=100_000,
    gpus=[host_pb2.Gpu(uuid="GPU-1", name="NVIDIA RTX A5000", memory_total_mib=24564, driver_version="570")],
)  # fmt: skip
ACCESS = api_pb2.Access(
    private_key="PRIVATE", host_key="ssh-ed25519 AAAA", sudo_password="pw",
    jump=api_pb2.Access(private_key="JUMP", host_key="ssh-ed25519 BBBB"),
)  # fmt: skip


def request(**changed: Any) -> api_pb2.PlanFleetRequest:
    return api_pb2.PlanFleetRequest(json=json.dumps({**DOCUMENT, **changed}), server="10.0.0.1:7400")


async def survey(admin: Api, **fields: Any) -> None:
    report = api_pb2.RegistrationReport(fleet="local", hostname="gpu-1", port=22, facts=FACTS, access=ACCESS, **fields)
    await admin("ReportRegistration", report)


async def registered(state: State) -> Registration:
    async with state.database.read() as connection:
        [found] = await fleets.registered(connection, "local")
    return found


async def listed(api: Api) -> api_pb2.Host:
    rows = (await api("ListHosts", api_pb2.ListHostsRequest())).hosts
    return next(host for host in rows if host.address == "gpu-1")


async def test_its_machines_are_to_be_looked_at_without_a_token(admin: Api) -> None:
    plan = await admin("PlanFleet", request())
    assert (plan.on_demand, [it.action for it in plan.hosts]) == (True, ["new"])
    [install] = (await admin("ApplyFleet", request())).installs
    assert (install.survey, install.token) == (True, "")


async def test_a_command_line_that_does_not_know_of_that_is_refused_in_words(admin: Api) -> None:
    old = api_pb2.PlanFleetRequest(json=json.dumps(DOCUMENT))
    code, words = await refusal(admin("ApplyFleet", old))
    assert (code, "too old for on-demand hosts" in words) == (grpc.StatusCode.ABORTED, True)


async def test_what_it_has_is_offered_and_how_it_is_reached_is_sealed(state: State, admin: Api) -> None:
    await admin("ApplyFleet", request())
    await survey(admin)
    row = await listed(admin)
    assert (row.state, row.connection, row.reason) == ("pending", "released", "not provisioned")
    assert row.resources == "24xCPU, 64GB, A5000:24GB:1"
    assert not row.id, "it is no host yet"
    offers = await admin("ListOffers", api_pb2.ListOffersRequest(json='{"resources": {"gpu": "24GB"}}'))
    assert [(it.host, it.availability) for it in offers.offers] == [("gpu-1", "not provisioned")]
    async with state.database.read() as connection:
        sealed = await fleets.access(connection, await registered(state))
        fleet = await fleets.get(connection, "local")
    assert sealed is not None
    assert b"PRIVATE" not in sealed
    kept = Access.from_json(state.sealer.open(sealed))
    assert kept == Access("PRIVATE", "ssh-ed25519 AAAA", "pw", Access("JUMP", "ssh-ed25519 BBBB"))
    assert fleet is not None
    assert (fleet.server, fleet.idle_duration_s) == ("10.0.0.1:7400", 3600)
    assert (await admin("PlanFleet", request())).action == "unchanged"


async def test_a_host_that_is_connected_is_up_and_one_that_is_away_is_let_go(state: State, admin: Api) -> None:
    for connected, phase, connection in (
        (True, Phase.UP, Connection.CONNECTED),
        (False, Phase.RELEASED, Connection.RELEASED),
    ):
        host = await add_host(state, f"h-{connected}", connected=connected)
        await admin("ApplyFleet", request())
        async with state.database.write() as write:
            known = await registered(state)
            await fleets.register(write, Registration("local", known.place, host_id=host.id))
        await survey(admin)
        standby = (await registered(state)).standby
        assert standby is not None
        assert (standby.phase, standby.idle_duration_s) == (phase, 3600)
        assert (await get_host(state, host.id)).connection is connection


async def test_what_is_being_done_with_it_goes_on(state: State, admin: Api) -> None:
    await admin("ApplyFleet", request())
    await survey(admin)
    known = await registered(state)
    assert known.standby is not None
    async with state.database.write() as write:
        coming = replace(known.standby, phase=Phase.COMING, run_name="llm", failures=3)
        await fleets.register(write, replace(known, standby=coming))
    assert (await listed(admin)).state == "provisioning"
    await survey(admin)
    standby = (await registered(state)).standby
    assert standby is not None
    assert (standby.phase, standby.run_name, standby.failures) == (Phase.COMING, "llm", 0)


async def test_a_fleet_that_is_always_there_from_now_on_installs_and_keeps_no_key(state: State, admin: Api) -> None:
    await admin("ApplyFleet", request())
    await survey(admin)
    [install] = (await admin("ApplyFleet", request(provision="always"))).installs
    assert (install.survey, bool(install.token)) == (False, True)
    known = await registered(state)
    async with state.database.read() as connection:
        assert await fleets.access(connection, known) is None
    assert known.standby is None


async def test_a_host_that_we_let_go_is_shown_so_and_may_be_removed(state: State, admin: Api) -> None:
    await add_host(state, "h2")
    await admin("ApplyFleet", request())
    await survey(admin)
    known = await registered(state)
    async with state.database.write() as write:
        await fleets.register(write, Registration("local", known.place, host_id="h2", standby=known.standby))
        await fleets.became(write, known, "h2")
        await hosts.update(write, "h2", {"connection": Connection.RELEASED})
    row = await listed(admin)
    assert (row.id, row.state, row.connection, row.reason) == ("h2", "pending", "released", "not provisioned")
    await admin("DeleteHost", api_pb2.DeleteHostRequest(host="h2"))
    async with state.database.read() as connection:
        assert await fleets.registered(connection, "local") == ()


async def test_one_that_could_not_be_brought_up_says_why_and_when_again(state: State, admin: Api) -> None:
    await admin("ApplyFleet", request())
    await survey(admin)
    known = await registered(state)
    assert known.standby is not None
    async with state.database.write() as write:
        failed = replace(known.standby, failures=1, retry_at_s=time.time() + 60)
        await fleets.register(write, replace(known, error="no route", standby=failed))
    reason = (await listed(admin)).reason
    assert re.fullmatch(
        r"not provisioned; the last try failed: no route; next try in \d+ s, when a run needs it", reason
    )
