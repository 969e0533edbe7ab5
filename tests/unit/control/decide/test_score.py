"""decide/score: which part comes before which."""

from typing import Any

import pytest
from fakes.hosts import NOW, ask, claim, finding, gpu, host, part, wired
from homeport_control.decide.board import Board
from homeport_control.decide.placement import NO_VOLUMES
from homeport_control.decide.score import IMAGE, PARTS, RUN, of_the_ask, told
from homeport_control.domain.hosts import Health, Host, Reservation

A100 = "NVIDIA A100-SXM4-80GB"


def order(hosts: list[Host], claims: tuple[Reservation, ...] = (), image: str = "x", **asked: Any) -> list[str]:
    """The hosts are named so that the order by name is the wrong one."""
    wanted = ask(**asked)
    wanted = type(wanted)(wanted.replica_id, wanted.run_name, wanted.resources, image=image)
    return [fit.host.name for fit in Board(hosts, claims, NOW, NO_VOLUMES).ranked(wanted)]


def test_each_part_has_its_name() -> None:
    values = tuple(float(at) for at in range(len(PARTS)))
    assert told((*values, 99.0)) == tuple(zip(PARTS, values, strict=True))
    changed = of_the_ask((*values, 99.0), 7, has_image=False)
    assert (changed[RUN], changed[IMAGE], changed[-1], len(changed)) == (7.0, 1.0, 99.0, len(values) + 1)


def test_a_warning_is_the_last_resort() -> None:
    warned = host("a", gpu("A1"), findings=(finding("A1", Health.WARNING),))
    tired = host("b", gpu("B1"), findings=(finding("", Health.WARNING),))
    assert order([warned, host("c", gpu("C1", A100, 81920)), tired], gpu=1) == ["c", "a", "b"]
    assert order([warned, host("c", gpu("C1"))]) == ["a", "c"], "of a GPU that it does not use"


def test_the_smallest_kind_comes_before_the_spread() -> None:
    hosts = [host("a", gpu("A1", A100, 81920)), host("b", gpu("B1"), gpu("B2"))]
    assert order(hosts, (claim("b", "B1", run="hello"),), gpu=1) == ["b", "a"]


def test_the_spread_comes_before_the_price() -> None:
    hosts = [host("a"), host("b", price=1.0)]
    assert order(hosts, (claim("a", run="hello"),)) == ["b", "a"]


def test_near_gpus_come_before_the_image_and_this_before_the_packing() -> None:
    def two(name: str, path: str, more: int = 0, **facts: Any) -> Host:
        uuids = [f"{name}{number}" for number in range(2 + more)]
        near = wired(uuids, path)
        return host(name, *(gpu(uuid, near=near[uuid]) for uuid in uuids), facts=facts)

    has = {"images": ("x:latest",)}
    assert order([two("a", "SYS", **has), two("b", "NV4")], gpu=2) == ["b", "a"]
    assert order([two("a", "PIX"), two("b", "PIX", more=1, **has)], gpu=2) == ["b", "a"]
    assert order([two("a", "PIX", more=1), two("b", "PIX")], gpu=2) == ["b", "a"]


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("x", "x:latest"),
        ("x:2", "x:2"),
        ("docker.io/library/x:2", "x:2"),
        ("r.example:5000/x", "r.example:5000/x:latest"),
    ],
)
def test_a_host_that_has_the_image_is_better_however_it_is_named(image: str, tag: str) -> None:
    hosts = [host("a"), host("b", facts={"images": ("y:1", tag)}), host("c", price=0.5, facts={"images": (tag,)})]
    assert order(hosts, image=image) == ["b", "a", "c"]
    assert order(hosts, image="other") == ["a", "b", "c"]
    assert order(hosts, image="") == ["a", "b", "c"]


def test_parts_are_packed_tightest_over_hosts_whatever_the_kind() -> None:
    hosts = [host("a", gpu("A1")), host("b", gpu("B1", A100, 81920)), host("c", gpu("C1"))]
    claims = (part("r1", "b", "B1", 72000), part("r2", "c", "C1", 4096))
    assert order(hosts, claims, gpu={"memory": "8GB", "shared": True}) == ["b", "c", "a"]
