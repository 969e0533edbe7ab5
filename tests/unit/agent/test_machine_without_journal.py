"""machine, when its journal is lost: what it found and what the server says, in either order."""

import pytest
from fakes.agent import assignment, container, replica
from homeport_agent import events as ev
from homeport_agent.machine import Machine
from homeport_agent.model import History, JournalEntry, Phase


def empty_host() -> Machine:
    machine = Machine()
    machine.handle(ev.JournalRead(None), 0)
    machine.handle(ev.ContainersFound(()), 0)
    return machine


def test_containers_without_a_journal_wait_for_a_list() -> None:
    machine = Machine()
    assert not machine.waits_for_a_list
    machine.handle(ev.JournalRead(None), 0)
    machine.handle(ev.ContainersFound((container(),)), 0)
    assert machine.waits_for_a_list
    machine.handle(ev.AssignmentReceived(assignment(1, replica())), 1)
    assert not machine.waits_for_a_list
    assert not empty_host().waits_for_a_list


@pytest.mark.parametrize("is_list_first", [True, False])
def test_what_is_adopted_without_a_journal_has_no_probes_answer_yet(is_list_first: bool) -> None:
    machine = Machine()
    machine.handle(ev.JournalRead(None), 0)
    heard: list[ev.Event] = [ev.AssignmentReceived(assignment(1, replica())), ev.ContainersFound((container(),))]
    for event in heard if is_list_first else reversed(heard):
        machine.handle(event, 1)
    assert machine.has_no_journal
    assert machine.observe(1)[0].phase is Phase.PROBING
    kept = Machine()
    kept.handle(
        ev.JournalRead(JournalEntry(assignment(1, replica()), (("r1", History(was_ready=True, is_ready=True)),))), 0
    )
    for event in heard:
        kept.handle(event, 1)
    assert not kept.has_no_journal
    assert kept.observe(1)[0].phase is Phase.READY
