"""A GatewaySnapshot becomes the World that its Envoy must hold.

Covers which resources there are. What each says: listener, virtual_hosts, clusters, token_filter; they keep what they
made, so that a change of one service costs one service.
"""

from homeport_control.domain.gateway import HTTP3_LISTENER, GatewaySnapshot
from homeport_control.xds.certificates import certificates
from homeport_control.xds.clusters import cluster, endpoints
from homeport_control.xds.listener import LISTENER, TLS_LISTENER, listener, quic_listener
from homeport_control.xds.subscription import CDS, ECDS, EDS, LDS, RDS, SDS, World
from homeport_control.xds.token_filter import FILTER, token_filter
from homeport_control.xds.virtual_hosts import routes


def world(snapshot: GatewaySnapshot, version: int) -> World:
    """Equal snapshots make worlds of equal resources, in any process; only `version` is the caller's."""
    address, trusted = snapshot.listen_address, snapshot.trusted_addresses
    listeners = {LISTENER: listener(address, snapshot.http_port, trusted=trusted)}
    if snapshot.https_port:
        listeners[TLS_LISTENER] = listener(address, snapshot.https_port, tls=True, trusted=trusted)
        if snapshot.http3:
            listeners[HTTP3_LISTENER] = quic_listener(address, snapshot.https_port)
    return World(
        version=version,
        resources={
            LDS: listeners,
            RDS: routes(snapshot),
            SDS: certificates(snapshot.certificates),
            CDS: {
                service.name: cluster(
                    service.name,
                    service.traffic,
                    direct=any(it.host_id for it in service.endpoints),
                    sleeps=service.sleeps,
                )
                for service in snapshot.services
            },
            EDS: {it.name: endpoints(it.name, it.endpoints, held=it.held) for it in snapshot.services},
            ECDS: {FILTER: token_filter(snapshot.tokens, snapshot.services)},
        },
    )
