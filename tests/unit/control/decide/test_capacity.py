"""decide/capacity: what is free, who has the rest, and which changes matter."""

from dataclasses import replace

from fakes.hosts import claim, gpu, host
from homeport_control.decide.capacity import capacity, gigabytes, is_used_by_others, matters


def test_claims_take_cpus_memory_and_gpus_of_their_own_host_only() -> None:
    machine = host("a", gpu("G1"), gpu("G2"), cpus=8, memory_mib=16384)
    free = capacity(machine, [claim("a", "G1", cpus=2.5, memory_mib=4096), claim("b", "G2", cpus=4)])
    assert (free.cpus, free.memory_mib) == (5.5, 12288)
    assert [free_gpu.uuid for free_gpu in free.free_gpus] == ["G2"]
    assert [taken.reason for taken in free.taken_gpus] == ["a replica of other holds it"]
    assert free.reserved_by == ("other",)


def test_a_gpu_that_somebody_else_uses_is_taken_and_the_reason_has_the_number() -> None:
    free = capacity(host("a", gpu("G1", used_mib=13107)), [])
    assert free.free_gpus == ()
    assert free.taken_gpus[0].reason == "a program outside Homeport uses 12.8GB of 24GB"
    assert free.taken_gpus[0].foreign


def test_the_drivers_own_share_of_an_idle_gpu_is_not_somebody_else() -> None:
    assert not is_used_by_others(gpu("G1", used_mib=1024))
    assert is_used_by_others(gpu("G1", used_mib=1300))
    assert not is_used_by_others(gpu("G1", memory_mib=81559, used_mib=4000))


def test_a_claim_of_a_part_still_keeps_its_gpu_from_being_given_away_whole() -> None:
    part = replace(claim("a", "G1"), exclusive=False, gpu_memory_mib=1024)
    assert capacity(host("a", gpu("G1")), [part]).free_gpus == ()


def test_only_what_placement_asks_about_matters() -> None:
    facts = host("a", gpu("G1")).facts
    assert not matters(facts, replace(facts, memory_available_mib=1, disk_free_mib=facts.disk_free_mib + 1))
    assert not matters(facts, replace(facts, gpus=(gpu("G1", used_mib=200),)))
    assert matters(facts, replace(facts, gpus=(gpu("G1", used_mib=20_000),)))
    assert matters(facts, replace(facts, gpus=()))
    assert matters(facts, replace(facts, cpus=4))
    assert matters(facts, replace(facts, docker_unavailable="no socket"))
    assert matters(facts, replace(facts, disk_free_mib=0))


def test_amounts_are_written_as_users_write_them() -> None:
    assert [gigabytes(mib) for mib in (0, 512, 1024, 11469, 24576)] == ["0GB", "512MB", "1GB", "11.2GB", "24GB"]
