"""loops/acknowledged: what one gateway's Envoy is known to hold. How it is used: test_gateway."""

from dataclasses import replace

from homeport_control.domain.gateway import Endpoint, EndpointLoad, Gateway, GatewaySnapshot, LoadReport, ServiceRoute
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.loops.acknowledged import (
    REMEMBERED_VERSIONS,
    REPORTS_AFTER_ACK,
    SILENT_S,
    STALE_S,
    Acknowledged,
)

GATEWAY = Gateway("main", "h1", "127.0.0.1", 80, "localhost", ready=True)
NOW_S = 50.0
REPLICA = Replica("r1", "run", 0, 1, Wanted.RUN, 0.0, host_id="h1", phase=Phase.READY, host_port=9001)


def snapshot(*endpoints: Endpoint, service: str = "hello") -> GatewaySnapshot:
    return GatewaySnapshot("main", "127.0.0.1", 80, "localhost", (ServiceRoute(service, (), True, endpoints),))


def test_nothing_is_known_before_the_first_acknowledgement() -> None:
    known = Acknowledged("main", "h1")
    known.publish(1, snapshot(Endpoint("r1", "127.0.0.1", 9001)))
    assert known.has_in_rotation(REPLICA) is None
    assert (known.publishes("hello"), known.serves("hello"), known.may_know(REPLICA, "hello")) == (True, False, True)
    assert known.take_ack(1, NOW_S)
    assert known.has_in_rotation(REPLICA)
    assert not known.has_in_rotation(replace(REPLICA, host_port=9002))
    assert known.serves("hello")


def test_what_was_never_published_or_is_forgotten_is_not_acknowledged() -> None:
    known = Acknowledged("main", "h1")
    assert not known.take_ack(1, NOW_S)
    for version in range(1, REMEMBERED_VERSIONS + 3):
        known.publish(version, snapshot(service=f"s{version}"))
    assert not known.take_ack(2, NOW_S)
    assert known.take_ack(3, NOW_S)


def test_a_replica_is_drained_when_it_was_idle_since_the_acknowledgement() -> None:
    known, busy = Acknowledged("main", "h1"), EndpointLoad("hello", "127.0.0.1", 9001, 1)
    known.publish(1, snapshot(Endpoint("r1", "127.0.0.1", 9001, draining=True)))
    assert known.has_drained(replace(GATEWAY, ready=False), REPLICA, 100.0), "no Envoy runs"
    assert known.take_ack(1, NOW_S)
    for _ in range(REPORTS_AFTER_ACK):
        assert not known.has_drained(GATEWAY, REPLICA, 100.0)
        known.take_load(LoadReport("main", 0.0, (busy,)), NOW_S)
    assert not known.has_drained(GATEWAY, REPLICA, 100.0)
    known.take_load(LoadReport("main", 0.0, ()), NOW_S)
    assert known.has_drained(GATEWAY, REPLICA, 100.0)


def test_what_was_given_and_is_not_acknowledged_may_be_there_already() -> None:
    """Found by the simulation: a replica that had just come was stopped while a gateway's acknowledgement was on its way."""
    known, endpoint = Acknowledged("main", "h1"), Endpoint("r1", "127.0.0.1", 9001)
    known.publish(1, snapshot())
    assert known.take_ack(1, NOW_S)
    for _ in range(REPORTS_AFTER_ACK):
        known.take_load(LoadReport("main", 0.0, ()), NOW_S)
    assert known.has_drained(GATEWAY, REPLICA, 100.0), "it was never given"
    known.publish(2, snapshot(endpoint))
    known.publish(3, snapshot(replace(endpoint, draining=True)))
    known.publish(4, snapshot())
    assert not known.has_drained(GATEWAY, REPLICA, 100.0)
    assert known.may_know(REPLICA, "hello")
    assert known.take_ack(2, NOW_S)
    assert not known.has_drained(GATEWAY, REPLICA, 100.0), "it gets requests there"
    assert known.take_ack(4, NOW_S)
    for _ in range(REPORTS_AFTER_ACK):
        assert not known.has_drained(GATEWAY, REPLICA, 100.0)
        known.take_load(LoadReport("main", 0.0, ()), NOW_S)
    assert known.has_drained(GATEWAY, REPLICA, 100.0)
    assert not known.may_know(REPLICA, "hello")


def test_what_was_given_long_ago_and_never_acknowledged_is_forgotten() -> None:
    """A gateway whose Envoy is away for days does not remember each replica that there was."""
    known = Acknowledged("main", "h1")
    for version in range(1, 3 * REMEMBERED_VERSIONS):
        known.publish(version, snapshot(Endpoint(f"r{version}", "127.0.0.1", 9001)))
    assert len(known.given) == REMEMBERED_VERSIONS


def test_a_report_of_before_the_acknowledgement_says_nothing_however_late_it_comes() -> None:
    known = Acknowledged("main", "h1")
    known.publish(1, snapshot(Endpoint("r1", "127.0.0.1", 9001, draining=True)))
    assert known.take_ack(1, NOW_S)
    for after_s in (1.0, 2.0, 3.0):
        known.take_load(LoadReport("main", 0.0, (), late_s=3.5), NOW_S + after_s)
    assert not known.has_drained(GATEWAY, REPLICA, 100.0)
    for after_s in (4.0, 5.0):
        known.take_load(LoadReport("main", 0.0, (), late_s=3.5), NOW_S + after_s)
    assert known.has_drained(GATEWAY, REPLICA, 100.0)


def test_an_envoy_that_its_agent_does_not_see_is_believed_in_as_long_as_it_reports() -> None:
    known, busy = Acknowledged("main", "h1"), EndpointLoad("hello", "127.0.0.1", 9001, 1)
    unseen = replace(GATEWAY, ready=False)
    known.publish(1, snapshot(Endpoint("r1", "127.0.0.1", 9001, draining=True)))
    known.take_load(LoadReport("main", 100.0, (busy,)), NOW_S)
    assert not known.has_drained(unseen, REPLICA, 101.0), "it has not acknowledged"
    assert known.take_ack(1, NOW_S)
    for at_s in (101.0, 102.0):
        known.take_load(LoadReport("main", at_s, (busy,)), NOW_S)
    assert not known.has_drained(unseen, REPLICA, 103.0), "a request is in flight"
    assert not known.has_drained(unseen, REPLICA, 102.0 + SILENT_S - 0.1)
    assert known.silent_at_s() == 102.0 + SILENT_S
    assert known.has_drained(unseen, REPLICA, known.silent_at_s())


def test_what_it_served_before_this_server_started_counts_until_it_is_heard() -> None:
    known = Acknowledged("main", "h1", {"hello": "1", "old": "1"})
    assert known.publishes("hello")
    assert known.serves("hello")
    assert known.may_know(REPLICA, "hello"), "its Envoy may still send requests to it"
    assert known.has_in_rotation(REPLICA) is None
    assert known.unsaved() == {}
    known.publish(1, snapshot(service="other"))
    assert not known.publishes("hello")
    assert known.serves("hello"), "not acknowledged yet"
    assert known.take_ack(1, NOW_S)
    assert not known.serves("hello")
    assert not known.may_know(REPLICA, "hello")


def test_only_what_differs_from_what_is_kept_is_unsaved() -> None:
    known = Acknowledged("main", "h1", {"gone": "1"})
    known.publish(1, snapshot(Endpoint("r1", "127.0.0.1", 9001)))
    assert known.take_ack(1, NOW_S)
    unsaved = known.unsaved()
    assert unsaved.keys() == {"hello", "gone"}
    assert unsaved["gone"] is None
    known.save(known.acked, unsaved)
    assert known.unsaved() == {}
    assert Acknowledged("main", "h1", known.before, acked=known.acked).unsaved() == {}, "a version is of the content"
    known.publish(2, snapshot(Endpoint("r1", "127.0.0.1", 9002)))
    assert known.take_ack(2, NOW_S)
    assert known.unsaved().keys() == {"hello"}


def test_http3_is_left_out_a_minute_after_its_listener_was_refused_and_no_other_was() -> None:
    quic, known = replace(GATEWAY, http3=True), Acknowledged("main", "h1")
    assert not known.may_have_http3(GATEWAY, 100.0)
    known.take_nack("Error adding/updating listener(s) http: cannot bind", 100.0)
    assert known.may_have_http3(quic, 100.0)
    known.take_nack("Error adding/updating listener(s) http3: cannot bind '[::]:443'", 100.0)
    assert known.http3_off.endswith("Envoy says: cannot bind '[::]:443'")
    assert not known.may_have_http3(quic, 159.0)
    assert known.may_have_http3(quic, 160.0)
    assert known.may_have_http3(quic, 1.0), "a clock that went back"
    known.publish(1, replace(snapshot(), http3=True))
    assert known.take_ack(1, NOW_S)
    assert known.http3_off == ""
    known.take_nack("Error adding/updating listener(s) http3: cannot bind '[::]:443'", 100.0)
    assert not known.may_have_http3(GATEWAY, 100.0)
    assert known.http3_off == "", "nobody wants it any more"


def test_how_busy_each_replica_is_by_the_last_report_while_that_is_new() -> None:
    known = Acknowledged("main", "h1")
    known.publish(1, snapshot(Endpoint("r1", "127.0.0.1", 9001), Endpoint("r2", "127.0.0.1", 9002)))
    busy = (EndpointLoad("hello", "127.0.0.1", 9001, 3), EndpointLoad("other", "127.0.0.1", 9002, 7))
    known.take_load(LoadReport("main", 100.0, busy), NOW_S)
    assert known.in_flight("hello", 100.0) is None, "which replica that is was not heard yet"
    assert known.take_ack(1, NOW_S)
    assert known.in_flight("hello", 100.0) == {"r1": 3}
    assert known.in_flight("hello", 100.1 + STALE_S) is None
    known.take_load(LoadReport("main", 200.0, ()), NOW_S)
    assert known.in_flight("hello", 200.0) == {}
    known.take_load(LoadReport("main", 200.0, (), late_s=STALE_S + 0.1), NOW_S)
    assert known.in_flight("hello", 200.0) is None, "it was counted long ago"
