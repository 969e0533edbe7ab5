"""Where something could run: the hosts that fit, and why others do not. For a plan and for `offer`; reserves nothing."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence

from homeport_protos.api.v1 import api_pb2

from homeport_control.decide.offers import Offer, offers
from homeport_control.decide.placement import Ask, Filters
from homeport_control.decide.standing import standing
from homeport_control.domain.errors import BadRequest
from homeport_control.domain.hosts import Host, Reservation
from homeport_control.spec.document import parse_service
from homeport_control.spec.problems import BadDocument, Problem, closest, quoted
from homeport_control.spec.service import ServiceSpec
from homeport_control.spec.support import unsupported
from homeport_control.store import fleets, hosts, reservations, volumes
from homeport_control.store.connect import Database

# What of a service says where it may run.
KEYS = (
    "resources", "fleets", "hosts", "host_labels", "regions", "backends", "instance_types", "spot_policy", "max_price",
    "creation_policy",
)  # fmt: skip
MAX_BYTES = 64 * 1024


async def fitting(database: Database, ask: Ask) -> tuple[list[api_pb2.Offer], list[api_pb2.Refusal]]:
    """As placement would choose now, and a reason for each host that is not idle."""
    async with database.read() as connection:
        joined = await hosts.list_all(connection)
        known = standing(joined, await fleets.registered(connection), await fleets.by_name(connection))
        held = await reservations.list_all(connection)
        homes = await volumes.homes(connection)
    return await asyncio.to_thread(_fitting, known, held, ask, homes)


def _fitting(
    known: Sequence[Host], held: Sequence[Reservation], ask: Ask, homes: Mapping[str, str]
) -> tuple[list[api_pb2.Offer], list[api_pb2.Refusal]]:
    found, refused = offers(known, held, ask, time.time(), homes)
    return [_offer(each) for each in found], [api_pb2.Refusal(host=each.host, reason=each.reason) for each in refused]


async def list_offers(database: Database, request: api_pb2.ListOffersRequest) -> api_pb2.ListOffersResponse:
    """For a map of the keys of a service that say where it may run (KEYS). Raises BadRequest for what is no map."""
    try:
        spec = _spec(request)
    except BadDocument as error:
        problems = [api_pb2.Problem(path=each.path, message=each.message, hint=each.hint) for each in error.problems]
        return api_pb2.ListOffersResponse(problems=problems)
    found, refused = await fitting(database, Ask("", "", spec.resources, Filters.of(spec)))
    return api_pb2.ListOffersResponse(offers=found, refusals=refused)


def _spec(request: api_pb2.ListOffersRequest) -> ServiceSpec:
    """Raises BadDocument, BadRequest."""
    try:
        fields = json.loads(request.json[:MAX_BYTES] or "{}")
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise BadRequest("what is asked for did not arrive as a map; use this version's command line")
    if unknown := [key for key in fields if key not in KEYS]:
        raise BadDocument(Problem(key, f"unknown key {quoted(key)}", closest(key, KEYS)) for key in unknown)
    policy = {"creation_policy": "reuse"} if request.reuse else {}
    # A service that asks for these and for nothing else; what it would run plays no part.
    spec = parse_service({"type": "service", "image": "any", "port": 1, **fields, **policy}).spec
    refused = [problem for problem in unsupported(spec) if problem.path.split(".")[0] in KEYS]
    if refused or not isinstance(spec, ServiceSpec):
        raise BadDocument(refused)
    return spec


def _offer(offer: Offer) -> api_pb2.Offer:
    return api_pb2.Offer(
        backend=offer.backend,
        region=offer.region,
        host=offer.host,
        resources=offer.resources_text,
        spot=offer.spot,
        price=offer.price,
        availability=offer.availability,
    )
