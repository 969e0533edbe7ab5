"""Verdicts over made-up GPUs: each refusal with its numbers, and what is waited for instead."""

from dataclasses import replace

import pytest
from fakes.agent import replica
from homeport_agent.admission import ADMITTED, BACK_S, DYING_S, HUNG_S, SURE_S, Look, Other, Verdict, verdict
from homeport_agent.gpus.model import Finding, Gpu, GpuProcess, Severity
from homeport_agent.model import AssignedReplica, Phase

UUID, MIG = "GPU-3f2a7b10-0000-4000-8000-000000000000", "MIG-77c01122-0000-4000-8000-000000000000"
GPU = Gpu(UUID, "NVIDIA RTX A5000", memory_total_mib=24576, memory_used_mib=300)
ALONE = replica("r1", gpu_uuids=(UUID,))
LATE_S = 60.0


def shared(replica_id: str, gigabytes: int) -> AssignedReplica:
    return replica(replica_id, gpu_uuids=(UUID,), gpus_shared=True, gpu_memory_mib=gigabytes * 1024)


def held(*processes: GpuProcess, used_mib: int | None = None, **values: object) -> Look:
    used = sum(it.memory_mib or 0 for it in processes) + 300 if used_mib is None else used_mib
    return Look((replace(GPU, memory_used_mib=used, processes=processes, **values),))  # type: ignore[arg-type]


def judged(
    look: Look, *others: Other, assigned: AssignedReplica = ALONE, waited_s: float = LATE_S, stale_s: float = 0.5
) -> Verdict:
    return verdict(assigned, others, look, waited_s, stale_s)


NOTEBOOK = GpuProcess(3123, "python3", 13107)


def test_a_free_gpu_admits() -> None:
    assert judged(Look((GPU,)), waited_s=0) == ADMITTED


def test_who_needs_no_gpu_is_not_judged() -> None:
    assert judged(Look(unavailable="no NVIDIA driver"), assigned=replica()) == ADMITTED


def test_a_gpu_that_is_not_there_is_told_with_why() -> None:
    look, said = Look(unavailable="no NVIDIA driver"), "GPU 3f2a is not on this host any more: no NVIDIA driver"
    assert judged(look, waited_s=BACK_S) == Verdict(refused=said)
    assert judged(look, waited_s=BACK_S - 0.1) == Verdict(waits=said)  # a host that has just booted


def test_a_stranger_on_it_refuses_one_that_needs_it_for_itself() -> None:
    said = "GPU 3f2a (24GB): pid 3123 python3 holds 12.8GB, so it is not free for a replica of its own"
    assert judged(held(NOTEBOOK), waited_s=SURE_S) == Verdict(refused=said)
    # What has just ended looks like a stranger for a moment.
    assert judged(held(NOTEBOOK), waited_s=0) == Verdict(waits=said)


def test_memory_of_nobody_that_can_be_seen_is_given_time_to_come_back() -> None:
    assert judged(held(used_mib=9000), waited_s=SURE_S).waits
    assert "a program that cannot be seen from here holds 8.8GB" in judged(held(used_mib=9000)).refused


def test_its_own_old_process_does_not_count() -> None:
    assert judged(held(GpuProcess(9, "python3", 8000, replica_id="r1")), waited_s=0) == ADMITTED


@pytest.mark.parametrize("about", [UUID, "GPU-parent"])
def test_a_failing_finding_about_it_or_what_it_belongs_to_refuses_at_once(about: str) -> None:
    finding = Finding("xid-79", Severity.FAILING, "it fell off the bus", gpu_uuid=about)
    look = Look((replace(GPU, mig_parent="GPU-parent"),), (finding,))
    assert judged(look, waited_s=0).refused == "GPU 3f2a (24GB) is failing: it fell off the bus"


def test_a_host_that_is_failing_gets_seconds_to_come_to_itself() -> None:
    look = Look((GPU,), (Finding("driver", Severity.FAILING, "the driver is not loaded"),))
    assert judged(look, waited_s=BACK_S - 0.1).waits == "this host is failing: the driver is not loaded"
    assert judged(look, waited_s=BACK_S).refused == "this host is failing: the driver is not loaded"


def test_a_warning_or_the_finding_of_another_gpu_admits() -> None:
    warning = Finding("ecc", Severity.WARNING, "a row was remapped", gpu_uuid=UUID)
    other = Finding("xid-79", Severity.FAILING, "it fell off the bus", gpu_uuid="GPU-other")
    assert judged(Look((GPU,), (warning, other)), waited_s=0) == ADMITTED


def test_a_gpu_on_which_nothing_can_run_refuses() -> None:
    assert "is cut into MIG instances" in judged(Look((replace(GPU, mig_enabled=True),))).refused
    assert "compute mode prohibited" in judged(Look((replace(GPU, compute_mode="PROHIBITED"),))).refused


@pytest.mark.parametrize("phase", [Phase.PROBING, Phase.READY, Phase.UNREADY])
def test_a_replica_that_lives_there_refuses_another_that_needs_it_for_itself(phase: Phase) -> None:
    other = Other(replica("r2", gpu_uuids=(UUID,), run_name="web", index=1), phase)
    said = "GPU 3f2a (24GB) is in use by replica web-1 (r2), and this one needs it for itself"
    assert judged(Look((GPU,)), other, waited_s=0).refused == said
    assert judged(Look((GPU,)), other, assigned=shared("r1", 4), waited_s=0).refused == (
        "GPU 3f2a (24GB) is in use by replica web-1 (r2), which has it for itself"
    )


def test_of_two_that_start_at_once_exactly_one_gives_way() -> None:
    first, second = ALONE, replica("r2", gpu_uuids=(UUID,))
    assert judged(Look((GPU,)), Other(second, Phase.STARTING), assigned=first) == ADMITTED
    assert judged(Look((GPU,)), Other(first, Phase.STARTING), assigned=second).refused


def test_one_that_only_waits_there_takes_nothing() -> None:
    for phase in (Phase.WAITING, Phase.PULLING, Phase.STOPPED, Phase.FAILED):
        assert judged(Look((GPU,)), Other(replica("r2", gpu_uuids=(UUID,)), phase)) == ADMITTED


def test_one_that_is_being_stopped_is_waited_for() -> None:
    stopping = Other(replica("r2", gpu_uuids=(UUID,)), Phase.STOPPING)
    said = "GPU 3f2a (24GB) is still held by replica hello-0 (r2), which is being stopped"
    assert judged(Look((GPU,)), stopping, waited_s=DYING_S - 0.1) == Verdict(waits=said)
    assert judged(Look((GPU,)), stopping, waited_s=DYING_S) == Verdict(refused=f"{said} after 10 s")


def test_a_process_of_a_replica_that_has_ended_is_waited_for() -> None:
    look = held(GpuProcess(77, "python3", 2048, replica_id="r9"))
    said = "GPU 3f2a (24GB) is still held by pid 77 with 2GB of replica r9, which has ended"
    assert judged(look, waited_s=1) == Verdict(waits=said)
    assert judged(look).refused.startswith(said)


def test_shared_ones_fit_by_the_sum_of_what_is_reserved_and_held() -> None:
    others = (Other(shared("r2", 8), Phase.READY), Other(shared("r3", 6), Phase.WAITING))
    assert judged(Look((GPU,)), *others, assigned=shared("r1", 10)) == ADMITTED
    said = judged(Look((GPU,)), *others, assigned=shared("r1", 11)).refused
    assert said == "GPU 3f2a (24GB): needs 11GB, free 10GB (14GB are reserved or held by other replicas)"


def test_a_shared_one_that_holds_more_than_it_reserved_leaves_less() -> None:
    look = held(GpuProcess(5, "python3", 12 * 1024, replica_id="r2"))
    said = judged(look, Other(shared("r2", 8), Phase.READY), assigned=shared("r1", 14)).refused
    assert said == "GPU 3f2a (24GB): needs 14GB, free 12GB (12GB are reserved or held by other replicas)"


def test_a_stranger_leaves_less_to_share() -> None:
    assert judged(held(NOTEBOOK), assigned=shared("r1", 11)) == ADMITTED
    said = judged(held(NOTEBOOK), assigned=shared("r1", 12)).refused
    assert said == "GPU 3f2a (24GB): needs 12GB, free 11.2GB (pid 3123 python3 holds 12.8GB)"


def test_a_shared_one_fits_beside_one_that_is_being_stopped_when_there_is_room_for_both() -> None:
    stopping = Other(shared("r2", 12), Phase.STOPPING)
    assert judged(Look((GPU,)), stopping, assigned=shared("r1", 12), waited_s=0) == ADMITTED
    assert judged(Look((GPU,)), stopping, assigned=shared("r1", 13), waited_s=DYING_S - 1).waits
    assert judged(Look((GPU,)), stopping, assigned=shared("r1", 13)).refused


@pytest.mark.parametrize(
    ("look", "stale_s"),
    [(Look((GPU,), unavailable="NVML hangs", driver_trouble="hung"), 0.1), (Look((GPU,), unavailable="NVML hangs"), 9)],
)
def test_gpus_that_cannot_be_asked_are_not_given_away(look: Look, stale_s: float) -> None:
    said = "its GPUs cannot be checked: NVML hangs"
    assert judged(look, waited_s=HUNG_S, stale_s=stale_s) == Verdict(waits=said)
    assert judged(look, waited_s=HUNG_S + 0.1, stale_s=stale_s) == Verdict(refused=said)


def test_each_of_several_gpus_is_judged() -> None:
    two = replica("r1", gpu_uuids=(UUID, MIG))
    assert judged(Look((GPU,)), assigned=two).refused == "MIG 77c0 is not on this host any more"
    assert judged(Look((GPU, replace(GPU, uuid=MIG, mig_parent="GPU-parent"))), assigned=two) == ADMITTED


def test_what_replicas_of_ours_hold_unseen_is_not_a_strangers() -> None:
    sharing = Other(shared("r2", 8), Phase.READY)
    assert judged(held(used_mib=8200), sharing, assigned=shared("r1", 12)) == ADMITTED
    assert judged(held(used_mib=20000), sharing, assigned=shared("r1", 12)).refused


def test_memory_that_is_shared_with_the_host_is_counted_by_its_processes() -> None:
    assert judged(held(used_mib=20000, unified_memory=True)) == ADMITTED
    assert judged(held(NOTEBOOK, used_mib=20000, unified_memory=True)).refused
