"""decide/capacity: what is free."""

from dataclasses import replace

from fakes.hosts import claim, finding, gpu, host, part, process
from homeport_control.decide.capacity import capacity, emptied, gigabytes, known_capacity
from homeport_control.domain.hosts import Health


def test_claims_take_cpus_memory_and_gpus_of_their_own_host_only() -> None:
    machine = host("a", gpu("G2"), gpu("G1"), cpus=8, memory_mib=16384)
    free = capacity(machine, [claim("a", "G1", cpus=2.5, memory_mib=4096), claim("b", "G2", cpus=4)])
    assert (free.cpus, free.memory_mib) == (5.5, 12288)
    assert [(room.gpu.uuid, room.is_whole) for room in free.rooms] == [("G1", False), ("G2", True)]
    assert (free.whole, free.replicas) == (1, 1)


def test_of_a_gpu_cut_into_instances_only_these_count() -> None:
    cut = gpu("P", "NVIDIA A100-SXM4-80GB", 81920, mig_enabled=True)
    instances = [gpu(f"MIG-{n}", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9728, mig_parent="P") for n in range(2)]
    machine = host("a", cut, *instances)
    assert [room.gpu.uuid for room in capacity(machine, []).rooms] == ["MIG-0", "MIG-1"]
    assert [room.is_whole for room in capacity(machine, [claim("a", "MIG-1")]).rooms] == [True, False]
    assert [room.is_whole for room in capacity(machine, [claim("a", "P")]).rooms] == [False, False]


def test_a_failing_or_drained_gpu_is_barred_with_its_instances_and_a_warning_is_told() -> None:
    gpus = [gpu("P", mig_enabled=True), gpu("M", mig_parent="P"), gpu("Q"), gpu("R"), gpu("S")]
    machine = host("a", *gpus, findings=(finding("P"), finding("R", Health.WARNING)), cordoned_gpus=("Q",))
    rooms = {room.gpu.uuid: room for room in capacity(machine, []).rooms}
    assert rooms["M"].barred == "is failing: it fell off the bus"
    assert rooms["Q"].barred == "is drained"
    assert (rooms["R"].barred, rooms["R"].warned, rooms["S"].warned) == ("", True, False)
    assert not capacity(machine, []).warned
    assert capacity(replace(machine, findings=(finding("", Health.WARNING),)), []).warned


def test_without_its_replicas_a_host_has_what_they_hold_and_not_what_strangers_do() -> None:
    gpus = (
        gpu("G1", used_mib=20600, processes=(process(20000, "r1"),)),
        gpu("G2", used_mib=13700, processes=(process(13107),)),
        gpu("G3", used_mib=20600),  # of a replica whose processes NVML does not show
    )
    machine = host("a", *gpus)
    bare = emptied(machine, [claim("a", "G1"), claim("a", "G3")])
    assert [room.is_whole for room in capacity(bare, []).rooms] == [True, False, True]


def test_a_part_keeps_its_gpu_from_being_given_away_whole() -> None:
    assert capacity(host("a", gpu("G1")), [part("r1", "a", "G1", 1024)]).whole == 0


def test_amounts_are_written_as_users_write_them() -> None:
    assert [gigabytes(mib) for mib in (0, 512, 1024, 11469, 24576)] == ["0GB", "512MB", "1GB", "11.2GB", "24GB"]


def test_what_is_known_of_a_host_is_not_worked_out_again_until_it_or_its_claims_are_others() -> None:
    machine, mine = host("a", gpu("G1"), gpu("G2")), (claim("a", "G1"),)
    known = known_capacity(machine, mine)
    assert known.rooms == capacity(machine, mine).rooms
    assert known_capacity(machine, [claim("a", "G1")]) is known
    assert known_capacity(machine, ()).whole == 2
    changed = replace(machine, facts=replace(machine.facts, gpus=(gpu("G1"),)))
    assert [room.gpu.uuid for room in known_capacity(changed, mine).rooms] == ["G1"]
