"""api/upgrades: who may, who is meant, and why others are not upgraded."""

import grpc
from fixtures.control import State, add_host
from fixtures.plane import Api, refusal
from homeport_control.store import hosts
from homeport_protos.api.v1 import api_pb2


async def test_those_that_can_are_named_and_the_others_have_a_reason(state: State, admin: Api) -> None:
    await add_host(state, "h2")
    async with state.database.write() as write:
        await hosts.update(write, "h2", {"build": "old"})
    answer = await admin("UpgradeHosts", api_pb2.UpgradeHostsRequest())
    assert answer.hosts == ["h2"]
    assert len(answer.sentences) == 1
    code, words = await refusal(admin("UpgradeHosts", api_pb2.UpgradeHostsRequest(hosts=["nobody"])))
    assert (code, words) == (grpc.StatusCode.NOT_FOUND, "no host nobody; `homeport fleet list` shows all")


async def test_only_an_admin_may(user: Api) -> None:
    code, _ = await refusal(user("UpgradeHosts", api_pb2.UpgradeHostsRequest()))
    assert code is grpc.StatusCode.PERMISSION_DENIED
