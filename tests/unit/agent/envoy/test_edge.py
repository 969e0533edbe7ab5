"""envoy/edge: how its Envoy's statistics are read. What it does with a real Envoy: tests/envoy/test_tunnel.py."""

import json

from homeport_agent.envoy.edge import tunnels_of


def test_tunnels_are_counted_by_the_name_of_their_host() -> None:
    stats = [
        {"name": "tunnels.worker_0.node.h1.host.homeport", "value": 2},
        {"name": "tunnels.worker_0.node.h2.host.homeport", "value": 0},
        {"name": "tunnels.worker_0.total_nodes", "value": 1},
        {"histograms": {}},
    ]
    assert tunnels_of(json.dumps({"stats": stats}).encode()) == {"h1.host.homeport": 2, "h2.host.homeport": 0}
    assert tunnels_of(b'{"stats": []}') == {}
