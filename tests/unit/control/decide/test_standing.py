"""decide/standing: on-demand machines beside hosts, with why they are not there."""

from dataclasses import replace

import pytest
from fakes.hosts import finding, gpu, host, process
from homeport_control.decide.standing import as_host, next_try, raised, standing
from homeport_control.domain.fleets import Fleet, Phase, Place, Registration, Standby
from homeport_control.domain.hosts import Connection, HostFacts

LAB = Fleet("lab", (("rack", "a"),), "cellar")
STANDBY = Standby(Phase.RELEASED, 100.0, HostFacts(cpus=8))
KNOWN = Registration("lab", Place("gpu-1", 22, "ops"), "looked at", 50.0, standby=STANDBY)


def test_a_machine_that_never_joined_stands_beside_hosts_as_its_survey_found_it() -> None:
    here = host("here")
    [first, second] = standing([here], [KNOWN], {"lab": LAB})
    assert first == here
    assert second == as_host(KNOWN, STANDBY, LAB)
    assert (second.id, second.name, second.backend, second.region) == ("lab/gpu-1:22", "gpu-1", "ssh", "cellar")
    assert (second.labels, second.facts.cpus) == ((("rack", "a"),), 8)
    assert (second.connection, second.connection_reason) == (Connection.RELEASED, "not provisioned")


def test_one_that_is_no_on_demand_machine_is_none() -> None:
    assert standing([], [replace(KNOWN, standby=None)], {}) == ()


@pytest.mark.parametrize(
    ("phase", "step", "error", "reason"),
    [
        (Phase.RELEASED, "released", "", "not provisioned"),
        (Phase.RELEASED, "connecting", "no route", "not provisioned; the last try failed: no route"),
        (Phase.COMING, "agent installed", "", "being brought up for llm: agent installed"),
        (Phase.GOING, "stopping its agent", "", "being released: stopping its agent"),
    ],
)
def test_a_host_that_we_let_go_says_what_is_done_with_it(phase: Phase, step: str, error: str, reason: str) -> None:
    gone = replace(host("h"), connection=Connection.RELEASED, connection_reason="nothing has run on it for 5m")
    known = replace(
        KNOWN, host_id=gone.id, step=step, error=error, standby=replace(STANDBY, phase=phase, run_name="llm")
    )
    [shown] = standing([gone], [known], {"lab": LAB})
    assert (shown.connection, shown.connection_reason) == (Connection.RELEASED, reason)
    away = replace(gone, connection=Connection.UNREACHABLE)
    assert standing([away], [known], {})[0].connection_reason == reason


def test_a_host_that_is_up_speaks_for_itself() -> None:
    for connection in (Connection.CONNECTED, Connection.UNREACHABLE):
        here = replace(host("h"), connection=connection)
        known = replace(KNOWN, host_id=here.id, standby=replace(STANDBY, phase=Phase.UP))
        assert standing([here], [known], {}) == (here,)


def test_raised_it_has_what_it_has_and_nothing_of_what_ran_there_once() -> None:
    busy = gpu("G1", used_mib=20_000, processes=(process(20_000),))
    gone = replace(host("h", busy, findings=(finding("G1"),)), connection=Connection.RELEASED)
    again = raised(gone)
    assert again.connection is Connection.CONNECTED
    assert [(it.memory_total_mib, it.memory_used_mib, it.processes) for it in again.facts.gpus] == [
        (busy.memory_total_mib, 0, ())
    ]
    assert again.findings == gone.findings, "a GPU that failed has not become well by that"


def test_after_a_failure_it_says_when_it_is_tried_again() -> None:
    assert next_try(STANDBY, 100.0) == ""
    assert next_try(replace(STANDBY, retry_at_s=130.0), 100.4) == "; next try in 30 s, when a run needs it"
    assert next_try(replace(STANDBY, retry_at_s=130.0), 130.0) == ""
