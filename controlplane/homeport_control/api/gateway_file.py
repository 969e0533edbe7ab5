"""What the file of a gateway asks for: the spec in it, the gateway that it is about, and how that is to be.

Does not cover what applying it would change (gateways), nor its machine (gateway_machines).
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from secrets import randbits

from homeport_control.domain.gateway import LOCAL, Certificate, Gateway
from homeport_control.domain.hosts import Host
from homeport_control.spec.document import load_json, parse
from homeport_control.spec.gateway import GatewaySpec
from homeport_control.spec.naming import random_name
from homeport_control.spec.problems import BadDocument, Problem
from homeport_control.spec.support import unsupported
from homeport_control.store import gateways


def spec_of(json: str) -> GatewaySpec:
    """Raises BadDocument."""
    spec = parse(load_json(json)).spec
    if not isinstance(spec, GatewaySpec):
        raise BadDocument([Problem("type", "is no gateway")])
    if problems := unsupported(spec):
        raise BadDocument(problems)
    return spec


def meant(spec: GatewaySpec, known: Iterable[Gateway]) -> Gateway | None:
    """The gateway that the file is about. One without a name is found again by its domain."""
    return next((it for it in known if (it.name == spec.name if spec.name else it.domain == spec.domain)), None)


def wanted_of(spec: GatewaySpec, before: Gateway | None, host: Host | None, *, is_first: bool) -> Gateway:
    name = before.name if before else spec.name or random_name(randbits(64))
    certificate = Certificate(
        spec.certificate.type,
        spec.certificate.email or "",
        spec.certificate.directory or "",
        spec.certificate.cert or "",
        spec.certificate.key or "",
        spec.certificate.hook or "",
    )
    wanted = Gateway(
        name=name,
        host_id=host.id if host else "",
        listen_address=spec.listen_address,
        http_port=spec.http_port,
        domain=spec.domain,
        https_port=0 if certificate.type == "none" else spec.https_port,
        wanted_host=spec.host.text,
        certificate=certificate,
        trusted_addresses=spec.trusted_addresses,
        http3=spec.http3,
        default=spec.default or is_first or (before is not None and before.default),
        applied=True,
        message=gateways.NOT_HEARD if host else gateways.NO_MACHINE if spec.host.is_ssh else gateways.NO_HOST,
        created_at_s=time.time(),
    )
    if before is None:
        return wanted
    if host is None and spec.host.is_ssh:  # it stays where it is until its machine has come
        wanted = replace(wanted, host_id=before.host_id)
    kept = replace(wanted, created_at_s=before.created_at_s)
    if wanted.domain != before.domain:
        kept = replace(kept, old_domain=before.domain)
    elif before.old_domain:
        kept = replace(kept, old_domain=before.old_domain)
    if wanted.host_id == before.host_id:
        kept = replace(kept, ready=before.ready, message=before.message, refused=before.refused)
    return kept


def problems_of_host(wanted: str, host: Host | None, there: Sequence[Host]) -> list[Problem]:
    if host is not None or wanted == LOCAL:
        return []
    names = ", ".join(it.name for it in there[:5]) + (", …" if len(there) > 5 else "")
    if any(mark in wanted for mark in ".:"):
        hint = f"To reach a machine by SSH, say as whom: `host: USER@{wanted}`"
        return [Problem("host", f"there is no host `{wanted}`", hint)]
    return [Problem("host", f"there is no host `{wanted}`", f"These are there: `local`{', ' if names else ''}{names}")]
