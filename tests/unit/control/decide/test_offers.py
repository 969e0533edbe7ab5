"""decide/offers: what a plan shows."""

from dataclasses import replace

from fakes.hosts import NOW, ask, claim, finding, gpu, host, part, process
from homeport_control.decide.ask import Filters
from homeport_control.decide.offers import Offer, offers, resources_text
from homeport_control.domain.hosts import Connection


def test_an_offer_has_all_that_the_machine_has() -> None:
    machine = host("a", gpu("G1"), gpu("G2"), cpus=24, memory_mib=64222)
    found, refusals = offers([machine], (), ask(gpu=1), NOW)
    assert found == (Offer("a", "agent", "remote", "24xCPU, 63GB, A5000:24GB:2", False, 0.0, "idle"),)
    assert refusals == ()


def test_offers_stand_in_the_order_in_which_placement_would_choose() -> None:
    found, _ = offers([host("a", gpu("G1")), host("c"), host("b")], (), ask(), NOW)
    assert [offer.host for offer in found] == ["b", "c", "a"]


def test_a_host_whose_gpu_a_replica_holds_is_busy_and_the_reason_says_which() -> None:
    found, refusals = offers([host("a", gpu("A1")), host("b", gpu("B1"))], (claim("a", "A1"),), ask(gpu=1), NOW)
    assert [(offer.host, offer.availability) for offer in found] == [("b", "idle"), ("a", "busy")]
    assert [(refusal.host, refusal.reason) for refusal in refusals] == [
        ("a", "needs 1 GPU, 0 of 1 free (a replica of other holds it)")
    ]


def test_only_the_host_with_the_data_of_a_named_volume_is_an_offer() -> None:
    asked = replace(ask(), volumes=("new", "models"))
    found, refusals = offers([host("a"), host("b")], (), asked, NOW, {"models": host("b").id, "other": host("a").id})
    assert [offer.host for offer in found] == ["b"]
    assert [(refusal.host, refusal.reason) for refusal in refusals] == [("a", "volume data is on b")]
    _, refusals = offers([host("a")], (), asked, NOW, {"models": "gone"})
    assert refusals[0].reason == "volume data is on a host that is gone"


def test_a_host_that_could_never_hold_it_is_no_offer() -> None:
    found, refusals = offers([host("a")], (), ask(gpu=1, cpu="9.."), NOW)
    assert found == ()
    assert refusals[0].reason == "needs 1 GPU, there are none; needs 9 cpus, 8 free"


def test_a_machine_of_less_than_a_gigabyte_is_told_in_megabytes() -> None:
    assert resources_text(host("a", cpus=1, memory_mib=512).facts) == "1xCPU, 512MB"


def test_a_host_whose_gpu_a_replica_of_ours_uses_is_busy_and_one_that_a_stranger_uses_is_none() -> None:
    ours = host("a", gpu("A1", used_mib=20600, processes=(process(20000, "r-a-other"),)))
    theirs = host("b", gpu("B1", used_mib=20600, processes=(process(20000),)))
    sick = host("c", gpu("C1"), findings=(finding("C1"),))
    found, refusals = offers([ours, theirs, sick], (claim("a", "A1"),), ask(gpu="24GB"), NOW)
    assert [(offer.host, offer.availability) for offer in found] == [("a", "busy")]
    assert [(refusal.host, refusal.reason) for refusal in refusals] == [
        ("a", "needs 24GB on 1 GPU, largest free 0GB (a replica of other holds it)"),
        ("b", "needs 24GB on 1 GPU, largest free 3.9GB (pid 3123 python3 holds 19.5GB)"),
        ("c", "needs 24GB on 1 GPU, largest free 0GB (a GPU is failing: it fell off the bus)"),
    ]


def test_a_part_is_offered_beside_others() -> None:
    hosts = [host("a", gpu("A1")), host("b", gpu("B1"))]
    claims = (part("r1", "a", "A1", 20000), part("r2", "b", "B1", 8192))
    found, refusals = offers(hosts, claims, ask(gpu={"memory": "8GB", "shared": True}), NOW)
    assert [(offer.host, offer.availability) for offer in found] == [("b", "idle"), ("a", "busy")]
    assert refusals[0].reason == (
        "needs 8GB of a shared GPU, largest free 4.5GB (a replica of chat shares it and has 19.5GB)"
    )


def test_an_on_demand_host_that_would_fit_is_offered_as_not_provisioned() -> None:
    gone = replace(host("b", gpu("B1")), connection=Connection.RELEASED, connection_reason="not provisioned")
    small = replace(host("c"), connection=Connection.RELEASED, connection_reason="not provisioned")
    found, refusals = offers([host("a", gpu("A1")), gone, small], (claim("a", "A1"),), ask(gpu=1), NOW)
    assert [(offer.host, offer.availability) for offer in found] == [("b", "not provisioned"), ("a", "busy")]
    assert [(refusal.host, refusal.reason) for refusal in refusals] == [
        ("a", "needs 1 GPU, 0 of 1 free (a replica of other holds it)"),
        ("c", "needs 1 GPU, there are none"),
    ]


def test_a_run_that_reuses_is_offered_nobody_who_is_not_there() -> None:
    gone = replace(host("b"), connection=Connection.RELEASED, connection_reason="not provisioned")
    found, refusals = offers([gone], (), ask(filters=Filters(reuse=True)), NOW)
    assert found == ()
    assert [it.reason for it in refusals] == ["is not provisioned, the run asks for reuse"]
