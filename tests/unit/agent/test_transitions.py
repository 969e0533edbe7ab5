"""What follows on the verdicts of admission. Other stories are told in test_machine."""

from fakes.agent import assignment, container, ended, replica
from homeport_agent import events as ev
from homeport_agent import instructions as do
from homeport_agent.machine import Machine
from homeport_agent.model import AssignedReplica, Phase


def empty_host() -> Machine:
    machine = Machine()
    machine.handle(ev.JournalRead(None), 0)
    machine.handle(ev.ContainersFound(()), 0)
    return machine


def phase(machine: Machine) -> Phase:
    return machine.observe(0)[0].phase


def message(machine: Machine) -> str:
    return machine.observe(0)[0].message


def starting(machine: Machine, assigned: AssignedReplica) -> None:
    machine.handle(ev.AssignmentReceived(assignment(1, assigned)), 0)
    machine.handle(ev.ImageReady("r1"), 0)
    assert phase(machine) is Phase.STARTING


def test_what_its_gpu_is_waited_for_is_told() -> None:
    machine, assigned = empty_host(), replica()
    starting(machine, assigned)
    machine.handle(ev.AdmissionAwaited("r1", "GPU 3f2a is still held by pid 7"), 1)
    assert (phase(machine), message(machine)) == (Phase.STARTING, "GPU 3f2a is still held by pid 7")
    machine.handle(ev.ContainerStarted("r1", container()), 2)
    assert message(machine) == ""


def test_a_refused_replica_fails_as_refused_and_is_never_begun_again() -> None:
    machine, assigned = empty_host(), replica(retry=True)
    starting(machine, assigned)
    assert machine.handle(ev.AdmissionRefused("r1", "GPU 3f2a is lost"), 1) == []
    observed = machine.observe(1)[0]
    assert (observed.phase, observed.refused, observed.message) == (Phase.FAILED, True, "GPU 3f2a is lost")
    assert machine.next_wake_s() is None
    assert machine.handle(ev.AssignmentReceived(assignment(2, assigned)), 2) == []
    assert machine.observe(2)[0].refused


def test_a_refusal_that_comes_before_the_pull_ends_it_too() -> None:
    machine = empty_host()
    machine.handle(ev.AssignmentReceived(assignment(1, replica())), 0)
    machine.handle(ev.AdmissionRefused("r1", "GPU 3f2a is lost"), 1)
    assert machine.observe(1)[0].refused


def test_an_agent_that_starts_anew_still_knows_that_it_refused() -> None:
    first = empty_host()
    starting(first, replica())
    first.handle(ev.AdmissionRefused("r1", "GPU 3f2a is lost"), 1)
    kept = first.journal_entry()
    second = Machine()
    second.handle(ev.JournalRead(kept), 0)
    assert second.handle(ev.ContainersFound(()), 0) == []
    assert second.observe(0)[0].refused


def test_a_container_that_cannot_be_started_again_for_its_gpus_is_refused_and_kept_for_its_logs() -> None:
    machine = empty_host()
    starting(machine, replica())
    machine.handle(ev.ContainerStarted("r1", container()), 0)
    machine.handle(ev.ProbeAnswered("r1", 0, True), 0)
    machine.handle(ev.ContainerSeen("r1", ended(exit_code=1)), 5)
    assert machine.handle(ev.TimePassed(), 6) == [do.StartContainer("r1", replica())]
    assert machine.handle(ev.AdmissionRefused("r1", "GPU 3f2a is lost"), 7) == []
    assert machine.observe(7)[0].refused
    assert machine.handle(ev.AssignmentReceived(assignment(2)), 8) == [do.RemoveContainer("r1")]


def test_a_failure_that_is_not_the_hosts_is_no_refusal() -> None:
    machine = empty_host()
    starting(machine, replica(retry=False))
    machine.handle(ev.StartFailed("r1", "no such program", can_heal=False), 1)
    assert not machine.observe(1)[0].refused
