"""xds/convert: delta discovery messages to and from values."""

from envoy.service.discovery.v3 import discovery_pb2
from homeport_control.xds import convert
from homeport_control.xds.subscription import EDS, Request, Resource, Response


def test_a_request_keeps_every_part() -> None:
    message = discovery_pb2.DeltaDiscoveryRequest(
        type_url=EDS,
        response_nonce="7",
        resource_names_subscribe=["a"],
        resource_names_unsubscribe=["b"],
        initial_resource_versions={"c": "1"},
        node={"id": "host"},
        error_detail={"code": 3, "message": "no"},
    )
    parsed = convert.parse_request(message.SerializeToString())
    assert convert.node_id(parsed) == "host"
    assert convert.request(parsed) == Request(EDS, "7", "no", ("a",), ("b",), {"c": "1"})


def test_a_refusal_without_a_reason_is_still_a_refusal_and_an_ack_is_none() -> None:
    assert convert.request(discovery_pb2.DeltaDiscoveryRequest(type_url=EDS)).error is None
    message = discovery_pb2.DeltaDiscoveryRequest(type_url=EDS, error_detail={"code": 3})
    assert convert.request(message).error == "refused"


def test_a_response_carries_bodies_under_their_type() -> None:
    response = Response(EDS, "9", 4, (Resource("a", "v1", b"\x0a\x01a"),), ("b",))
    message = discovery_pb2.DeltaDiscoveryResponse.FromString(convert.response_bytes(response))
    assert (message.nonce, message.system_version_info, message.type_url) == ("9", "4", EDS)
    (resource,) = message.resources
    assert (resource.name, resource.version, resource.resource.type_url) == ("a", "v1", EDS)
    assert resource.resource.value == b"\x0a\x01a"
    assert list(message.removed_resources) == ["b"]
