"""What bad input may cost this host's Envoy: how many connections, how strictly it reads. PURE: parts of its bootstrap.

Covers what only the bootstrap can say. Headers, timeouts and bodies are the server's (listener, routes).
"""

from typing import Any

MOST_CONNECTIONS = 50_000  # from callers, over all workers; each costs about 20 KiB. Further ones are closed at once

_MONITOR = "envoy.resource_monitors.global_downstream_max_connections"
_CONFIG = "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"


def limits() -> dict[str, Any]:
    """Keys of the bootstrap document."""
    return {
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": _MONITOR,
                    "typed_config": {"@type": _CONFIG, "max_active_downstream_connections": str(MOST_CONNECTIONS)},
                }
            ]
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
