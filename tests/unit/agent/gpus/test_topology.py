"""gpus/topology: the ways between GPUs, in the words of `nvidia-smi topo -m`."""

import pytest
from rig.nvml.gpus import FakeGpus
from rig.nvml.inside import inside

FIND = """
from homeport_agent.gpus.topology import Peer, find_near
buses = [pynvml.nvmlDeviceGetPciInfo(it).busId.lower() for it in handles]
peers = [Peer(f"g{index}", handle, buses[index], LINKS[index]) for index, handle in enumerate(handles)]
said += [[it.uuid, it.path] for it in find_near(pynvml, peers[0], range(LINKS[0]), peers[1:])]
"""


def found(gpus: FakeGpus, *links: int) -> list[list[str]]:
    return inside(gpus, f"LINKS = {links}\n{FIND}")


@pytest.mark.parametrize(("level", "path"), [(10, "PIX"), (20, "PXB"), (30, "PHB"), (40, "NODE"), (50, "SYS")])
def test_without_links_it_is_the_nearest_common_ancestor(gpus: FakeGpus, level: int, path: str) -> None:
    gpus.set(**{"topo.0.1": level})
    assert found(gpus, 0, 0) == [["g1", path]]


def test_links_that_end_at_the_other_gpu_are_counted(gpus: FakeGpus) -> None:
    gpus.set(gpu0__nvlinks=4, gpu0__nvlink_peer=1)
    assert found(gpus, 4, 4) == [["g1", "NV4"]]


def test_links_that_end_at_a_switch_reach_all_that_hang_on_it(gpus: FakeGpus) -> None:
    gpus.set(gpu0__nvlinks=18, gpu1__nvlinks=12)
    assert found(gpus, 18, 12) == [["g1", "NV12"]], "as many as the one with fewer has"
    gpus.set(p2p=5, topo=50)
    assert found(gpus, 18, 12) == [["g1", "SYS"]], "the driver says that they do not reach each other"


def test_what_the_driver_does_not_tell_and_a_lost_one_are_left_out(library_of_three: FakeGpus) -> None:
    gpus = library_of_three
    gpus.fail("TopologyCommonAncestor", 3, index=0)
    assert found(gpus, 0, 0, 0) == []
    gpus.fail("TopologyCommonAncestor", None, index=0)
    assert [uuid for uuid, _ in found(gpus, 0, 0, 0)] == ["g1", "g2"]


@pytest.fixture
def library_of_three(gpus: FakeGpus) -> FakeGpus:
    return FakeGpus(gpus.library_folder, count=3)
