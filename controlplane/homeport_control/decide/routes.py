"""What a gateway serves: runs, their replicas and the tokens become one GatewaySnapshot. PURE.

Covers which replica is an endpoint, whose requests are held, and whether a snapshot is fit to be published (`problems`).
Does not cover Envoy's messages (xds/resources), nor when a replica counts as in rotation (the loops, by the ACK).
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from homeport_control.decide.paths import LOOPBACK, address_for, mark
from homeport_control.domain.gateway import (
    DEFAULT_TRAFFIC,
    MODELS_LABEL,
    TUNNEL,
    Endpoint,
    Gateway,
    GatewaySnapshot,
    Proof,
    PublishedModel,
    ServedCertificate,
    ServiceRoute,
    TokenGrant,
    Traffic,
)
from homeport_control.domain.hosts import Door
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import Run, RunWanted

NO_DOORS: Mapping[str, Door] = MappingProxyType({})
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_DOMAIN = re.compile(r"(?!-)[a-z0-9.-]{1,253}(?<!-)")
_TOKEN_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# What a draining replica may look like while requests still run in it.
_DRAINABLE = frozenset({Phase.READY, Phase.UNREADY})


@dataclass(frozen=True, slots=True)
class ServiceInput:
    """One run that is to be published, with all replicas of all its revisions."""

    run: Run
    auth: bool
    replicas: tuple[Replica, ...]
    model: PublishedModel | None = None
    https: bool | str = "auto"  # as its file says it
    forward_token: bool = False
    traffic: Traffic = DEFAULT_TRAFFIC
    sleeps: bool = False  # its file allows that it has no replica


def snapshot(
    gateway: Gateway,
    services: Iterable[ServiceInput],
    tokens: Iterable[TokenGrant],
    certificates: Iterable[ServedCertificate] = (),
    proofs: Iterable[Proof] = (),
    doors: Mapping[str, Door] = NO_DOORS,
) -> GatewaySnapshot:
    """Everything that this gateway serves, in a stable order: equal facts make equal snapshots.

    Who comes by HTTP is sent to HTTPS as soon as there is a certificate for that name, not before. `doors`: of
    hosts, by id.
    """
    shown = tuple(sorted(certificates, key=lambda it: it.name))
    secured = {it.name for it in shown}
    services = sorted(services, key=lambda service: service.run.name)
    models = _models(services)
    endpoints = {it.run.name: tuple(_endpoints(gateway, it.replicas, doors)) for it in services}
    domains = [domain for domain in (gateway.domain, gateway.old_domain) if domain]
    return GatewaySnapshot(
        gateway=gateway.name,
        listen_address=gateway.listen_address,
        http_port=gateway.http_port,
        domain=gateway.domain,
        services=tuple(
            ServiceRoute(
                name=service.run.name,
                domains=tuple(f"{service.run.name}.{domain}" for domain in domains),
                auth=service.auth,
                endpoints=endpoints[service.run.name],
                model=models.get(service.run.name),
                plain=service.https is False
                or (service.https == "auto" and not _is_secured(service.run.name, gateway, secured)),
                secure=gateway.has_tls and service.https is not False,
                forward_token=service.forward_token,
                traffic=service.traffic,
                sleeps=service.sleeps,
                held=_is_held(service, endpoints[service.run.name]),
            )
            for service in services
        ),
        tokens=tuple(sorted(tokens, key=lambda token: token.token_sha256)),
        old_domain=gateway.old_domain,
        https_port=gateway.https_port,
        certificates=shown,
        plain_models=not _is_secured(MODELS_LABEL, gateway, secured),
        trusted_addresses=gateway.trusted_addresses,
        http3=gateway.http3,
        proofs=tuple(sorted(proofs, key=lambda it: (it.name, it.path))),
        tunnel_mark=mark(gateway.host_id),
    )


def _is_secured(label: str, gateway: Gateway, secured: set[str]) -> bool:
    domains = [domain for domain in (gateway.domain, gateway.old_domain) if domain]
    return gateway.has_tls and all(f"{label}.{domain}" in secured for domain in domains)


def _is_held(service: ServiceInput, endpoints: tuple[Endpoint, ...]) -> bool:
    """In one snapshot with the endpoints: a gateway takes these up first. So the last one drains while requests are held
    already or still reach it (xds/clusters), and the first one is there before they are held no more.

    One that is being stopped too, while something drains: who holds refuses them at once. Its cluster tries all where none
    is healthy, so they would reach what drains, which would never end.
    """
    if not service.sleeps or not all(endpoint.draining for endpoint in endpoints):
        return False
    return service.run.wanted is RunWanted.RUN or bool(endpoints)


def _models(services: list[ServiceInput]) -> dict[str, PublishedModel]:
    """By service. A name that two of them declare is the older one's, unless the later one has a weight: without that
    word nobody takes requests away from another."""
    found: dict[str, PublishedModel] = {}
    taken: set[str] = set()
    for service in sorted(services, key=lambda service: (service.run.submitted_at_s, service.run.name)):
        model = service.model
        if model is None:
            continue
        names = tuple(name for name in dict.fromkeys(model.names) if model.weight is not None or name not in taken)
        if names:
            taken.update(names)
            # In rotation, not only ready: the endpoint is known to be there before a request is sent its way.
            ready = any(replica.in_rotation and replica.wanted is Wanted.RUN for replica in service.replicas)
            found[service.run.name] = replace(model, name=names[0], aliases=names[1:], ready=ready)
    return found


def _endpoints(gateway: Gateway, replicas: tuple[Replica, ...], doors: Mapping[str, Door]) -> Iterator[Endpoint]:
    """Ready replicas; draining ones until their requests are done. A lost host's replicas stay: the gateway sees
    for itself whether they answer, and the control plane may be the one that is cut off."""
    for replica in sorted(replicas, key=lambda replica: replica.id):
        if not replica.host_id or not replica.host_port or replica.ended_at_s is not None:
            continue
        address = address_for(gateway, replica.host_id, replica.host_port, doors.get(replica.host_id))
        if not address:
            continue
        serves = replica.wanted is Wanted.RUN and replica.phase is Phase.READY
        drains = replica.wanted is Wanted.DRAIN and replica.drained_at_s is None and replica.phase in _DRAINABLE
        if serves or drains:
            host_id = "" if address == LOOPBACK or address.startswith(TUNNEL) else replica.host_id
            yield Endpoint(replica.id, address, replica.host_port, draining=drains, host_id=host_id)


def problems(candidate: GatewaySnapshot) -> tuple[str, ...]:
    """Why this snapshot must not be published, one sentence each; empty when it is consistent.

    Two endpoints with one address are a fault even across services: the port has a new owner and the old one's
    report is stale, so requests would reach the wrong service.
    """
    found: list[str] = []
    if not 0 < candidate.http_port < 65536:
        found.append(f"gateway {candidate.gateway} has no usable HTTP port ({candidate.http_port})")
    if not _is_address(candidate.listen_address):
        found.append(f"gateway {candidate.gateway} cannot listen on {candidate.listen_address!r}: not an IP address")
    found += [f"service {name} is there {n} times" for name, n in _repeated(s.name for s in candidate.services)]
    found += [
        f"domain {name} belongs to {n} services"
        for name, n in _repeated(d for s in candidate.services for d in s.domains)
    ]
    exclusive = [name for s in candidate.services if s.model and s.model.weight is None for name in s.model.names]
    found += [f"model {name!r} belongs to {n} services" for name, n in _repeated(exclusive)]
    owners: dict[tuple[str, int], str] = {}
    for service in candidate.services:
        if not _NAME.fullmatch(service.name):
            found.append(f"service {service.name!r} has a name that no host name can carry")
        found += [f"service {service.name} has a bad domain {d!r}" for d in service.domains if not _DOMAIN.fullmatch(d)]
        for endpoint in service.endpoints:
            if not (endpoint.is_tunnelled or _is_address(endpoint.address)) or not 0 < endpoint.port < 65536:
                found.append(
                    f"replica {endpoint.replica_id} has no usable address ({endpoint.address}:{endpoint.port})"
                )
            other = owners.setdefault((endpoint.address, endpoint.port), endpoint.replica_id)
            if other != endpoint.replica_id:
                found.append(
                    f"replicas {other} and {endpoint.replica_id} both claim {endpoint.address}:{endpoint.port}"
                )
    for token in candidate.tokens:
        if not _SHA256.fullmatch(token.token_sha256):
            found.append("a token's hash is not sha256 in lower-case hex")
        found += [f"a token names the bad service {name!r}" for name in token.services if not _NAME.fullmatch(name)]
        if token.token_id and not _TOKEN_ID.fullmatch(token.token_id):
            found.append("a token's id is no word of letters and digits")
    found += [f"a token is there {n} times" for _, n in _repeated(t.token_sha256 for t in candidate.tokens)]
    return tuple(found)


def _repeated(values: Iterable[str]) -> list[tuple[str, int]]:
    return [(value, n) for value, n in Counter(values).items() if n > 1]


@lru_cache(maxsize=100_000)
def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
