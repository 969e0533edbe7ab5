"""xds/subscription: nonces, order, reconnects and refusals, told as stories between one Envoy and us."""

from dataclasses import replace

import pytest
from homeport_control.xds.subscription import (
    CDS,
    ECDS,
    EDS,
    LDS,
    RDS,
    SDS,
    Nack,
    Request,
    Resource,
    Response,
    Subscription,
    World,
)


def res(name: str, version: str = "1") -> Resource:
    return Resource(name, version, b"")


def world(version: int, services: dict[str, str], routes: str = "1", cluster: str = "1", tokens: str = "1") -> World:
    """`services`: name -> version of its endpoints."""
    return World(
        version,
        {
            LDS: {"http": res("http")},
            RDS: {"homeport": res("homeport", routes)},
            CDS: {name: res(name, cluster) for name in services},
            EDS: {name: res(name, v) for name, v in services.items()},
            ECDS: {"tokens": res("tokens", tokens)},
        },
    )


def short(response: Response) -> tuple[str, list[str], list[str]]:
    return response.type_url.rpartition(".")[2], [r.name for r in response.resources], list(response.removed)


def sent(stream: Subscription) -> list[tuple[str, list[str], list[str]]]:
    return [short(response) for response in stream.responses()]


def ack(stream: Subscription, *responses: Response) -> None:
    for response in responses:
        assert stream.receive(Request(response.type_url, response.nonce)) is None


def ack_all(stream: Subscription) -> list[tuple[str, list[str], list[str]]]:
    """Acknowledge whatever comes until nothing comes any more; what came."""
    seen = []
    while responses := stream.responses():
        seen += [short(response) for response in responses]
        ack(stream, *responses)
    return seen


def settled(first: World) -> Subscription:
    """A fresh Envoy that has taken all of this world."""
    stream = Subscription()
    stream.set_world(first)
    stream.receive(Request(CDS))
    ack_all(stream)
    stream.receive(Request(EDS, subscribe=tuple(first.of(CDS))))
    stream.receive(Request(LDS))
    stream.receive(Request(ECDS, subscribe=("tokens",)))
    stream.receive(Request(RDS, subscribe=("homeport",)))
    ack_all(stream)
    assert stream.acked_version == first.version
    return stream


def test_nothing_is_sent_before_there_is_a_world() -> None:
    stream = Subscription()
    stream.receive(Request(CDS))
    stream.receive(Request(LDS))
    stream.receive(Request(RDS, subscribe=("homeport",)))
    assert stream.responses() == []
    assert stream.acked_version is None


def test_a_fresh_envoy_gets_routes_only_after_the_endpoints_are_acknowledged() -> None:
    stream = Subscription()
    stream.set_world(world(1, {"a": "1"}))
    stream.receive(Request(CDS))
    stream.receive(Request(LDS))
    stream.receive(Request(RDS, subscribe=("homeport",)))
    clusters, listeners = stream.responses()
    assert [short(clusters), short(listeners)] == [("Cluster", ["a"], []), ("Listener", ["http"], [])]
    ack(stream, clusters, listeners)
    assert sent(stream) == []
    stream.receive(Request(EDS, subscribe=("a",)))
    (endpoints,) = stream.responses()
    assert short(endpoints) == ("ClusterLoadAssignment", ["a"], [])
    assert sent(stream) == []
    ack(stream, endpoints)
    assert sent(stream) == [("RouteConfiguration", ["homeport"], [])]


def test_a_fresh_envoy_is_answered_even_when_there_are_no_services() -> None:
    stream = Subscription()
    stream.set_world(world(1, {}))
    stream.receive(Request(CDS))
    assert sent(stream) == [("Cluster", [], [])]


def test_only_what_changed_is_sent_and_nothing_for_an_equal_world() -> None:
    stream = settled(world(1, {"a": "1", "b": "1"}))
    stream.set_world(world(2, {"a": "1", "b": "1"}))
    assert sent(stream) == []
    assert stream.acked_version == 2
    stream.set_world(world(3, {"a": "1", "b": "2"}))
    assert stream.acked_version is None
    assert ack_all(stream) == [("ClusterLoadAssignment", ["b"], [])]
    assert stream.acked_version == 3


def test_a_tokens_change_sends_one_resource() -> None:
    stream = settled(world(1, {"a": "1"}))
    stream.set_world(world(2, {"a": "1"}, tokens="2"))
    assert ack_all(stream) == [("TypedExtensionConfig", ["tokens"], [])]


def test_a_new_service_comes_clusters_first_and_routes_last() -> None:
    stream = settled(world(1, {"a": "1"}))
    stream.set_world(world(2, {"a": "1", "b": "1"}, routes="2"))
    (clusters,) = stream.responses()
    assert short(clusters) == ("Cluster", ["b"], [])
    ack(stream, clusters)
    stream.receive(Request(EDS, subscribe=("b",)))
    assert ack_all(stream) == [("ClusterLoadAssignment", ["b"], []), ("RouteConfiguration", ["homeport"], [])]
    assert stream.acked_version == 2


def test_a_removed_service_goes_routes_first_and_clusters_last() -> None:
    stream = settled(world(1, {"a": "1", "b": "1"}))
    stream.set_world(world(2, {"a": "1"}, routes="2"))
    (routes,) = stream.responses()
    assert short(routes) == ("RouteConfiguration", ["homeport"], [])
    assert sent(stream) == []
    ack(stream, routes)
    assert stream.acked_version is None
    assert ack_all(stream) == [("Cluster", [], ["b"])]
    stream.receive(Request(EDS, unsubscribe=("b",)))
    assert stream.acked_version == 2


def test_endpoints_follow_each_change_of_their_cluster_even_when_they_are_the_same() -> None:
    stream = settled(world(1, {"a": "1"}))
    stream.set_world(world(2, {"a": "1"}, cluster="2"))
    assert sent(stream) == [("Cluster", ["a"], []), ("ClusterLoadAssignment", ["a"], [])]


def test_endpoints_that_were_on_their_way_when_the_cluster_changed_are_sent_again() -> None:
    stream = settled(world(1, {"a": "1"}))
    stream.set_world(world(2, {"a": "2"}))
    (early,) = stream.responses()
    stream.set_world(world(3, {"a": "2"}, cluster="2"))
    (clusters,) = stream.responses()
    ack(stream, early, clusters)
    assert stream.acked_version is None
    assert ack_all(stream) == [("ClusterLoadAssignment", ["a"], [])]
    assert stream.acked_version == 3


def test_one_response_per_type_is_in_flight_and_the_newest_state_follows_it() -> None:
    stream = settled(world(1, {"a": "1"}))
    stream.set_world(world(2, {"a": "2"}))
    (first,) = stream.responses()
    for version in (3, 4, 5):
        stream.set_world(world(version, {"a": str(version)}))
        assert stream.responses() == []
    ack(stream, first)
    (last,) = stream.responses()
    assert (last.version, last.resources[0].version) == (5, "5")


def test_an_old_nonce_acknowledges_nothing() -> None:
    stream = settled(world(1, {"a": "1"}))
    stream.set_world(world(2, {"a": "2"}))
    (response,) = stream.responses()
    assert stream.receive(Request(EDS, nonce="1", error="late")) is None
    assert stream.acked_version is None
    ack(stream, response)
    assert stream.acked_version == 2


def reconnected(held: World, now: World) -> Subscription:
    """A new stream of an Envoy that holds a world already; it speaks first."""
    stream = Subscription()
    versions = {kind: {name: r.version for name, r in held.of(kind).items()} for kind in (CDS, EDS, LDS, RDS, ECDS)}
    stream.set_world(now)
    for kind in (CDS, EDS, LDS, RDS, ECDS):
        names = () if kind in (CDS, LDS) else tuple(versions[kind])
        stream.receive(Request(kind, subscribe=names, initial_versions=versions[kind]))
    return stream


def test_an_envoy_that_comes_back_gets_only_its_endpoints_again_when_nothing_changed() -> None:
    """The stream may have been cut between a changed cluster and its endpoints, for which that cluster still waits."""
    stream = reconnected(world(7, {"a": "1"}), world(1, {"a": "1"}))
    assert ack_all(stream) == [("ClusterLoadAssignment", ["a"], [])]
    assert stream.acked_version == 1


def test_an_envoy_that_comes_back_is_given_what_changed_meanwhile_in_order() -> None:
    stream = reconnected(world(7, {"a": "1", "gone": "1"}), world(1, {"a": "2"}, routes="2"))
    assert ack_all(stream) == [
        ("ClusterLoadAssignment", ["a"], []),
        ("RouteConfiguration", ["homeport"], []),
        ("Cluster", [], ["gone"]),
    ]
    assert stream.acked_version == 1


def test_a_cluster_sent_before_the_first_word_about_endpoints_still_gets_them() -> None:
    stream = Subscription()
    stream.set_world(world(2, {"a": "1"}, cluster="2"))
    stream.receive(Request(CDS, initial_versions={"a": "1"}))
    assert sent(stream) == [("Cluster", ["a"], [])]
    stream.receive(Request(EDS, subscribe=("a",), initial_versions={"a": "1"}))
    assert sent(stream) == [("ClusterLoadAssignment", ["a"], [])]


def test_an_unknown_name_is_answered_as_removed_once() -> None:
    stream = settled(world(1, {"a": "1"}))
    stream.receive(Request(EDS, subscribe=("nobody",)))
    assert ack_all(stream) == [("ClusterLoadAssignment", [], ["nobody"])]


def test_a_name_that_is_asked_for_again_is_sent_again() -> None:
    stream = settled(world(1, {"a": "1"}))
    stream.receive(Request(EDS, subscribe=("a",)))
    assert ack_all(stream) == [("ClusterLoadAssignment", ["a"], [])]


def test_after_a_refusal_nothing_is_sent_until_another_world_leads_back() -> None:
    good = world(1, {"a": "1"})
    stream = settled(good)
    stream.set_world(world(2, {"a": "bad", "b": "1"}, routes="2"))
    clusters, endpoints = stream.responses()
    assert stream.receive(Request(EDS, endpoints.nonce, error="malformed")) == Nack(2, "malformed", EDS, ("a",))
    ack(stream, clusters)
    assert stream.responses() == []
    assert stream.acked_version is None

    stream.set_world(good)
    assert ack_all(stream) == [("Cluster", [], ["b"]), ("ClusterLoadAssignment", ["a"], [])]
    assert stream.acked_version == 1


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("bad port in b-2.", "the cluster of b-2: bad port in b-2."),
        ("bad", "the cluster of one of b, b-2, c and 1 more: bad"),
    ],
)
def test_a_refusal_says_which_resource_is_meant(message: str, sentence: str) -> None:
    stream = settled(world(1, {"a": "1"}))
    stream.set_world(world(2, dict.fromkeys(("a", "b", "b-2", "c", "d"), "1")))
    (clusters,) = stream.responses()
    nack = stream.receive(Request(CDS, clusters.nonce, error=message))
    assert nack is not None
    assert nack.sentence == sentence


def test_endpoints_that_were_only_sent_again_are_not_under_suspicion() -> None:
    stream = settled(world(1, {"a": "1", "b": "1"}))
    changed = {name: {**of} for name, of in world(2, {"a": "1", "b": "2"}).resources.items()}
    stream.set_world(World(2, changed))
    (endpoints,) = stream.responses()
    nack = stream.receive(Request(EDS, endpoints.nonce, error="malformed"))
    assert nack is not None
    assert nack.sentence == "the endpoints of b: malformed"


def test_a_refused_addition_is_taken_back() -> None:
    good = world(1, {"a": "1"})
    stream = settled(good)
    stream.set_world(world(2, {"a": "1", "b": "1"}))
    (clusters,) = stream.responses()
    stream.receive(Request(CDS, clusters.nonce, error="bad cluster"))
    stream.set_world(good)
    assert ack_all(stream) == [("Cluster", [], ["b"])]


def with_certificates(version: int, **certificates: str) -> World:
    """Name -> version of each."""
    base = world(version, {"a": "1"})
    shown = {name: res(name, v) for name, v in certificates.items()}
    return replace(base, resources={**base.resources, SDS: shown})


def test_certificates_that_nobody_asked_for_are_not_waited_for() -> None:
    stream = settled(world(1, {"a": "1"}))
    stream.set_world(with_certificates(2, x="1", y="1"))
    assert sent(stream) == []
    assert stream.acked_version == 2


def test_a_certificate_is_sent_when_its_name_is_asked_for_and_again_when_it_is_another() -> None:
    stream = settled(with_certificates(1, x="1", y="1"))
    stream.receive(Request(SDS, subscribe=("x",)))
    assert stream.acked_version is None
    assert ack_all(stream) == [("Secret", ["x"], [])]
    stream.set_world(with_certificates(2, x="2", y="2"))
    assert stream.acked_version is None
    assert ack_all(stream) == [("Secret", ["x"], [])]
    assert stream.acked_version == 2


def test_a_name_without_a_certificate_is_answered_at_once_and_gets_it_when_it_comes() -> None:
    stream = settled(with_certificates(1, x="1"))
    stream.receive(Request(SDS, subscribe=("late",)))
    assert ack_all(stream) == [("Secret", [], ["late"])]
    assert stream.acked_version == 1
    stream.set_world(with_certificates(2, x="1", late="1"))
    assert ack_all(stream) == [("Secret", ["late"], [])]


def test_a_certificate_that_is_no_more_is_taken_back() -> None:
    stream = settled(with_certificates(1, x="1"))
    stream.receive(Request(SDS, subscribe=("x",)))
    ack_all(stream)
    stream.set_world(with_certificates(2))
    assert stream.acked_version is None
    assert ack_all(stream) == [("Secret", [], ["x"])]
    assert stream.acked_version == 2


def test_an_envoy_that_comes_back_is_sent_only_the_certificates_that_are_others() -> None:
    stream = settled(with_certificates(1, x="2", y="1"))
    stream.receive(Request(SDS, subscribe=("x", "y"), initial_versions={"x": "1", "y": "1"}))
    assert ack_all(stream) == [("Secret", ["x"], [])]
