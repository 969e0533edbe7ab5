"""How a gateway is, as `gateway list` and `gateway get` show it. Does not cover applying one (gateways)."""

from collections.abc import Iterable, Sequence

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.convert import timestamp
from homeport_control.decide import gateways as decide
from homeport_control.decide.certificates import trouble
from homeport_control.domain.certificates import Kept
from homeport_control.domain.gateway import HTTP3_OFF, Gateway
from homeport_control.domain.hosts import Connection, Host


def gateway_message(
    gateway: Gateway,
    host: Host | None,
    services: Sequence[str],
    kept: Sequence[Kept],
    ca: Sequence[Kept],
    machine: str,
    now_s: float,
) -> api_pb2.Gateway:
    """`machine`: how far the one is that it waits for."""
    ends = [it.not_after_s for it in kept if it.chain_pem]
    return api_pb2.Gateway(
        name=gateway.name,
        domain=gateway.domain,
        ready=gateway.ready,
        message="" if gateway.ready else gateway.message if host or not machine else machine,
        host=host.name if host else "",
        example_url=gateway.url_of("NAME"),
        default=gateway.default,
        wanted_host=gateway.wanted_host,
        listens=decide.places(gateway) + (", HTTP/3 by UDP" if gateway.http3 else ""),
        services=services,
        certificate=gateway.certificate.type,
        old_domain=gateway.old_domain,
        created_at=timestamp(gateway.created_at_s),
        notice="; ".join(
            [*_notices(gateway, host, machine), *filter(None, (trouble(it, now_s) for it in (*ca, *kept)))]
        ),
        certificate_until=timestamp(min(ends)) if ends else None,
    )


def _notices(gateway: Gateway, host: Host | None, machine: str) -> Iterable[str]:
    if host is not None and machine:
        yield f"it moves from {host.name} to {machine}"
    if gateway.refused.startswith(HTTP3_OFF):
        yield gateway.refused
    elif gateway.refused:
        yield f"Envoy refused its newest configuration, the last good one stays: {gateway.refused}"
    if host is not None and host.connection is not Connection.CONNECTED:
        yield f"its host {host.name} is unreachable ({host.connection_reason}); what it serves goes on"
