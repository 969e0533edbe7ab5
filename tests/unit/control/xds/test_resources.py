"""xds/resources and what it is made of: equal snapshots make equal resources, and a change costs what it must."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from homeport_control.domain.gateway import (
    Affinity,
    Endpoint,
    GatewaySnapshot,
    PublishedModel,
    RateRule,
    ServedCertificate,
    ServiceRoute,
    TokenGrant,
    Traffic,
)
from homeport_control.xds.resources import world
from homeport_control.xds.subscription import CDS, ECDS, EDS, LDS, RDS, SDS, World

HELLO = ServiceRoute("hello", ("hello.localhost",), True, (Endpoint("r", "127.0.0.1", 9000),))
OPEN = ServiceRoute("open", ("open.localhost",), False)
BASE = GatewaySnapshot("local", "127.0.0.1", 7480, "localhost", (HELLO, OPEN), (TokenGrant("a" * 64),))


def versions(made: World) -> dict[tuple[str, str], str]:
    return {(kind, name): r.version for kind, named in made.resources.items() for name, r in named.items()}


def changed(other: GatewaySnapshot) -> set[tuple[str, str]]:
    return changed_from(BASE, other)


def changed_from(one: GatewaySnapshot, other: GatewaySnapshot) -> set[tuple[str, str]]:
    before, after = versions(world(one, 1)), versions(world(other, 2))
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def test_another_process_makes_the_same_versions_whatever_its_hash_seed() -> None:
    program = "from test_resources import BASE, versions, world; print(sorted(versions(world(BASE, 9)).items()))"
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**environment, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert seen == {f"{sorted(versions(world(BASE, 1)).items())}\n"}


def test_a_token_changes_one_resource() -> None:
    assert changed(replace(BASE, tokens=())) == {(ECDS, "homeport.token")}


def test_an_endpoint_changes_one_resource() -> None:
    drained = replace(HELLO, endpoints=(replace(HELLO.endpoints[0], draining=True),))
    assert changed(replace(BASE, services=(drained, OPEN))) == {(EDS, "hello")}


def test_a_service_never_touches_the_listener() -> None:
    assert changed(replace(BASE, services=(HELLO,))) == {(CDS, "open"), (EDS, "open"), (RDS, "homeport")}
    assert (LDS, "http") in changed(replace(BASE, http_port=7481))


def test_to_hold_a_service_touches_its_routes_and_its_endpoints_only() -> None:
    sleeps = replace(HELLO, sleeps=True)
    before = replace(BASE, services=(sleeps, OPEN))
    asleep = replace(before, services=(replace(sleeps, held=True), OPEN))
    assert changed_from(before, asleep) == {(RDS, "homeport")}
    drained = replace(sleeps, held=True, endpoints=(replace(HELLO.endpoints[0], draining=True),))
    assert changed_from(before, replace(before, services=(drained, OPEN))) == {(RDS, "homeport"), (EDS, "hello")}
    gone = replace(sleeps, held=True, endpoints=())
    assert changed_from(before, replace(before, services=(gone, OPEN))) == {(RDS, "homeport"), (EDS, "hello")}
    far = replace(sleeps, endpoints=(Endpoint("s", "10.0.0.2", 9001, host_id="gpu-2"),))
    assert changed_from(before, replace(before, services=(far, OPEN))) == {(EDS, "hello")}, "its cluster stays warm"


def test_the_last_one_that_drains_is_reached_by_those_who_were_let_in_before_they_would_be_held() -> None:
    drained = replace(HELLO, sleeps=True, held=True, endpoints=(replace(HELLO.endpoints[0], draining=True),))
    body = world(replace(BASE, services=(drained,)), 1).of(EDS)["hello"].body
    (group,) = endpoint_pb2.ClusterLoadAssignment.FromString(body).endpoints
    assert [it.health_status for it in group.lb_endpoints] == [5]  # DEGRADED


def test_the_filter_that_holds_is_off_but_where_it_holds_and_where_a_model_leads_from() -> None:
    def names(*services: ServiceRoute) -> set[str]:
        body = world(replace(BASE, services=services), 1).of(RDS)["homeport"].body
        hosts = route_pb2.RouteConfiguration.FromString(body).virtual_hosts
        return {host.name for host in hosts if "homeport.hold" in host.typed_per_filter_config}

    held = replace(HELLO, held=True, sleeps=True)
    assert names(HELLO, OPEN) == set()
    assert names(held, OPEN) == {"hello"}
    model = replace(OPEN, model=PublishedModel("tiny"))
    assert names(held, model) == {"hello"}
    asleep = replace(held, model=PublishedModel("llm"))
    assert names(asleep, OPEN) == {"hello", "homeport/models"}
    assert names(asleep, model) == {"hello", "homeport/models", "open"}


@pytest.mark.parametrize(("first_drains", "health"), [(False, [1, 5]), (True, [3, 3])])  # HEALTHY, DEGRADED; DRAINING
def test_what_drains_is_in_reserve_while_another_serves_and_gets_nothing_when_none_does(
    first_drains: bool, health: list[int]
) -> None:
    first = replace(HELLO.endpoints[0], draining=first_drains)
    service = replace(HELLO, endpoints=(first, Endpoint("s", "127.0.0.1", 9001, draining=True)))
    body = world(replace(BASE, services=(service,)), 1).of(EDS)["hello"].body
    made = endpoint_pb2.ClusterLoadAssignment.FromString(body)
    (group,) = made.endpoints
    assert group.locality.region
    assert [it.endpoint.address.socket_address.port_value for it in group.lb_endpoints] == [9000, 9001]
    assert [it.health_status for it in group.lb_endpoints] == health
    assert made.policy.overprovisioning_factor.value >= 100 * 1000, (
        "one of a thousand that is healthy takes all requests"
    )


def test_only_the_way_to_another_host_is_checked() -> None:
    far = replace(HELLO, endpoints=(*HELLO.endpoints, Endpoint("s", "10.0.0.2", 9001, host_id="gpu-2")))
    made = world(replace(BASE, services=(far, OPEN)), 1)
    for name, checks in (("hello", 1), ("open", 0)):
        assert len(cluster_pb2.Cluster.FromString(made.of(CDS)[name].body).health_checks) == checks
    (group,) = endpoint_pb2.ClusterLoadAssignment.FromString(made.of(EDS)["hello"].body).endpoints
    assert [it.endpoint.health_check_config.disable_active_health_check for it in group.lb_endpoints] == [True, False]


def test_a_cluster_never_panics_and_may_retry() -> None:
    cluster = cluster_pb2.Cluster.FromString(world(BASE, 1).of(CDS)["hello"].body)
    assert cluster.common_lb_config.HasField("healthy_panic_threshold")
    assert cluster.common_lb_config.healthy_panic_threshold.value == 0
    assert cluster.circuit_breakers.thresholds[0].max_retries.value == 1024
    assert cluster.ignore_health_on_host_removal


def test_every_route_to_a_service_names_it_for_the_token_filter_and_has_no_deadline() -> None:
    routes = route_pb2.RouteConfiguration.FromString(world(BASE, 1).of(RDS)["homeport"].body)
    hosts = {host.name: host for host in routes.virtual_hosts}
    assert list(hosts) == ["hello", "open", "homeport/models", "homeport/unknown-host"]
    for name in ("hello", "open"):
        for route in hosts[name].routes:
            assert route.metadata.filter_metadata["homeport.token"]["service"] == name
            assert route.route.cluster == name
            assert route.route.HasField("timeout")
            assert route.route.timeout.ToTimedelta().total_seconds() == 0
            assert route.route.HasField("idle_timeout")
            assert route.route.idle_timeout.ToTimedelta().total_seconds() == 3600
            assert ("open" in route.metadata.filter_metadata["homeport.token"]) is (name == "open")
    assert list(hosts["hello"].request_headers_to_remove) == ["authorization"]
    assert list(hosts["open"].request_headers_to_remove) == []


def test_models_are_called_at_a_name_of_their_own_unless_a_service_has_it() -> None:
    taken = replace(HELLO, name="gateway", domains=("gateway.localhost",))
    for service, expected in ((HELLO, ["gateway.localhost"]), (taken, [])):
        body = world(replace(BASE, services=(service,)), 1).of(RDS)["homeport"].body
        hosts = {host.name: host for host in route_pb2.RouteConfiguration.FromString(body).virtual_hosts}
        assert [
            domain for name, host in hosts.items() if name == "homeport/models" for domain in host.domains
        ] == expected


def test_a_model_changes_the_filter_and_its_endpoints_do_not() -> None:
    model = replace(HELLO, model=PublishedModel("llama"))
    with_model = replace(BASE, services=(model, OPEN))
    assert changed(with_model) == {(ECDS, "homeport.token"), (RDS, "homeport")}
    moved = replace(with_model, services=(replace(model, endpoints=()), OPEN))
    assert versions(world(moved, 1))[ECDS, "homeport.token"] == versions(world(with_model, 1))[ECDS, "homeport.token"]


def routes_of(traffic: Traffic) -> route_pb2.RouteConfiguration:
    body = world(replace(BASE, services=(replace(HELLO, traffic=traffic),)), 1).of(RDS)["homeport"].body
    return route_pb2.RouteConfiguration.FromString(body)


def cluster_of(traffic: Traffic) -> cluster_pb2.Cluster:
    body = world(replace(BASE, services=(replace(HELLO, traffic=traffic),)), 1).of(CDS)["hello"].body
    return cluster_pb2.Cluster.FromString(body)


def test_timeouts_are_the_files_own() -> None:
    for route in routes_of(Traffic(response_timeout_s=30, idle_timeout_s=None)).virtual_hosts[0].routes:
        assert route.route.timeout.ToTimedelta().total_seconds() == 30
        assert route.route.HasField("idle_timeout")
        assert route.route.idle_timeout.ToTimedelta().total_seconds() == 0


@pytest.mark.parametrize(
    ("affinity", "header", "cookie", "guard"),
    [
        (Affinity("header", "X-Who"), "x-who", "", 0),
        (Affinity("cookie", "where"), "", "where", 0),
        (Affinity("prefix", length=100), "x-homeport-prefix", "", 150),
    ],
)
def test_an_affinity_is_a_hash_and_a_ring_and_only_a_prefix_gives_way(
    affinity: Affinity, header: str, cookie: str, guard: int
) -> None:
    traffic = Traffic(affinity)
    for route in routes_of(traffic).virtual_hosts[0].routes:
        (policy,) = route.route.hash_policy
        assert (policy.header.header_name, policy.cookie.name) == (header, cookie)
    cluster = cluster_of(traffic)
    assert cluster.lb_policy == cluster_pb2.Cluster.RING_HASH
    assert cluster.common_lb_config.consistent_hashing_lb_config.hash_balance_factor.value == guard
    assert cluster.common_lb_config.healthy_panic_threshold.value == 0
    assert cluster_of(Traffic()).lb_policy == cluster_pb2.Cluster.LEAST_REQUEST


def test_a_change_of_traffic_changes_what_it_is_about() -> None:
    def with_traffic(traffic: Traffic) -> set[tuple[str, str]]:
        return changed(replace(BASE, services=(replace(HELLO, traffic=traffic), OPEN)))

    assert with_traffic(Traffic(idle_timeout_s=5)) == {(RDS, "homeport")}
    assert with_traffic(Traffic(rate_limits=(RateRule("/", 1.0),))) == {(RDS, "homeport")}
    assert with_traffic(Traffic(h2c=True)) == {(CDS, "hello")}
    assert with_traffic(Traffic(max_body_bytes=1)) == {(CDS, "hello")}
    assert with_traffic(Traffic(Affinity("cookie", "x"))) == {(CDS, "hello"), (RDS, "homeport")}


def test_only_idempotent_methods_are_sent_again_after_a_reset() -> None:
    routes = route_pb2.RouteConfiguration.FromString(world(BASE, 1).of(RDS)["homeport"].body)
    idempotent, others = routes.virtual_hosts[0].routes
    assert idempotent.match.headers[0].string_match.safe_regex.regex == "GET|HEAD|OPTIONS|PUT|DELETE|TRACE"
    assert "reset" in idempotent.route.retry_policy.retry_on.split(",")
    assert others.route.retry_policy.retry_on.split(",") == [
        "connect-failure",
        "refused-stream",
        "reset-before-request",
    ]


SECURE = replace(
    BASE,
    https_port=7443,
    services=(replace(HELLO, plain=False, secure=True), OPEN),
    certificates=(ServedCertificate("", "A", "k"), ServedCertificate("hello.localhost", "A", "k")),
    plain_models=False,
)


def test_a_certificate_changes_one_resource_and_never_the_listener() -> None:
    before = versions(world(SECURE, 1))
    other = (SECURE.certificates[0], ServedCertificate("hello.localhost", "B", "k"))
    after = versions(world(replace(SECURE, certificates=other), 2))
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} == {
        (SDS, "hello.localhost")
    }
    assert (SDS, "homeport/no-name") in before


def test_https_has_routes_of_its_own_and_http_sends_on() -> None:
    made = world(SECURE, 1)
    assert set(made.of(LDS)) == {"http", "https"}
    plain = route_pb2.RouteConfiguration.FromString(made.of(RDS)["homeport"].body)
    secure = route_pb2.RouteConfiguration.FromString(made.of(RDS)["homeport/tls"].body)
    by_name = {host.name: host for host in plain.virtual_hosts}
    for name in ("hello", "homeport/models"):
        (route,) = by_name[name].routes
        assert (route.redirect.https_redirect, route.redirect.port_redirect) == (True, 7443)
    assert by_name["open"].routes[0].route.cluster == "open"
    assert [host.name for host in secure.virtual_hosts] == ["hello", "homeport/models", "homeport/unknown-host"]


def test_without_https_there_is_no_second_listener_and_an_old_domain_calls_models_too() -> None:
    made = world(replace(BASE, old_domain="old.example"), 1)
    assert (set(made.of(LDS)), set(made.of(RDS)), made.of(SDS)) == ({"http"}, {"homeport"}, {})
    routes = route_pb2.RouteConfiguration.FromString(made.of(RDS)["homeport"].body)
    models = next(host for host in routes.virtual_hosts if host.name == "homeport/models")
    assert list(models.domains) == ["gateway.localhost", "gateway.old.example"]


QUIC = replace(SECURE, http3=True, certificates=(*SECURE.certificates, ServedCertificate("*", "W", "k")))


def test_http3_is_a_listener_of_its_own_that_no_certificate_changes_and_is_told_of_by_https_alone() -> None:
    made = world(QUIC, 1)
    assert set(made.of(LDS)) == {"http", "https", "http3"}
    for name in ("http", "https"):
        assert made.of(LDS)[name] == world(SECURE, 1).of(LDS)[name]
    listener = listener_pb2.Listener.FromString(made.of(LDS)["http3"].body)
    assert listener.address.socket_address.protocol == address_pb2.SocketAddress.UDP
    assert listener.address.socket_address.port_value == 7443
    renewed = replace(QUIC, certificates=(*SECURE.certificates, ServedCertificate("*", "W2", "k")))
    before, after = versions(made), versions(world(renewed, 2))
    assert {key for key in before if before[key] != after[key]} == {(SDS, "homeport/http3")}
    secure = route_pb2.RouteConfiguration.FromString(made.of(RDS)["homeport/tls"].body)
    assert [it.header.value for it in secure.response_headers_to_add] == ['h3=":7443"; ma=3600']
    assert made.of(RDS)["homeport"] == world(SECURE, 1).of(RDS)["homeport"]


def test_http3_is_not_told_of_before_it_has_a_certificate() -> None:
    early = world(replace(QUIC, certificates=SECURE.certificates), 1)
    assert early.of(RDS) == world(SECURE, 1).of(RDS)
    assert early.of(LDS) == world(QUIC, 1).of(LDS)
