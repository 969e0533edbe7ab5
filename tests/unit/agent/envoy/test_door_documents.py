"""envoy/door_documents: what stands in them. That Envoy takes them and what it does by them: tests/envoy/test_door.py."""

import json
from pathlib import Path

from homeport_agent.envoy.bootstrap import Identity
from homeport_agent.envoy.door_documents import bootstrap, documents
from homeport_agent.model import DoorWish, TunnelTo

IDENTITY = Identity("h1", Path("/i/certificate.pem"), Path("/i/key.pem"), Path("/i/ca.pem"))

WISH = DoorWish(("g1",))


def test_each_replica_has_a_port_on_the_hosts_address_that_only_gateways_come_in_by() -> None:
    files = documents(IDENTITY, "10.0.0.5", (40001, 40002), DoorWish(("g1", "g2")))
    listeners = json.loads(files["lds.json"])["resources"]
    where = [it["address"]["socket_address"] for it in listeners]
    assert [(it["address"], it["port_value"]) for it in where] == [("10.0.0.5", 40001), ("10.0.0.5", 40002)]
    tls = listeners[0]["filter_chains"][0]["transport_socket"]["typed_config"]
    assert tls["require_client_certificate"]
    names = tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert [it["matcher"]["exact"] for it in names] == ["homeport://host/g1", "homeport://host/g2"]
    clusters = json.loads(files["cds.json"])["resources"]
    [endpoint] = clusters[1]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 40002}


def test_equal_facts_make_equal_files_and_another_port_another_version() -> None:
    one, same = (documents(IDENTITY, "10.0.0.5", (1,), WISH) for _ in range(2))
    other = documents(IDENTITY, "10.0.0.5", (2,), WISH)
    assert one == same
    assert json.loads(one["lds.json"])["version_info"] != json.loads(other["lds.json"])["version_info"]
    assert list(one) == ["sds.json", "cds.json", "lds.json"], "listeners name clusters: these come first"


def test_it_is_configured_by_files_and_by_no_server() -> None:
    dynamic = bootstrap(Path("/run/door"))["dynamic_resources"]
    assert {it["path_config_source"]["path"] for it in dynamic.values()} == {"./lds.json", "./cds.json"}


def test_a_tunnel_adds_what_its_edge_needs_and_without_one_there_is_nothing_of_it() -> None:
    plain = json.loads(documents(IDENTITY, "10.0.0.5", (40001,), WISH)["cds.json"])["resources"]
    assert [it["name"] for it in plain] == ["port-40001"]
    wish = DoorWish(("g1",), (TunnelTo("g1", "10.0.0.1", 7403, "mark"),))
    files = documents(IDENTITY, "10.0.0.5", (40001,), wish)
    names = [it["name"] for it in json.loads(files["cds.json"])["resources"]]
    assert names == ["port-40001", "edge-g1", "HTTP/1.1/40001", "HTTP/2/40001"]
    _, tunnel = json.loads(files["lds.json"])["resources"]
    assert tunnel["address"]["socket_address"]["address"] == "rc://h1.host.homeport:edge:homeport@edge-g1:2"
    other = documents(IDENTITY, "10.0.0.5", (40001, 40002), wish)
    _, _, same = json.loads(other["lds.json"])["resources"]
    assert same == tunnel, "it stays as it is when replicas come: a changed one would cut what runs"
