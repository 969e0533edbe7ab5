"""Stories of a replica: events in, instructions out."""

from dataclasses import replace

from fakes.agent import SERVER, assignment, container, ended, replica
from homeport_agent import events as ev
from homeport_agent import instructions as do
from homeport_agent.machine import Machine, without_secrets
from homeport_agent.model import AssignedReplica, Assignment, History, JournalEntry, Phase, Probe, Wanted


def empty_host() -> Machine:
    machine = Machine()
    assert machine.handle(ev.JournalRead(None), 0) == []
    assert machine.handle(ev.ContainersFound(()), 0) == []
    return machine


def phase(machine: Machine, replica_id: str = "r1") -> Phase:
    held = machine.replica_of(replica_id)
    assert held is not None
    return held.phase


def message(machine: Machine, now_s: float = 0) -> str:
    return machine.observe(now_s)[0].message


def probing(machine: Machine, assigned: AssignedReplica, now_s: float = 0) -> None:
    machine.handle(ev.AssignmentReceived(assignment(1, assigned)), now_s)
    machine.handle(ev.ImageReady("r1"), now_s)
    machine.handle(ev.ContainerStarted("r1", container()), now_s)
    assert phase(machine) is Phase.PROBING


def ready(machine: Machine, assigned: AssignedReplica, now_s: float = 0) -> None:
    probing(machine, assigned, now_s)
    machine.handle(ev.ProbeAnswered("r1", 0, True), now_s)
    assert phase(machine) is Phase.READY


def test_a_new_replica_is_pulled_started_probed_and_ready() -> None:
    machine, new = empty_host(), replica()
    assert machine.handle(ev.AssignmentReceived(assignment(1, new)), 0) == [do.PullImage("r1", new)]
    assert machine.handle(ev.PullProgressed("r1", 5, 10), 1) == []
    assert machine.observe(1)[0].pulled_bytes == 5
    assert machine.handle(ev.ImageReady("r1"), 2) == [do.StartContainer("r1", new)]
    assert machine.handle(ev.ContainerStarted("r1", container()), 3) == [do.StartProbing("r1", new, container())]
    assert machine.handle(ev.ProbeAnswered("r1", 0, True), 4) == []
    observed = machine.observe(4)[0]
    assert (observed.phase, observed.host_port, observed.probes_passed) == (Phase.READY, 32768, 1)


def test_nothing_is_begun_before_the_containers_are_known() -> None:
    machine, new = Machine(), replica()
    assert machine.handle(ev.AssignmentReceived(assignment(1, new)), 0) == []
    machine.handle(ev.EngineUnavailable("Docker does not answer at /x: it is not running"), 0)
    assert message(machine) == "Docker does not answer at /x: it is not running"
    assert machine.handle(ev.ContainersFound(()), 1) == [do.PullImage("r1", new)]


def test_a_running_container_is_adopted_without_a_restart_and_probed_again_at_once() -> None:
    machine, known = Machine(), replica(secrets_known=False)
    histories = (("r1", History(was_ready=True, is_ready=True)),)
    machine.handle(ev.JournalRead(JournalEntry(assignment(4, known), histories)), 0)
    assert machine.handle(ev.ContainersFound((container(),)), 0) == [do.StartProbing("r1", known, container())]
    assert phase(machine) is Phase.READY  # it was in rotation: a restart of the agent must not take it out


def test_a_probe_that_the_journal_did_not_keep_is_asked_once_the_server_has_told_it() -> None:
    whole = replica(probes=(Probe("/h", headers=(("Authorization", "x"),)),))
    kept = without_secrets(assignment(4, whole))
    machine = Machine()
    machine.handle(ev.JournalRead(JournalEntry(kept, (("r1", History(was_ready=True, is_ready=True)),))), 0)
    orders = machine.handle(ev.ContainersFound((container(),)), 0)
    assert orders == [do.StartProbing("r1", kept.replicas[0], container())]
    assert kept.replicas[0].probes == ()
    assert machine.handle(ev.AssignmentReceived(assignment(5, whole)), 1) == [do.StartProbing("r1", whole, container())]
    assert phase(machine) is Phase.READY


def test_a_container_that_was_not_ready_yet_is_adopted_as_probing() -> None:
    machine, known = Machine(), replica(secrets_known=False)
    machine.handle(ev.JournalRead(JournalEntry(assignment(4, known), (("r1", History()),))), 0)
    machine.handle(ev.ContainersFound((container(),)), 0)
    assert phase(machine) is Phase.PROBING


def test_a_container_in_no_journal_is_left_alone_until_the_server_says_so() -> None:
    machine = Machine()
    machine.handle(ev.JournalRead(None), 0)
    assert machine.handle(ev.ContainersFound((container("stranger"),)), 0) == []
    orders = machine.handle(ev.AssignmentReceived(assignment(1)), 1)
    assert orders == [do.StopContainer("stranger", 10.0)]
    assert machine.handle(ev.ContainerStopped("stranger", 0), 2) == [do.RemoveContainer("stranger")]
    machine.handle(ev.ContainerRemoved("stranger"), 3)
    assert machine.observe(3) == ()


def test_a_container_in_no_journal_that_the_server_lists_is_adopted() -> None:
    machine, new = Machine(), replica()
    machine.handle(ev.JournalRead(None), 0)
    machine.handle(ev.ContainersFound((container(),)), 0)
    assert machine.handle(ev.AssignmentReceived(assignment(1, new)), 1) == [do.StartProbing("r1", new, container())]


def test_a_container_that_is_gone_needs_the_server_for_its_secrets() -> None:
    machine, known = Machine(), replica(secrets_known=False)
    machine.handle(ev.JournalRead(JournalEntry(assignment(4, known), ())), 0)
    assert machine.handle(ev.ContainersFound(()), 0) == []
    assert "waits for the server" in message(machine)
    whole = replica()
    assert machine.handle(ev.AssignmentReceived(assignment(4, whole)), 1) == [do.PullImage("r1", whole)]


def test_a_container_that_ended_while_the_agent_was_away_is_started_again_without_the_server() -> None:
    machine, known = Machine(), replica(secrets_known=False)
    machine.handle(ev.JournalRead(JournalEntry(assignment(4, known), (("r1", History(was_ready=True)),))), 0)
    assert machine.handle(ev.ContainersFound((ended(),)), 0) == []
    assert machine.next_wake_s() == 1.0
    assert machine.handle(ev.TimePassed(), 1.0) == [do.StartContainer("r1", known)]


def test_a_replica_that_was_given_up_stays_so_over_a_restart_of_the_agent() -> None:
    machine, known = Machine(), replica()
    history = History(exits=3, gave_up="exited with code 3; failed 3 times", exit_code=3, log_tail=("boom",))
    machine.handle(ev.JournalRead(JournalEntry(assignment(4, known), (("r1", history),))), 0)
    assert machine.handle(ev.ContainersFound((ended(),)), 0) == []
    observed = machine.observe(0)[0]
    assert (observed.phase, observed.exit_code, observed.log_tail) == (Phase.FAILED, 3, ("boom",))


def test_a_dead_container_is_started_again_in_place_with_a_back_off() -> None:
    machine, assigned = empty_host(), replica()
    ready(machine, assigned)
    died = ev.ContainerSeen("r1", ended(exit_code=137), ("last words",))
    assert machine.handle(died, 10) == [do.StopProbing("r1")]
    observed = machine.observe(10)[0]
    assert (observed.phase, observed.restarts, observed.exit_code) == (Phase.WAITING, 1, 137)
    assert observed.message == "killed by signal 9 (exit code 137); next try in 1 s"
    assert machine.handle(ev.TimePassed(), 10.5) == []
    assert machine.handle(ev.TimePassed(), 11) == [do.StartContainer("r1", assigned)]
    machine.handle(ev.ContainerStarted("r1", container(host_port=40000)), 12)
    machine.handle(ev.ProbeAnswered("r1", 0, True), 12)
    assert machine.observe(12)[0].host_port == 40000
    assert machine.handle(died, 13) == [do.StopProbing("r1")]
    assert machine.next_wake_s() == 15  # the second failure in a row waits twice as long


def test_three_exits_before_it_was_ever_ready_end_it() -> None:
    machine, assigned = empty_host(), replica()
    probing(machine, assigned)
    now_s = 0.0
    for attempt in range(3):
        machine.handle(ev.ContainerSeen("r1", ended(exit_code=2), ("no such file",)), now_s)
        if attempt < 2:
            wake_s = machine.next_wake_s()
            assert wake_s is not None
            now_s = wake_s
            assert machine.handle(ev.TimePassed(), now_s) == [do.StartContainer("r1", assigned)]
            machine.handle(ev.ContainerStarted("r1", container()), now_s)
    observed = machine.observe(now_s)[0]
    assert observed.phase is Phase.FAILED
    assert observed.message == "exited with code 2; failed 3 times before it was ever ready: given up"
    assert observed.log_tail == ("no such file",)
    assert machine.next_wake_s() is None


def test_one_failure_ends_a_replica_that_is_not_to_be_retried() -> None:
    machine = empty_host()
    ready(machine, replica(retry=False))
    machine.handle(ev.ContainerSeen("r1", ended(exit_code=1), ()), 10)
    assert (phase(machine), message(machine)) == (
        Phase.FAILED,
        "exited with code 1; not started again (retry is false)",
    )


def test_a_first_start_that_is_never_ready_is_stopped_and_fails_with_its_last_lines() -> None:
    machine = empty_host()
    probing(machine, replica(ready_timeout_s=30))
    machine.handle(ev.ProbeAnswered("r1", 0, False, "nothing listens on port 8000 yet (connection refused)"), 12)
    assert message(machine, 12) == "nothing listens on port 8000 yet (connection refused) for 12 s"
    assert machine.next_wake_s() == 30
    orders = machine.handle(ev.TimePassed(), 30)
    assert orders == [do.StopProbing("r1"), do.StopContainer("r1", 10.0, with_logs=True)]
    machine.handle(ev.ContainerStopped("r1", 143, ("listening on 3000",)), 31)
    observed = machine.observe(31)[0]
    assert observed.phase is Phase.FAILED
    assert observed.message == "not ready within 30 s: nothing listens on port 8000 yet (connection refused)"
    assert observed.log_tail == ("listening on 3000",)


def test_a_pull_that_cannot_heal_fails_at_once() -> None:
    machine = empty_host()
    machine.handle(ev.AssignmentReceived(assignment(1, replica())), 0)
    machine.handle(ev.PullFailed("r1", "image hello:1 does not exist", can_heal=False), 1)
    assert (phase(machine), message(machine)) == (Phase.FAILED, "image hello:1 does not exist")


def test_a_pull_that_may_heal_is_tried_until_the_first_start_is_over_time() -> None:
    machine, assigned = empty_host(), replica(ready_timeout_s=5)
    machine.handle(ev.AssignmentReceived(assignment(1, assigned)), 0)
    failed = ev.PullFailed("r1", "the registry cannot be reached", can_heal=True)
    machine.handle(failed, 0)
    assert machine.handle(ev.TimePassed(), 1) == [do.PullImage("r1", assigned)]
    machine.handle(failed, 1)
    assert machine.handle(ev.TimePassed(), 3) == [do.PullImage("r1", assigned)]
    machine.handle(failed, 3)
    assert (phase(machine), message(machine)) == (
        Phase.FAILED,
        "not ready within 5 s: the registry cannot be reached",
    )


def test_a_registry_that_cannot_be_reached_ends_a_first_start_while_the_user_watches() -> None:
    machine, assigned, now_s = empty_host(), replica(ready_timeout_s=600), 0.0
    machine.handle(ev.AssignmentReceived(assignment(1, assigned)), now_s)
    while phase(machine) is Phase.PULLING:
        machine.handle(ev.PullFailed("r1", "the registry cannot be reached", can_heal=True, tries=5), now_s)
        now_s = machine.next_wake_s() or now_s
        machine.handle(ev.TimePassed(), now_s)
    assert message(machine) == "the registry cannot be reached; failed 5 times before it was ever ready: given up"
    assert now_s == 15


def test_three_failed_probes_make_it_unready_and_one_success_ready_again() -> None:
    machine = empty_host()
    ready(machine, replica())
    for _ in range(2):
        machine.handle(ev.ProbeAnswered("r1", 0, False, "GET / answered 500"), 10)
        assert phase(machine) is Phase.READY
    machine.handle(ev.ProbeAnswered("r1", 0, False, "GET / answered 500"), 10)
    assert (phase(machine), message(machine)) == (Phase.UNREADY, "GET / answered 500")
    machine.handle(ev.ProbeAnswered("r1", 0, True), 11)
    assert phase(machine) is Phase.READY


def test_a_replica_that_stays_unready_is_restarted_in_place() -> None:
    machine, assigned = empty_host(), replica()
    ready(machine, assigned)
    for _ in range(3):
        machine.handle(ev.ProbeAnswered("r1", 0, False, "GET / answered 500"), 10)
    assert machine.next_wake_s() == 40
    assert machine.handle(ev.TimePassed(), 40) == [do.StopProbing("r1"), do.RestartContainer("r1", assigned, 10.0)]
    machine.handle(ev.ContainerStarted("r1", container()), 42)
    machine.handle(ev.ProbeAnswered("r1", 0, True), 42)
    assert (phase(machine), machine.observe(42)[0].restarts) == (Phase.READY, 1)


def unready(machine: Machine, now_s: float) -> float:
    """It was ready and does not answer any more; returns when it will be started again."""
    for _ in range(3):
        machine.handle(ev.ProbeAnswered("r1", 0, False, "GET / answered 500"), now_s)
    assert phase(machine) is Phase.UNREADY
    return machine.next_wake_s() or 0.0


def started_again(machine: Machine, now_s: float) -> None:
    assert do.RestartContainer("r1", replica(), 10.0) in machine.handle(ev.TimePassed(), now_s)
    machine.handle(ev.ContainerStarted("r1", container()), now_s)
    machine.handle(ev.ProbeAnswered("r1", 0, True), now_s)
    assert phase(machine) is Phase.READY


def test_what_stops_answering_again_and_again_is_left_alone_for_longer_each_time() -> None:
    machine, now_s, waits = empty_host(), 0.0, []
    ready(machine, replica())
    for _ in range(6):
        began_s, now_s = now_s, unready(machine, now_s)
        waits.append(now_s - began_s)
        started_again(machine, now_s)
    assert waits == [30, 60, 120, 240, 300, 300]
    now_s += 600  # of health
    assert unready(machine, now_s) - now_s == 30
    machine.handle(ev.ProbeAnswered("r1", 0, True), now_s + 20)
    assert (phase(machine), machine.observe(now_s + 20)[0].restarts) == (Phase.READY, 6), "it came to itself in time"


def test_what_is_told_of_a_restart_says_for_how_long_it_did_not_answer() -> None:
    machine = empty_host()
    ready(machine, replica())
    started_again(machine, unready(machine, 0))
    machine.handle(ev.TimePassed(), unready(machine, 30))
    assert message(machine) == "its probes failed for 60 s: GET / answered 500; started again"


def test_a_restart_that_is_not_ready_in_time_is_tried_again_later_each_time() -> None:
    machine, assigned, now_s, waits = empty_host(), replica(ready_timeout_s=50), 0.0, []
    ready(machine, assigned)
    machine.handle(ev.TimePassed(), now_s := unready(machine, now_s))
    for _ in range(4):
        machine.handle(ev.ContainerStarted("r1", container()), now_s)
        began_s, now_s = now_s, machine.next_wake_s() or 0.0
        waits.append(now_s - began_s)
        machine.handle(ev.TimePassed(), now_s)
        assert phase(machine) is Phase.STARTING
        assert message(machine).startswith(f"not ready within {waits[-1]:.0f} s: ")
    assert waits == [100, 200, 300, 300]


def test_every_probe_needs_its_successes_in_a_row() -> None:
    machine = empty_host()
    probing(machine, replica(probes=(Probe("/a", ready_after=2), Probe("/b"))))
    for probe, is_ok in ((0, True), (1, True), (0, False), (0, True)):
        machine.handle(ev.ProbeAnswered("r1", probe, is_ok, "no"), 1)
        assert phase(machine) is Phase.PROBING
    assert machine.observe(1)[0].probes_passed == 1
    machine.handle(ev.ProbeAnswered("r1", 0, True), 2)
    assert (phase(machine), machine.observe(2)[0].probes_total) == (Phase.READY, 2)


def test_a_stop_keeps_the_stopped_container_until_the_replica_leaves_the_list() -> None:
    machine = empty_host()
    ready(machine, replica())
    stop = replica(wanted=Wanted.STOP, stop_grace_s=7)
    assert machine.handle(ev.AssignmentReceived(assignment(2, stop)), 1) == [
        do.StopProbing("r1"),
        do.StopContainer("r1", 7),
    ]
    assert machine.handle(ev.ContainerStopped("r1", 0), 2) == []
    assert phase(machine) is Phase.STOPPED
    assert machine.handle(ev.AssignmentReceived(assignment(3)), 3) == [do.RemoveContainer("r1")]
    machine.handle(ev.ContainerRemoved("r1"), 4)
    assert machine.observe(4) == ()


def test_a_stop_overtakes_a_pull_and_a_start() -> None:
    for events in ((), (ev.ImageReady("r1"),)):
        machine = empty_host()
        machine.handle(ev.AssignmentReceived(assignment(1, replica())), 0)
        for event in events:
            machine.handle(event, 0)
        stop = replica(wanted=Wanted.STOP)
        assert machine.handle(ev.AssignmentReceived(assignment(2, stop)), 1) == [do.StopContainer("r1", 20)]
        # What was under way ends late: it must not bring the replica back.
        assert machine.handle(ev.ContainerStarted("r1", container()), 2) == []
        assert phase(machine) is Phase.STOPPING


def test_an_abort_shortens_a_stop_that_is_under_way() -> None:
    machine = empty_host()
    ready(machine, replica())
    machine.handle(ev.AssignmentReceived(assignment(2, replica(wanted=Wanted.STOP))), 1)
    again = machine.handle(ev.AssignmentReceived(assignment(3, replica(wanted=Wanted.STOP))), 2)
    assert again == []
    abort = replica(wanted=Wanted.STOP, stop_grace_s=0)
    assert machine.handle(ev.AssignmentReceived(assignment(4, abort)), 3) == [do.StopContainer("r1", 0)]


def test_a_stop_that_fails_is_tried_again() -> None:
    machine = empty_host()
    ready(machine, replica())
    machine.handle(ev.AssignmentReceived(assignment(2, replica(wanted=Wanted.STOP))), 1)
    machine.handle(ev.StopFailed("r1", "Docker does not answer"), 2)
    assert (phase(machine), message(machine), machine.next_wake_s()) == (Phase.STOPPING, "Docker does not answer", 7)
    assert machine.handle(ev.TimePassed(), 7) == [do.StopContainer("r1", 20)]


def test_a_replica_that_leaves_the_list_is_stopped_and_removed() -> None:
    machine = empty_host()
    ready(machine, replica())
    assert machine.handle(ev.AssignmentReceived(assignment(2)), 1) == [
        do.StopProbing("r1"),
        do.StopContainer("r1", 20),
    ]
    assert machine.handle(ev.ContainerStopped("r1", 0), 2) == [do.RemoveContainer("r1")]
    machine.handle(ev.RemoveFailed("r1", "device busy"), 3)
    assert machine.handle(ev.TimePassed(), 8) == [do.RemoveContainer("r1")]


def test_a_replica_that_comes_back_while_it_is_removed_begins_anew_afterwards() -> None:
    machine = empty_host()
    ready(machine, replica())
    machine.handle(ev.AssignmentReceived(assignment(2)), 1)
    assert machine.handle(ev.AssignmentReceived(assignment(3, replica())), 2) == []
    assert machine.handle(ev.ContainerStopped("r1", 0), 3) == [do.RemoveContainer("r1")]
    assert machine.handle(ev.ContainerRemoved("r1"), 4) == [do.PullImage("r1", replica())]


def test_an_older_assignment_is_ignored_and_that_of_another_server_is_not() -> None:
    machine = empty_host()
    machine.handle(ev.AssignmentReceived(assignment(5, replica())), 0)
    assert machine.handle(ev.AssignmentReceived(assignment(4)), 1) == []
    assert machine.accepted == assignment(5, replica())
    other = Assignment("server-2", 1, ())
    assert machine.handle(ev.AssignmentReceived(other), 2) == [do.StopContainer("r1", 20)]


def test_a_container_that_somebody_removed_is_made_again() -> None:
    machine, assigned = empty_host(), replica()
    ready(machine, assigned)
    machine.handle(ev.ContainerSeen("r1", None), 5)
    assert message(machine) == "its container was removed by somebody; next try in 1 s"
    assert machine.handle(ev.TimePassed(), 6) == [do.PullImage("r1", assigned)]


def test_a_container_that_somebody_restarted_is_probed_on_its_new_address() -> None:
    machine, assigned = empty_host(), replica()
    ready(machine, assigned)
    moved = container(host_port=40001)
    assert machine.handle(ev.ContainerSeen("r1", moved), 5) == [do.StartProbing("r1", assigned, moved)]
    assert machine.observe(5)[0].host_port == 40001


def test_the_local_image_is_told_while_all_is_well() -> None:
    machine = empty_host()
    machine.handle(ev.AssignmentReceived(assignment(1, replica())), 0)
    machine.handle(ev.ImageReady("r1", "uses the local image hello:1"), 0)
    machine.handle(ev.ContainerStarted("r1", container()), 0)
    machine.handle(ev.ProbeAnswered("r1", 0, True), 0)
    assert message(machine) == "uses the local image hello:1"


def test_what_must_outlive_the_agent_is_the_assignment_and_each_history() -> None:
    machine = empty_host()
    ready(machine, replica())
    entry = machine.journal_entry()
    assert entry is not None
    assert entry.assignment == assignment(1, replica())
    assert dict(entry.histories)["r1"] == History(was_ready=True, is_ready=True)
    assert replace(entry.assignment, server_id=SERVER) == entry.assignment


# --- settings that change in place: no container carries them in itself ---


def test_a_new_revision_in_place_leaves_the_container_alone_and_takes_its_settings_over() -> None:
    machine, old = empty_host(), replica(retry=True, stop_grace_s=20.0)
    ready(machine, old)
    new = replace(old, revision=2, retry=False, stop_grace_s=3.0, ready_timeout_s=5.0)
    assert machine.handle(ev.AssignmentReceived(assignment(2, new)), 10) == []
    assert phase(machine) is Phase.READY
    kept = machine.journal_entry()
    assert kept is not None
    assert kept.assignment.replicas == (new,)
    assert machine.handle(ev.ContainerSeen("r1", ended(exit_code=4)), 11) == [do.StopProbing("r1")]
    assert phase(machine) is Phase.FAILED  # retry is false now
    assert "retry is false" in message(machine)


def test_a_new_grace_in_place_is_the_one_of_the_next_stop() -> None:
    machine, old = empty_host(), replica(stop_grace_s=20.0)
    ready(machine, old)
    machine.handle(ev.AssignmentReceived(assignment(2, replace(old, revision=2, stop_grace_s=90.0))), 1)
    assert do.StopContainer("r1", 90.0) in machine.handle(ev.AssignmentReceived(assignment(3)), 2)


def test_changed_probes_in_place_are_asked_of_the_same_container() -> None:
    machine, old = empty_host(), replica()
    ready(machine, old)
    new = replace(old, revision=2, probes=(Probe("/health"),))
    assert machine.handle(ev.AssignmentReceived(assignment(2, new)), 1) == [do.StartProbing("r1", new, container())]
    assert phase(machine) is Phase.READY


def test_a_first_start_gets_the_time_that_is_allowed_now() -> None:
    machine, old = empty_host(), replica(ready_timeout_s=60.0)
    probing(machine, old, now_s=100)
    assert machine.next_wake_s() == 160
    machine.handle(ev.AssignmentReceived(assignment(2, replace(old, ready_timeout_s=300.0))), 110)
    assert machine.next_wake_s() == 400
    machine.handle(ev.TimePassed(), 399)
    assert phase(machine) is Phase.PROBING
    machine.handle(ev.TimePassed(), 400)
    assert phase(machine) is Phase.STOPPING


def test_what_is_pulled_is_told_until_it_is_there() -> None:
    machine = empty_host()
    machine.handle(ev.AssignmentReceived(assignment(1, replica())), 0)
    machine.handle(ev.PullProgressed("r1", 5, 9, "fetching the code, 1.2 of 3.4 MB"), 1)
    assert message(machine) == "fetching the code, 1.2 of 3.4 MB"
    machine.handle(ev.ImageReady("r1"), 2)
    assert message(machine) == ""
