"""decide/gpu_room: what is left of one GPU, and who has the rest."""

import pytest
from fakes.hosts import claim, gpu, part, process
from homeport_control.decide.gpu_room import GpuRoom, gpu_room
from homeport_control.domain.hosts import Gpu, GpuProcess, Reservation

TOTAL = 24564


def room(*claims: Reservation, used_mib: int = 0, processes: tuple[GpuProcess, ...] = ()) -> GpuRoom:
    return gpu_room(gpu("G1", used_mib=used_mib, processes=processes), 16384, claims)


def test_a_gpu_that_nobody_uses_is_whole_and_the_drivers_own_share_of_it_is_not_free() -> None:
    found = room(used_mib=600)
    assert (found.is_whole, found.free_mib, found.reasons) == (True, TOTAL - 600, ())


def test_a_strangers_process_makes_it_no_whole_and_leaves_a_part() -> None:
    found = room(used_mib=13500, processes=(process(13107),))
    assert (found.is_whole, found.free_mib) == (False, TOTAL - 13500)
    assert found.reasons == ("pid 3123 python3 holds 12.8GB",)


def test_a_stranger_whose_memory_is_not_told_counts_with_what_is_used() -> None:
    found = room(used_mib=5000, processes=(process(None),))
    assert (found.is_whole, found.free_mib) == (False, TOTAL - 5000)
    assert found.reasons == ("pid 3123 python3 holds some memory",)


def test_memory_of_nobody_is_a_strangers_from_a_gigabyte_on() -> None:
    assert room(used_mib=1228).is_whole
    assert not room(used_mib=1300).is_whole


def test_a_display_is_nobody() -> None:
    assert room(used_mib=640, processes=(process(40, graphics=True),)).is_whole


def test_who_has_it_for_himself_leaves_nothing_whatever_is_measured() -> None:
    found = room(claim("a", "G1", run="chat"))
    assert (found.is_whole, found.is_shareable, found.free_mib) == (False, False, 0)
    assert found.reasons == ("a replica of chat holds it",)


@pytest.mark.parametrize(
    ("used_mib", "processes", "free_mib"),
    [
        (600, (), TOTAL - 8192),  # it has not started: what is used may become its own
        (3600, (process(3000, "r1"),), TOTAL - 8192 - 600),
        (9600, (process(9000, "r1"),), TOTAL - 9000 - 600),  # more than it reserved
        (8000, (), TOTAL - 8192),  # its processes cannot be seen
        (9000, (process(None, "r1"),), TOTAL - 8192 - 808),
    ],
)
def test_a_replica_counts_with_what_it_reserved_or_holds_where_that_is_more(
    used_mib: int, processes: tuple[GpuProcess, ...], free_mib: int
) -> None:
    found = room(part("r1", "a", "G1", 8192), used_mib=used_mib, processes=processes)
    assert (found.is_whole, found.is_shareable, found.strange, found.free_mib) == (False, True, None, free_mib)
    assert found.reasons == ("a replica of chat shares it and has 8GB",)


def test_strangers_and_several_replicas_are_all_counted() -> None:
    claims = (part("r1", "a", "G1", 8192), part("r2", "a", "G1", 4096, "embed"))
    found = room(*claims, used_mib=11000, processes=(process(7000, "r1"), process(3500, pid=7)))
    assert found.free_mib == TOTAL - 8192 - 4096 - 3500
    assert found.reasons == ("2 replicas of chat and embed share it and have 12GB", "pid 7 python3 holds 3.4GB")
    turned = room(*claims[::-1], used_mib=11000, processes=(process(3500, pid=7), process(7000, "r1")))
    assert (turned.free_mib, turned.holders, turned.reasons) == (found.free_mib, found.holders, found.reasons)


def test_a_replica_without_a_claim_there_is_a_stranger() -> None:
    found = room(part("r1", "a", "G1", 8192), used_mib=9000, processes=(process(9000, "gone"),))
    assert found.free_mib == TOTAL - 8192 - 9000
    assert found.reasons[1] == "pid 3123 python3 of a replica that has ended holds 8.8GB"


def test_a_barred_gpu_has_no_room_and_says_why() -> None:
    found = gpu_room(gpu("G1"), 16384, (), "is drained")
    assert (found.is_whole, found.is_shareable, found.free_mib, found.reasons) == (
        False,
        False,
        0,
        ("a GPU is drained",),
    )
    assert gpu_room(gpu("G1", compute_mode="Prohibited"), 0).reasons == ("a GPU is in compute mode prohibited",)


def test_unified_memory_is_the_hosts_and_what_the_host_uses_is_no_program_on_the_gpu() -> None:
    one: Gpu = gpu("G1", "NVIDIA GB10", 0, 90_000, unified_memory=True)
    found = gpu_room(one, 122_880)
    assert (found.total_mib, found.free_mib, found.is_whole) == (122_880, 122_880, True)
    held = gpu_room(gpu("G1", "NVIDIA GB10", 0, 0, unified_memory=True, processes=(process(4096),)), 122_880)
    assert (held.free_mib, held.is_whole) == (122_880 - 4096, False)
