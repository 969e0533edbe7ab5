"""decide/displace: who must leave, and in which words."""

from dataclasses import replace

import pytest
from fixtures.control import a_host
from homeport_control.decide.displace import all_displaced, all_warned, displaced, gpu_text
from homeport_control.domain.hosts import Finding, Gpu, Health, Host
from homeport_control.domain.replicas import Replica, Wanted

UUID, OTHER = "GPU-3f2a1111-0000", "GPU-77c02222-0000"
ON_GPU = Replica("r1", "run", 0, 1, Wanted.RUN, 0.0, host_id="gpu-1", gpu_uuids=(UUID,))
ON_NONE = replace(ON_GPU, id="r2", gpu_uuids=())
LOST = Finding("gpu-lost", Health.FAILING, "it has fallen off the bus.", gpu_uuid=UUID)


def host(*findings: Finding, **values: object) -> Host:
    return replace(a_host("gpu-1"), findings=findings, **values)  # type: ignore[arg-type]


def test_a_failing_gpu_is_left_by_those_that_have_it_and_by_nobody_else() -> None:
    sick = host(LOST)
    assert displaced(ON_GPU, sick) == "must leave gpu-1 (GPU 3f2a is failing: it has fallen off the bus)"
    assert displaced(replace(ON_GPU, gpu_uuids=(OTHER,)), sick) == ""
    assert displaced(replace(ON_GPU, gpu_uuids=(OTHER, UUID)), sick) != "", "one of several is enough"
    assert displaced(ON_NONE, sick) == ""


def test_a_drained_gpu_is_left_and_a_drained_host_by_all() -> None:
    assert displaced(ON_GPU, host(cordoned_gpus=(UUID,))) == "must leave gpu-1 (GPU 3f2a is drained)"
    assert displaced(ON_NONE, host(cordoned_gpus=(UUID,))) == ""
    for replica in (ON_GPU, ON_NONE):
        assert displaced(replica, host(cordoned=True)) == "must leave gpu-1 (the host is drained)"


@pytest.mark.parametrize(
    "well",
    [
        host(),
        host(replace(LOST, severity=Health.WARNING)),
        host(replace(LOST, gpu_uuid="", code="docker-down")),
    ],
    ids=["no finding", "a warning", "the host itself is failing, its containers go on"],
)
def test_nobody_leaves_for_less(well: Host) -> None:
    assert displaced(ON_GPU, well) == displaced(ON_NONE, well) == ""


def test_an_instance_is_left_when_its_gpu_is_failing() -> None:
    mig = Gpu("MIG-1", "A100 MIG 1g.10gb", 9728, mig_parent=UUID)
    cut = host(LOST, facts=replace(a_host("h").facts, gpus=(mig,)))
    assert displaced(replace(ON_GPU, gpu_uuids=("MIG-1",)), cut).startswith("must leave gpu-1 (MIG 1 is failing")


def test_what_is_on_its_way_out_is_let_go_in_peace() -> None:
    drained = host(cordoned=True)
    for replica in (
        replace(ON_GPU, wanted=Wanted.DRAIN),
        replace(ON_GPU, wanted=Wanted.STOP),
        replace(ON_GPU, ended_at_s=9.0),
        replace(ON_GPU, host_id=None),
        replace(ON_GPU, host_id="another"),
    ):
        assert displaced(replica, drained) == ""


def test_of_many_only_those_on_hosts_that_are_not_well_are_named() -> None:
    elsewhere = replace(ON_GPU, id="r3", host_id="gpu-2")
    waiting = replace(ON_GPU, id="r4", host_id=None)
    assert set(all_displaced((ON_GPU, ON_NONE, elsewhere, waiting), {"gpu-1": host(LOST)})) == {"r1"}


def test_a_long_reason_is_cut() -> None:
    long = displaced(ON_GPU, host(replace(LOST, reason="x" * 1000)))
    assert len(long) < 260
    assert long.endswith("…)")


def test_a_gpu_is_named_by_its_first_letters() -> None:
    assert [gpu_text(it) for it in (UUID, "MIG-77c0aaaa", "odd")] == ["GPU 3f2a", "MIG 77c0", "odd"]


def test_a_warning_of_the_host_or_of_a_gpu_is_told_of_those_that_have_it() -> None:
    warning = replace(LOST, severity=Health.WARNING)
    there = (ON_GPU, ON_NONE, replace(ON_GPU, id="r3", gpu_uuids=(OTHER,)), replace(ON_GPU, id="r4", host_id="gpu-2"))
    assert all_warned(there, {"gpu-1": host(warning)}) == {"r1"}
    assert all_warned(there, {"gpu-1": host(replace(warning, gpu_uuid=""))}) == {"r1", "r2", "r3"}
    assert all_warned(there, {"gpu-1": host()}) == frozenset()
