"""agent/envoy/limits: what the bootstrap says of them. What they do: tests/envoy/test_overload.py, test_bad_input.py."""

from homeport_agent.envoy.limits import MOST_CONNECTIONS, heap_bytes, limits


def test_connections_and_memory_are_bounded_and_chunks_are_read_strictly() -> None:
    document = limits(1 << 30)
    connections, heap = document["overload_manager"]["resource_monitors"]
    assert connections["typed_config"]["max_active_downstream_connections"] == str(MOST_CONNECTIONS)
    assert heap["typed_config"]["max_heap_size_bytes"] == str(1 << 30)
    (layer,) = document["layered_runtime"]["layers"]
    assert layer["static_layer"] == {"envoy.reloadable_features.strict_chunk_parsing": True}


def test_requests_are_refused_before_connections_are() -> None:
    shares = [it["triggers"][0]["threshold"]["value"] for it in limits()["overload_manager"]["actions"]]
    assert shares == sorted(shares)
    assert shares[-1] < 1


def test_a_gateway_takes_a_quarter_of_the_machine_and_enough_of_a_small_one() -> None:
    assert heap_bytes(64 << 30) == 16 << 30
    assert heap_bytes(1 << 30) == 512 << 20
