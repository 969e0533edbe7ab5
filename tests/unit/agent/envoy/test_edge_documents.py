"""envoy/edge_documents: what stands in them. That Envoy takes them and what it does by them: tests/envoy/test_tunnel.py."""

import json
from pathlib import Path

from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.edge_documents import bootstrap, documents
from homeport_agent.model import EdgeHost, EdgeWish

IDENTITY = Identity("g1", Path("/i/certificate.pem"), Path("/i/key.pem"), Path("/i/ca.pem"))
WISH = EdgeWish(7403, "mark", (EdgeHost("h1", (40001, 40002)), EdgeHost("h2", ())))


def test_each_replica_has_a_socket_and_each_host_a_cluster_that_must_show_its_certificate() -> None:
    files = documents(IDENTITY, WISH)
    tunnels, *sockets = json.loads(files["lds.json"])["resources"]
    assert tunnels["address"]["socket_address"]["port_value"] == 7403
    assert [it["address"]["pipe"] for it in sockets] == [
        {"path": "./h1-40001.sock", "mode": 0o600}, {"path": "./h1-40002.sock", "mode": 0o600},
    ]  # fmt: skip
    clusters = json.loads(files["cds.json"])["resources"]
    assert [it["name"] for it in clusters] == ["h1", "h2"]
    context = clusters[0]["transport_socket"]["typed_config"]["common_tls_context"]["validation_context"]
    assert [it["matcher"]["exact"] for it in context["match_typed_subject_alt_names"]] == ["h1.host.homeport"]


def test_a_host_may_only_say_that_it_is_itself() -> None:
    tunnels = json.loads(documents(IDENTITY, WISH)["lds.json"])["resources"][0]
    [chain] = tunnels["filter_chains"]
    assert chain["filters"][0]["typed_config"]["validation"] == {
        "node_id_format": "%DOWNSTREAM_PEER_DNS_SAN%",
        "cluster_id_format": "edge",
    }
    assert chain["transport_socket"]["typed_config"]["require_client_certificate"]


def test_equal_wishes_make_equal_files_and_no_server_configures_it() -> None:
    assert documents(IDENTITY, WISH) == documents(IDENTITY, WISH)
    dynamic = bootstrap(Path("/run/edge"))["dynamic_resources"]
    assert {it["path_config_source"]["path"] for it in dynamic.values()} == {"./lds.json", "./cds.json"}
