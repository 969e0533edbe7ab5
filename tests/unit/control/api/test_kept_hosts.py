"""api/kept_hosts: a message is made once, and anew when anything that it is made of is another."""

from dataclasses import replace
from typing import Any

import pytest
from fixtures.control import a_host, claim
from homeport_control.api.convert import host_message
from homeport_control.api.kept_hosts import KeptHosts
from homeport_control.domain.fleets import Phase
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import Gpu, HostFacts
from homeport_control.domain.replicas import Replica, Wanted
from homeport_protos.api.v1 import api_pb2

HOST = replace(a_host("h1"), facts=HostFacts(gpus=(Gpu("GPU-1", "A100", 81920),)))
CLAIM = replace(claim("r1", "h1"), gpu_uuids=("GPU-1",), run_name="hello")
REPLICA = Replica("r1", "run", 0, 1, Wanted.RUN, 0.0)
BEFORE: dict[str, Any] = {
    "host": HOST, "replicas": 1, "claims": [CLAIM], "active": {"r1": REPLICA}, "standby": None, "gateways": (),
}  # fmt: skip


def made(active: dict[str, Replica], **more: Any) -> api_pb2.Host:
    return host_message(**more, index_of={it.id: it.index for it in active.values()})


def test_a_message_is_kept_while_nothing_is_another() -> None:
    kept = KeptHosts()
    first = kept.message(**BEFORE)
    assert first == made(**BEFORE)
    assert (
        kept.message(
            **{**BEFORE, "claims": [replace(CLAIM)], "active": {"r1": replace(REPLICA, restarts=9), "r2": REPLICA}}
        )
        is first
    )


@pytest.mark.parametrize(
    "other",
    [
        {"host": replace(HOST, cordoned=True)},
        {"host": replace(HOST, facts=replace(HOST.facts, cpus=9))},
        {"replicas": 0},
        {"claims": []},
        {"claims": [replace(CLAIM, exclusive=False, gpu_memory_mib=1024)]},
        {"active": {"r1": replace(REPLICA, index=3)}},
        {"active": {}},
        {"host": replace(a_host("h1", connected=False), connection="released"), "standby": Phase.COMING},
        {"gateways": (Gateway("edge", "h2", "127.0.0.1", 80, "localhost"),)},
    ],
)
def test_a_message_is_made_anew_when_something_is_another(other: dict[str, Any]) -> None:
    kept = KeptHosts()
    before, now = kept.message(**BEFORE), {**BEFORE, **other}
    assert kept.message(**now) == made(**now)
    assert kept.message(**now) != before
