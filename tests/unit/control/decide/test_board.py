"""decide/board: claims come in, and what it answers follows."""

from dataclasses import replace

from fakes.hosts import NOW, ask, claim, gpu, host, part
from homeport_control.decide.board import Board
from homeport_control.domain.hosts import Host, Reservation


def board(hosts: list[Host], claims: tuple[Reservation, ...] = ()) -> Board:
    return Board(hosts, claims, NOW, {"models": "id-b"})


def test_a_claim_is_seen_by_every_kind_of_ask() -> None:
    seen = board([host("a", gpu("A1")), host("b", gpu("B1"), gpu("B2"))])
    whole, shared = ask(gpu=1), ask(gpu={"memory": "8GB", "shared": True})
    assert [fit.host.name for fit in seen.ranked(whole)] == ["a", "b"]
    assert [fit.host.name for fit in seen.ranked(shared)] == ["a", "b"]
    seen.claim(claim("a", "A1"))
    assert [fit.host.name for fit in seen.ranked(whole)] == ["b"]
    assert [fit.host.name for fit in seen.ranked(shared)] == ["b"]
    seen.claim(part("r1", "b", "B1", 4096))
    best = seen.best(shared)
    assert best is not None
    assert [it.uuid for it in best.choice.gpus] == ["B1"]
    assert [(refusal.host, refusal.reason) for refusal in seen.refusals(replace(whole, run_name="x"))] == [
        ("a", "needs 1 GPU, 0 of 1 free (a replica of other holds it)")
    ]


def test_a_volume_is_at_home_from_the_claim_on() -> None:
    seen = board([host("a"), host("b")])
    mounts = replace(ask(), volumes=("new",))
    assert len(seen.ranked(mounts)) == 2
    seen.claim(claim("b", run="hello"), ("new",))
    assert [fit.host.name for fit in seen.ranked(mounts)] == ["b"]
    assert [fit.host.name for fit in seen.ranked(replace(ask(), volumes=("models",)))] == ["b"]


def test_claims_on_a_host_that_is_gone_are_passed_over() -> None:
    seen = board([host("a", gpu("A1"))], (claim("gone", "A1"),))
    seen.claim(claim("gone", "A1"))
    assert seen.best(ask(gpu=1)) is not None


def test_a_part_of_the_score_counts_the_replicas_of_the_run() -> None:
    seen = board([host("a")], (claim("a", run="hello"), claim("a", run="other")))
    best = seen.best(ask())
    assert best is not None
    assert dict(best.score)["replicas of this run there"] == 1.0
    assert dict(best.score)["replicas there"] == 2.0
