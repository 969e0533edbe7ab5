"""agent/envoy/limits: what the bootstrap says of them. What they do: tests/envoy/test_bad_input.py."""

from homeport_agent.envoy.limits import MOST_CONNECTIONS, limits


def test_connections_are_bounded_and_chunks_are_read_strictly() -> None:
    document = limits()
    (monitor,) = document["overload_manager"]["resource_monitors"]
    assert monitor["typed_config"]["max_active_downstream_connections"] == str(MOST_CONNECTIONS)
    (layer,) = document["layered_runtime"]["layers"]
    assert layer["static_layer"] == {"envoy.reloadable_features.strict_chunk_parsing": True}
