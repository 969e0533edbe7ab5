"""decide/near: which GPUs of a host are near each other."""

from fakes.hosts import gpu, wired
from homeport_control.decide.near import Near, best_set, distance, matrix
from homeport_control.domain.hosts import Gpu

PAIRS = {"A_B": "PIX", "C_D": "PIX", "A_C": "NV2", "B_D": "NV4", "A_D": "NODE", "B_C": "NODE"}


def four(**pairs: str) -> list[Gpu]:
    near = wired(["A", "B", "C", "D"], "SYS", **pairs)
    return [gpu(uuid, near=near[uuid]) for uuid in near]


def names(found: tuple[tuple[Gpu, ...], int, int]) -> list[str]:
    return [each.uuid for each in found[0]]


def test_the_words_of_nvidia_smi_in_their_order() -> None:
    paths = ["NV18", "NV12", "NV1", "PIX", "PXB", "PHB", "NODE", "SYS", "", "X"]
    told = [distance(path) for path in paths]
    assert told == sorted(told)
    assert len(set(told[:9])) == 9


def test_the_slowest_path_of_a_set_decides_and_then_their_sum() -> None:
    gpus = four(**PAIRS)
    assert names(Near(gpus).best(gpus, 2)) == ["B", "D"]
    assert names(Near(gpus).best(gpus[:3], 2)) == ["A", "C"]
    assert names(Near(gpus).best(gpus, 1)) == ["A"]
    one_slow = four(A_B="NV4", A_C="NV4", B_C="SYS", B_D="PHB", C_D="PHB")
    assert names(Near(one_slow).best(one_slow, 3)) == ["A", "B", "C"], (
        "all have SYS in them, of which this has the least"
    )


def test_where_nothing_is_told_the_first_by_uuid_are_taken() -> None:
    gpus = [gpu(uuid) for uuid in "CAB"]
    assert names(Near(gpus).best(sorted(gpus, key=lambda it: it.uuid), 2)) == ["A", "B"]


def test_one_gpu_that_tells_of_a_path_is_enough() -> None:
    near = wired(["A", "B"], "NV4")
    assert matrix([gpu("A", near=near["A"]), gpu("B")])[1][0] == distance("NV4")


def test_of_many_gpus_a_set_is_grown_and_it_is_a_near_one() -> None:
    islands = tuple(tuple(1 if a % 4 == b % 4 else 70 for b in range(16)) for a in range(16))
    found, worst, total = best_set(islands, tuple(range(16)), 4)
    assert (found, worst, total) == ((0, 4, 8, 12), 1, 6)
