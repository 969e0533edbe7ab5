"""The agent's machine while the engine does not answer after a start of the agent: the journal is believed, and probed."""

import pytest
from fakes.agent import assignment, container, ended, replica
from homeport_agent import events as ev
from homeport_agent import instructions as do
from homeport_agent.machine import Machine
from homeport_agent.model import Assignment, Container, JournalEntry, Phase, ReplicaObserved, Wanted

BOOT = "boot-1"
DOWN = ev.EngineUnavailable("Docker does not answer at /x: it is not running")
WAITS = (Phase.WAITING, 0)


def kept(*, boot_id: str = BOOT, **values: object) -> JournalEntry:
    """What the journal has of an agent whose replica r1 is ready and whose r2 is not yet."""
    machine = Machine(boot_id)
    machine.handle(ev.ContainersFound((container("r1"), container("r2"))), 0)
    machine.handle(ev.AssignmentReceived(assignment(4, replica("r1", **values), replica("r2"))), 0)
    machine.handle(ev.ProbeAnswered("r1", 0, True, ""), 1)
    entry = machine.journal_entry()
    assert entry is not None
    return entry


def restarted(entry: JournalEntry, boot_id: str = BOOT) -> tuple[Machine, list[do.Instruction]]:
    machine = Machine(boot_id)
    orders = machine.handle(ev.JournalRead(entry), 2)
    return machine, orders + machine.handle(DOWN, 2)


def told(machine: Machine) -> dict[str, tuple[Phase, int]]:
    return {it.replica_id: (it.phase, it.host_port) for it in machine.observe(None)}


def only(machine: Machine) -> ReplicaObserved:
    return next(it for it in machine.observe(None) if it.replica_id == "r1")


def test_what_served_is_told_as_ready_and_probed_at_once() -> None:
    entry = kept()
    machine, orders = restarted(entry)
    assert told(machine) == {"r1": (Phase.READY, 32768), "r2": WAITS}
    assert orders == [do.StartProbing("r1", entry.assignment.replicas[0], container("r1"))]


def test_it_is_believed_again_by_the_agent_after_the_next_one() -> None:
    machine, _ = restarted(kept())
    entry = machine.journal_entry()
    assert entry is not None
    assert told(restarted(entry)[0]) == {"r1": (Phase.READY, 32768), "r2": WAITS}


@pytest.mark.parametrize(("then", "now"), [(BOOT, "boot-2"), ("", ""), ("", BOOT), (BOOT, "")])
def test_after_another_start_of_the_machine_nothing_is_believed(then: str, now: str) -> None:
    machine, orders = restarted(kept(boot_id=then), now)
    assert told(machine) == {"r1": WAITS, "r2": WAITS}
    assert orders == []


def test_what_was_to_stop_is_not_believed() -> None:
    entry = kept()
    stops = assignment(5, replica("r1", wanted=Wanted.STOP))
    machine, orders = restarted(JournalEntry(stops, entry.histories, entry.serving, BOOT))
    assert told(machine) == {"r1": WAITS}
    assert orders == []


def test_a_probe_that_fails_takes_it_out_and_nothing_is_started_that_cannot_be_seen() -> None:
    machine, _ = restarted(kept())
    for at_s in range(3, 9):
        assert machine.handle(ev.ProbeAnswered("r1", 0, False, "connection refused"), at_s) == []
    assert told(machine)["r1"][0] is Phase.UNREADY
    assert machine.next_wake_s() is None
    assert machine.handle(ev.TimePassed(), 1000) == []
    entry = machine.journal_entry()
    assert entry is not None
    assert entry.serving == ()


def test_found_as_it_was_it_goes_on() -> None:
    machine, _ = restarted(kept())
    orders = machine.handle(ev.ContainersFound((container("r1"), container("r2"))), 9)
    assert not [it for it in orders if it.replica_id == "r1"]
    assert told(machine) == {"r1": (Phase.READY, 32768), "r2": (Phase.PROBING, 32768)}


@pytest.mark.parametrize(
    ("found", "phase"),
    [
        ((), Phase.PULLING),
        ((ended("r1"),), Phase.WAITING),
        ((container("r1", ip="172.17.0.4", host_port=40000),), Phase.READY),
    ],
)
def test_found_otherwise_it_is_begun_anew(found: tuple[Container, ...], phase: Phase) -> None:
    machine, _ = restarted(kept())
    machine.handle(ev.AssignmentReceived(assignment(5, replica("r1"))), 8)  # the server's, with all that a start needs
    orders = machine.handle(ev.ContainersFound(found), 9)
    assert orders[0] == do.StopProbing("r1")
    assert only(machine).phase is phase
    assert only(machine).host_port == (40000 if phase is Phase.READY else 0)


@pytest.mark.parametrize(
    ("then", "order"),
    [
        (assignment(5, replica("r1", wanted=Wanted.STOP, stop_grace_s=7.0)), do.StopContainer("r1", 7.0)),
        (assignment(5), do.StopContainer("r1", 20.0)),
    ],
)
def test_what_the_server_wants_meanwhile_is_done_once_it_is_seen(then: Assignment, order: do.Instruction) -> None:
    machine, _ = restarted(kept())
    assert machine.handle(ev.AssignmentReceived(then), 5) == []
    assert machine.handle(ev.ContainersFound((container("r1"),)), 9) == [do.StopProbing("r1"), order]
