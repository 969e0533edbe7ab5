"""What bad input may cost this host's Envoy: how many connections, how much memory, how strictly it reads. PURE: parts of its
bootstrap.

Covers what only the bootstrap can say. Headers, timeouts and bodies are the server's (listener, routes).
"""

from typing import Any

MOST_CONNECTIONS = 50_000  # from callers, over all workers; each costs about 20 KiB. Further ones are closed at once
LEAST_HEAP_BYTES = 512 << 20  # of a small machine: a thousand services, and a few bodies that are read whole
OF_MEMORY = 4  # a quarter of the machine's: replicas and other gateways live there too
STOP_AT, REJECT_AT = 0.95, 0.98  # of the heap: new requests are answered 503; new connections are closed

_MONITORS = "type.googleapis.com/envoy.extensions.resource_monitors"
_CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"
_HEAP = "envoy.resource_monitors.fixed_heap"


def heap_bytes(memory_bytes: int) -> int:
    """How much one Envoy may take of a machine with so much memory."""
    return max(LEAST_HEAP_BYTES, memory_bytes // OF_MEMORY)


def limits(heap_bytes: int = LEAST_HEAP_BYTES) -> dict[str, Any]:
    """Keys of the bootstrap document. Above `heap_bytes` what is under way goes on, and nothing new comes in."""
    return {
        "overload_manager": {
            "refresh_interval": "0.1s",  # a second else, in which 100 MB come in by a fast network
            "resource_monitors": [
                {
                    "name": _CONNECTIONS,
                    "typed_config": {
                        "@type": f"{_MONITORS}.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": str(MOST_CONNECTIONS),
                    },
                },
                {
                    "name": _HEAP,
                    "typed_config": {
                        "@type": f"{_MONITORS}.fixed_heap.v3.FixedHeapConfig",
                        "max_heap_size_bytes": str(heap_bytes),
                    },
                },
            ],
            "actions": [
                _from("shrink_heap", 0.9),
                _from("stop_accepting_requests", STOP_AT),
                _from("reject_incoming_connections", REJECT_AT),
            ],
        },
        "layered_runtime": {
            "layers": [
                {
                    "name": "homeport",
                    "static_layer": {
                        # A chunk that is longer than it says is refused, not mended: another proxy may read it otherwise.
                        "envoy.reloadable_features.strict_chunk_parsing": True,
                    },
                }
            ]
        },
    }


def _from(action: str, share: float) -> dict[str, Any]:
    return {
        "name": f"envoy.overload_actions.{action}",
        "triggers": [{"name": _HEAP, "threshold": {"value": share}}],
    }
