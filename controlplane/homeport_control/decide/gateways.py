"""Gateways as their owners want them: which host one gets, what it must not share, which one a service is published by.

PURE. Does not cover what a gateway serves (routes), nor keeping it (store/gateways).
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence

from homeport_control.domain.gateway import LOCAL, Certificate, Gateway
from homeport_control.domain.hosts import Host
from homeport_control.spec.diff import Change
from homeport_control.spec.gateway_host import address_of
from homeport_control.spec.problems import Problem

_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - compared with, not bound
_MOVES = "its Envoy there is stopped, one on the new host is started; names must point to that"
_LISTENS = "it listens anew; streams that are open at the old place end within ten minutes"
_RENAMES = "all its services get new addresses; the old ones serve until the new ones do"


def host_for(wanted: str, hosts: Iterable[Host], local_addresses: Sequence[str]) -> Host | None:
    """The host that is meant by a gateway's `host`. `local`: the oldest that joined from the server's own machine."""
    if wanted != LOCAL:
        return next((host for host in hosts if host.name == wanted), None)
    here = [host for host in hosts if host.address in local_addresses and not host.is_for_gateways]
    return min(here, key=lambda host: (host.created_at_s, host.id), default=None)


def choose(wanted: str | None, gateways: Sequence[Gateway]) -> Gateway | None:
    """The gateway that a service names, or the default one."""
    return next((it for it in gateways if it.name == wanted or (wanted is None and it.default)), None)


def clashes(candidate: Gateway, others: Iterable[Gateway]) -> Iterator[Problem]:
    """What it cannot have because another gateway has it."""
    if candidate.http_port == candidate.https_port:
        yield Problem("https_port", f"is `http_port` too: {candidate.http_port}", "Choose two ports")
    for other in others:
        if other.name == candidate.name:
            continue
        if candidate.domain in {other.domain, other.old_domain}:
            yield Problem(
                "domain", f"`{candidate.domain}` is the domain of the gateway `{other.name}`", "Choose another"
            )
        if not _share_a_host(candidate, other):
            continue
        for key, port in (("http_port", candidate.http_port), ("https_port", candidate.https_port)):
            if any(port == taken and _meet(candidate.listen_address, address) for address, taken in other.listens):
                message = f"{port} is the port of the gateway `{other.name}` on the same host"
                yield Problem(key, message, "Choose another port or `address`")


def _share_a_host(one: Gateway, other: Gateway) -> bool:
    machine = address_of(one.wanted_host)  # one that is not installed yet is no host
    return bool(one.host_id and one.host_id == other.host_id) or (
        machine is not None and machine == address_of(other.wanted_host)
    )


def _meet(one: str, other: str) -> bool:
    if one == other:
        return True
    versions = ipaddress.ip_address(one).version, ipaddress.ip_address(other).version
    return _ANY[6] in (one, other) or (versions == (4, 4) and _ANY[4] in (one, other))


def changes(before: Gateway, after: Gateway) -> tuple[tuple[Change, str], ...]:
    """What differs, with what changing it does."""
    shown = (
        ("domain", before.domain, after.domain, _RENAMES),
        ("host", before.wanted_host, after.wanted_host, _MOVES),
        ("listens on", places(before), places(after), _LISTENS),
        ("HTTP/3", *(("yes" if it.http3 else "no") for it in (before, after)), "no connection by TCP is touched"),
        ("trusted addresses", *(", ".join(it.trusted_addresses) for it in (before, after)), _LISTENS),
        (
            "certificate",
            certificate_text(before.certificate),
            certificate_text(after.certificate),
            "no connection is touched",
        ),
        ("default", *(("yes" if it.default else "no") for it in (before, after)), "for what is applied from now on"),
    )
    return tuple((Change(path, old, new), how) for path, old, new, how in shown if old != new)


def places(gateway: Gateway) -> str:
    return ", ".join(
        f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address, port in gateway.listens
    )


def certificate_text(certificate: Certificate) -> str:
    proof = f"dns-01 {certificate.hook}" if certificate.hook else ""
    details = (certificate.directory, certificate.email, certificate.cert, certificate.key, proof)
    return " ".join(filter(None, (certificate.type, *details)))
