"""agent/envoy/bootstrap: the documents that Envoy is started with."""

import re
from pathlib import Path

from homeport_agent.envoy.bootstrap import (
    ADS_CLUSTER,
    HOLD_CLUSTER,
    MOST_HELD,
    STANDBY_CLUSTER,
    XDS_CLUSTER,
    Identity,
    Server,
    bootstrap,
    secrets,
)

IDENTITY = Identity("h1", Path("/s/host.pem"), Path("/s/host.key"), Path("/s/ca.pem"))
SERVER = Server("server.example", 7401)
RUN = Path("/s/envoy/run")


def test_the_node_is_the_host_and_the_server_is_reached_by_mtls_under_its_own_name() -> None:
    document = bootstrap(IDENTITY, "local", SERVER, RUN)
    assert document["node"]["id"] == "h1/local"
    cluster, *_ = document["static_resources"]["clusters"]
    assert cluster["name"] == XDS_CLUSTER
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"] == {"address": "server.example", "port_value": 7401}
    tls = cluster["transport_socket"]["typed_config"]
    assert tls["sni"] == "homeport-server"
    validation = tls["common_tls_context"]["validation_context"]
    assert validation["trusted_ca"] == {"filename": "/s/ca.pem"}
    assert validation["match_typed_subject_alt_names"] == [{"san_type": "DNS", "matcher": {"exact": "homeport-server"}}]


def test_configuration_comes_by_delta_ads_and_load_goes_the_same_way() -> None:
    document = bootstrap(IDENTITY, "local", SERVER, RUN)
    ads = document["dynamic_resources"]["ads_config"]
    assert ads["api_type"] == "DELTA_GRPC"
    load = document["cluster_manager"]["load_stats_config"]
    for config, cluster in ((ads, ADS_CLUSTER), (load, XDS_CLUSTER)):
        assert config["grpc_services"][0]["envoy_grpc"]["cluster_name"] == cluster


def test_the_standby_is_asked_only_when_the_server_cannot_be_reached() -> None:
    clusters = {it["name"]: it for it in bootstrap(IDENTITY, "local", SERVER, RUN)["static_resources"]["clusters"]}
    assert clusters[ADS_CLUSTER]["cluster_type"]["typed_config"]["clusters"] == [XDS_CLUSTER, STANDBY_CLUSTER]
    (endpoint,) = clusters[STANDBY_CLUSTER]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"] == {"pipe": {"path": "/s/envoy/run/standby.sock"}}


def test_the_admin_socket_is_a_file_for_its_owner() -> None:
    pipe = bootstrap(IDENTITY, "local", SERVER, RUN)["admin"]["address"]["pipe"]
    assert pipe == {"path": "/s/envoy/run/admin.sock", "mode": 0o600}


def test_the_key_is_named_and_never_copied_and_its_folder_is_watched() -> None:
    (secret,) = secrets(IDENTITY)["resources"]
    assert secret["tls_certificate"] == {
        "certificate_chain": {"filename": "/s/host.pem"},
        "private_key": {"filename": "/s/host.key"},
        "watched_directory": {"path": "/s"},
    }


def test_held_requests_go_to_the_server_by_a_cluster_that_never_gives_up_on_it() -> None:
    clusters = {it["name"]: it for it in bootstrap(IDENTITY, "local", SERVER, RUN)["static_resources"]["clusters"]}
    server, hold = clusters[XDS_CLUSTER], clusters[HOLD_CLUSTER]
    assert hold["transport_socket"] == server["transport_socket"]
    (endpoint,) = hold["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"] == {"address": "server.example", "port_value": 7401}
    assert "outlier_detection" not in hold
    (threshold,) = hold["circuit_breakers"]["thresholds"]
    assert set(threshold.values()) == {MOST_HELD}
    assert "max_retries" in threshold


def test_what_is_counted_of_each_service_goes_to_the_server_each_second() -> None:
    document = bootstrap(IDENTITY, "local", SERVER, RUN)
    (sink,) = document["stats_sinks"]
    assert sink["typed_config"]["grpc_service"]["envoy_grpc"]["cluster_name"] == XDS_CLUSTER
    assert document["stats_flush_interval"] == "1s"
    (setting,) = document["stats_config"]["histogram_bucket_settings"]
    assert setting["buckets"] == sorted(set(setting["buckets"]))
    patterns = document["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"]
    kept = [re.compile(it["safe_regex"]["regex"]) for it in patterns if "safe_regex" in it]
    for name, is_kept in (
        ("cluster.hello.upstream_rq_2xx", True),
        ("cluster.hello.upstream_rq_time", True),
        ("cluster.hello.upstream_rq_200", False),
        ("cluster.hello.external.upstream_rq_2xx", False),
        ("cluster.hello.external.upstream_rq_time", False),
    ):
        assert any(it.fullmatch(name) for it in kept) is is_kept, name
