"""decide/placement: who gets what, in which order, and the sentence when nobody fits."""

from fakes.hosts import NOW, ask, claim, gpu, host
from homeport_control.decide.placement import Placed, Unplaced, place
from homeport_control.domain.hosts import Connection, Host, Reservation


def where(hosts: list[Host], asks: list[object], claims: tuple[Reservation, ...] = ()) -> list[str | None]:
    answers = place(hosts, claims, asks, NOW)  # type: ignore[arg-type]
    return [answer.host_id.removeprefix("id-") if isinstance(answer, Placed) else None for answer in answers]


def test_each_placed_replica_takes_its_share_before_the_next_is_looked_at() -> None:
    asks = [ask(f"r{number}", gpu=1) for number in range(3)]
    answers = place([host("a", gpu("G1"), gpu("G2"))], (), asks, NOW)
    assert [answer.gpu_uuids for answer in answers if isinstance(answer, Placed)] == [("G1",), ("G2",)]
    assert isinstance(answers[2], Unplaced)
    assert answers[2].summary == ("0 of 1 host fit: 1 needs 1 GPU, 0 of 2 free (a replica of hello holds it)")


def test_the_claim_is_what_was_asked_at_least() -> None:
    (placed,) = place([host("a", gpu("G1"))], (), [ask(cpu="2..4", memory="3GB..", gpu=1)], NOW)
    assert isinstance(placed, Placed)
    assert placed.reservation == Reservation("r1", "id-a", ("G1",), True, 0, 2.0, 3072, "hello", 1)


def test_the_claim_of_a_part_is_its_memory_beside_others() -> None:
    asks = [ask(f"r{number}", gpu={"memory": "10GB..", "shared": True}) for number in range(3)]
    answers = place([host("a", gpu("G1"))], (), asks, NOW)
    assert isinstance(answers[0], Placed)
    assert answers[0].reservation == Reservation("r0", "id-a", ("G1",), False, 10240, 0.0, 0, "hello", 1)
    assert isinstance(answers[1], Placed)
    assert isinstance(answers[2], Unplaced)
    assert answers[2].summary == (
        "0 of 1 host fit: 1 needs 10GB of a shared GPU, largest free 4GB (2 replicas of hello share it and have 20GB)"
    )


def test_replicas_of_one_run_spread_over_hosts() -> None:
    hosts = [host("a"), host("b"), host("c")]
    assert where(hosts, [ask(f"r{number}") for number in range(4)]) == ["a", "b", "c", "a"]
    assert where(hosts, [ask()], (claim("a", run="hello"), claim("b", run="hello"))) == ["c"]
    fuller = (claim("a", run="hello"), claim("b", run="x"), claim("b", run="y"))
    assert where(hosts[:2], [ask()], fuller) == ["b"]


def test_gpus_are_packed_so_that_large_asks_find_room() -> None:
    hosts = [host("a", gpu("A1"), gpu("A2")), host("b", gpu("B1"))]
    assert where(hosts, [ask(gpu=1), ask("r2", "large", gpu=2)]) == ["b", "a"]


def test_what_needs_no_gpu_stays_off_hosts_that_have_some_and_goes_where_least_is() -> None:
    hosts = [host("a", gpu("A1")), host("b"), host("c")]
    assert where(hosts, [ask()], (claim("b"),)) == ["c"]


def test_a_cheaper_host_comes_before_a_fuller_one() -> None:
    hosts = [host("a", gpu("A1"), price=1.0), host("b", gpu("B1"), gpu("B2"))]
    assert where(hosts, [ask(gpu=1)]) == ["b"]


def test_ties_go_by_name_whatever_the_order_of_the_hosts() -> None:
    hosts = [host("b"), host("a"), host("c")]
    assert where(hosts, [ask()]) == ["a"]
    assert where(hosts[::-1], [ask()]) == ["a"]


def test_nobody_fits_is_counted_per_reason_with_the_numbers_of_the_one_that_comes_closest() -> None:
    away = host("c", connection=Connection.UNREACHABLE, connection_since_s=NOW - 12)
    hosts = [host("a", gpu("A1", used_mib=20000)), host("b", gpu("B1", used_mib=13107)), away]
    (answer,) = place(hosts, (), [ask(gpu="24GB")], NOW)
    assert isinstance(answer, Unplaced)
    assert answer.summary == (
        "0 of 3 hosts fit: 2 need 24GB on 1 GPU, largest free 11.2GB "
        "(a program that cannot be seen from here holds 12.8GB); 1 is unreachable since 12 s"
    )


def test_without_hosts_it_says_so() -> None:
    (answer,) = place([], (), [ask()], NOW)
    assert isinstance(answer, Unplaced)
    assert answer.summary == "there is no host"
