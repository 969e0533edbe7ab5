"""decide/ranking: the best host for one kind of ask while others change, and the sentence when there is none."""

from dataclasses import replace

from fakes.hosts import NOW, ask, claim, gpu, host
from homeport_control.decide.ask import Ask
from homeport_control.decide.capacity import Capacity, capacity
from homeport_control.decide.ranking import Ranking
from homeport_control.domain.hosts import Connection, Reservation

HOSTS = [host("a", gpu("A1")), host("b", gpu("B1")), host("c", gpu("C1", "NVIDIA A100-SXM4-80GB", 81920))]


class Fleet:
    def __init__(self, asked: Ask) -> None:
        self.free: list[Capacity] = [capacity(it, ()) for it in HOSTS]
        self.changed: list[int] = []
        self.ranking = Ranking(self.free, self.changed, asked, NOW)

    def claim(self, at: int, *claims: Reservation) -> None:
        self.free[at] = capacity(HOSTS[at], claims)
        self.changed.append(at)

    def best(self, there: dict[int, int] | None = None, image: frozenset[int] = frozenset()) -> int | None:
        key = self.ranking.best(there or {}, image)
        return None if key is None else int(key[-1])


def test_the_run_and_the_image_are_put_beside_the_order() -> None:
    fleet = Fleet(ask(gpu=1))
    assert fleet.best() == 0
    assert fleet.best(there={0: 1}) == 1
    assert fleet.best(there={0: 2, 1: 1}) == 1, "the smaller kind comes before the spread"
    assert fleet.best(image=frozenset({1})) == 1
    assert fleet.best(image=frozenset({2})) == 0, "and before the image"
    assert fleet.best(there={1: 1}, image=frozenset({1})) == 0
    for there, image in (({}, frozenset({1})), ({0: 1}, frozenset({2})), ({0: 1, 1: 1, 2: 3}, frozenset({0, 1, 2}))):
        assert fleet.ranking.all(there, image)[0] == fleet.ranking.best(there, image)


def test_a_host_that_changes_is_rated_anew_and_comes_back() -> None:
    fleet = Fleet(ask(gpu=1))
    fleet.claim(0, claim("a", "A1"))
    assert fleet.best() == 1
    fleet.claim(1, claim("b", "B1"))
    assert fleet.best() == 2
    fleet.claim(0)
    assert fleet.best() == 0
    assert [int(key[-1]) for key in fleet.ranking.all({}, frozenset())] == [0, 2]


def test_the_summary_follows_what_its_hosts_lack() -> None:
    fleet = Fleet(ask(gpu="24GB", cpu="6.."))
    assert fleet.best() == 0
    fleet.claim(0, claim("a", "A1", run="x"))
    fleet.claim(1, claim("b", cpus=4))
    assert fleet.best() is None
    told = fleet.ranking.summary()
    assert told == (
        "0 of 3 hosts fit: 1 needs 6 cpus, 4 of 8 free; 1 needs 24GB on 1 GPU, there is only 80GB "
        "(24GB is exactly that: write 24GB.. for at least); "
        "1 needs 24GB on 1 GPU, largest free 0GB (a replica of x holds it)"
    )
    fleet.claim(0, claim("a", "A1", run="y"))
    assert fleet.ranking.summary() == told.replace("replica of x", "replica of y"), "by the same kind and number"
    fleet.claim(1, claim("b", cpus=5))
    assert "needs 6 cpus, 3 of 8 free" in fleet.ranking.summary()


def test_nobody_at_all_is_said() -> None:
    assert Ranking([], [], ask(), NOW).summary() == "there is no host"


def test_what_bars_a_host_is_not_rated() -> None:
    away = [replace(it, cordoned=True) for it in HOSTS]
    ranking = Ranking([capacity(it, ()) for it in away], [], ask(), NOW)
    assert ranking.best({}, frozenset()) is None
    assert ranking.summary() == "0 of 3 hosts fit: 3 are cordoned"


def test_one_that_is_not_there_says_what_it_lacks_or_else_that_it_is_not_there() -> None:
    gone = replace(host("d", gpu("D1")), connection=Connection.RELEASED, connection_reason="not provisioned")
    free = [capacity(gone, ())]
    assert Ranking(free, [], ask(gpu=1), NOW).summary() == "0 of 1 host fit: 1 is not provisioned"
    assert Ranking(free, [], ask(gpu=2), NOW).summary() == "0 of 1 host fit: 1 needs 2 GPUs, there is 1"
    assert Ranking(free, [], ask(gpu=1), NOW).best({}, frozenset()) is None
