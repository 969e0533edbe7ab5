"""One Envoy's delta-xDS stream as a state machine. PURE: requests and worlds in, responses out; imports none of ours.

Covers nonces, ACK and NACK per type, versions kept over a reconnect, unknown names, and the order that keeps every
request answered:

    CDS (new, changed) -> EDS of those clusters, even when unchanged -> all ACKed -> RDS -> ACKed -> CDS (removed)

Does not cover what the resources say (resources), nor the stream itself (server).

Why the order is what it is, learnt on a real Envoy (1.40):
- a changed cluster warms again and waits for its endpoints, but Envoy does not ask again for a name that it already
  subscribes to: without a second EDS of the same name everything stalls for 15 s;
- a route to a cluster that is not warm yet answers 503;
- a name that is not known must be answered as removed, else Envoy waits for it;
- a fresh Envoy that asks for "everything" must be answered even when there is nothing: else it waits 15 s for its first
  clusters (initial_fetch_timeout) before it opens a listener.

One response per type is in flight at a time; what changes meanwhile is sent after its ACK, newest state only.
After a NACK nothing is sent until another world is set: the caller decides what that is (the last good one).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

TYPE = "type.googleapis.com/"
LDS = TYPE + "envoy.config.listener.v3.Listener"
CDS = TYPE + "envoy.config.cluster.v3.Cluster"
RDS = TYPE + "envoy.config.route.v3.RouteConfiguration"
EDS = TYPE + "envoy.config.endpoint.v3.ClusterLoadAssignment"
ECDS = TYPE + "envoy.config.core.v3.TypedExtensionConfig"

SDS = TYPE + "envoy.extensions.transport_sockets.tls.v3.Secret"

ORDER = (ECDS, CDS, EDS, SDS, LDS, RDS)
WILDCARDS = frozenset({LDS, CDS})
ON_DEMAND = frozenset({SDS})  # Envoy asks for a certificate when somebody calls by its name, so it holds only some

_REJECTED = "rejected"  # equals no version: what Envoy holds under this name after a NACK is not known


@dataclass(frozen=True, slots=True)
class Resource:
    """`version` is made from the content, so that equal content is never sent twice, not even by another process."""

    name: str
    version: str
    body: bytes


@dataclass(frozen=True, slots=True)
class World:
    """Everything that one Envoy must hold: type -> name -> resource."""

    version: int
    resources: Mapping[str, Mapping[str, Resource]]

    def of(self, type_url: str) -> Mapping[str, Resource]:
        return self.resources.get(type_url, {})


@dataclass(frozen=True, slots=True)
class Request:
    """One DeltaDiscoveryRequest. `error` is set in a NACK."""

    type_url: str
    nonce: str = ""
    error: str | None = None
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    type_url: str
    nonce: str
    version: int  # of the world that it was made from
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()


_WORDS = {
    ECDS: "the filter",
    CDS: "the cluster of",
    EDS: "the endpoints of",
    SDS: "the certificate for",
    LDS: "the listener",
    RDS: "the routes",
}
MOST_TYPES = 32  # of resources that one stream may ask for; Envoy knows seven of ours
MOST_NAMES = 100_000  # of one type that are remembered; one beyond is answered, and not told of later
_NAMED_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class Nack:
    """`names`: of the resources that Envoy may mean; one, when it names it or when no other one was sent."""

    version: int
    message: str
    type_url: str
    names: tuple[str, ...]

    @property
    def sentence(self) -> str:
        what = _WORDS.get(self.type_url, self.type_url)
        if not self.names:
            return self.message
        if len(self.names) == 1:
            return f"{what} {self.names[0]}: {self.message}"
        more = len(self.names) - _NAMED_AT_MOST
        shown = ", ".join(self.names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
        return f"{what} one of {shown}: {self.message}"


@dataclass(slots=True)
class _Type:
    wildcard: bool = False
    subscribed: set[str] = field(default_factory=set)
    held: dict[str, str] = field(default_factory=dict)  # what Envoy has acknowledged: name -> version
    asked: set[str] = field(default_factory=set)  # subscribed since the last response: unknown ones want an answer
    in_flight: Response | None = None
    owes_first: bool = False  # asked for everything, holding nothing: an empty answer is an answer


class Subscription:
    """The state of one stream. Every method returns at once; nothing is sent from here."""

    def __init__(self) -> None:
        self._types: dict[str, _Type] = {}
        self._world: World | None = None
        self._halted = False
        self._nonces = 0
        # Clusters that were sent and whose endpoints were not acknowledged since: not to be routed to yet.
        self._cold: set[str] = set()
        # Those of them that were sent while an EDS response was in flight: its ACK says nothing about them.
        self._cooled_meanwhile: set[str] = set()

    def set_world(self, world: World) -> None:
        """What Envoy must hold from now on; replaces the one before, done or not."""
        self._world = world
        self._halted = False

    @property
    def acked_version(self) -> int | None:
        """The version of the world when Envoy has acknowledged all of it, else None."""
        world = self._world
        if world is None or self._halted:
            return None
        for type_url in ORDER:
            state = self._types.get(type_url)
            if state is None and (type_url in ON_DEMAND or not world.of(type_url)):
                continue
            if state is None or state.in_flight is not None or not self._holds_all(type_url):
                return None
            if (state.wildcard or type_url in ON_DEMAND) and state.held.keys() - world.of(type_url).keys():
                return None
        return None if self._cold & world.of(EDS).keys() else world.version

    def receive(self, request: Request) -> Nack | None:
        """Take one request in; a NACK of the response in flight comes back as a value."""
        state = self._types.get(request.type_url)
        first = state is None
        if first and len(self._types) >= MOST_TYPES:
            return None
        if state is None:
            state = self._types[request.type_url] = _Type()
            names = set(request.subscribe)
            state.wildcard = "*" in names or (request.type_url in WILDCARDS and not names)
            # Endpoints are sent again on every stream: the last one may have been cut between a changed cluster and its
            # endpoints, and that cluster waits for them although Envoy holds this very version.
            # Who asks for all of them only keeps them, and waits for nothing.
            if request.type_url != EDS or state.wildcard:
                state.held.update(request.initial_versions)
            state.owes_first = state.wildcard and not request.initial_versions
        nack = self._settle(request, state)
        for name in request.subscribe:
            if name == "*":
                continue
            if len(state.subscribed) < MOST_NAMES:  # a stranger's hello names what a gateway asks us for
                state.subscribed.add(name)
            if not (first and name in request.initial_versions):
                # Asked for again means: send it again, whatever was sent before.
                state.held.pop(name, None)
                state.asked.add(name)
        for name in request.unsubscribe:
            state.subscribed.discard(name)
            state.asked.discard(name)
            state.held.pop(name, None)
        return nack

    def responses(self) -> list[Response]:
        """What may be sent now, in order. Each response counts as sent."""
        if self._world is None or self._halted:
            return []
        made: list[Response] = []
        for type_url in ORDER:
            state = self._types.get(type_url)
            if state is None or state.in_flight is not None:
                continue
            response = self._next(self._world, type_url, state)
            if response is None:
                continue
            state.in_flight = response
            made.append(response)
            if type_url == CDS:
                self._cool(resource.name for resource in response.resources)
        return made

    def _settle(self, request: Request, state: _Type) -> Nack | None:
        response = state.in_flight
        if response is None or request.nonce != response.nonce:
            return None
        state.in_flight = None
        names = {resource.name for resource in response.resources}
        if request.error is not None:
            suspects = _suspects(request.error, response, state.held)
            # Envoy may have taken a part of it: none of these names is known any more.
            state.held.update(dict.fromkeys([*names, *(n for n in response.removed if n in state.held)], _REJECTED))
            self._halted = True
            return Nack(response.version, request.error, request.type_url, suspects)
        for resource in response.resources:
            state.held[resource.name] = resource.version
        for name in response.removed:
            state.held.pop(name, None)
        if request.type_url == EDS:
            self._cold -= names - self._cooled_meanwhile
            self._cooled_meanwhile.clear()
        return None

    def _cool(self, names: Iterable[str]) -> None:
        cooled = set(names)
        self._cold |= cooled
        eds = self._types.get(EDS)
        if eds is not None and eds.in_flight is not None:
            self._cooled_meanwhile |= cooled

    def _next(self, world: World, type_url: str, state: _Type) -> Response | None:
        target = world.of(type_url)
        if type_url == RDS and not self._clusters_are_warm(world):
            return None
        names = target.keys() if state.wildcard else state.subscribed & target.keys()
        changed = tuple(
            target[name]
            for name in sorted(names)
            if state.held.get(name) != target[name].version or (type_url == EDS and name in self._cold)
        )
        gone = state.asked - target.keys()
        if type_url in ON_DEMAND:
            gone |= state.held.keys() - target.keys()
        if state.wildcard and (type_url != CDS or self._has_these_routes()):
            gone |= state.held.keys() - target.keys()
        state.asked.clear()
        if not changed and not gone and not state.owes_first:
            return None
        state.owes_first = False
        self._nonces += 1
        return Response(type_url, str(self._nonces), world.version, changed, tuple(sorted(gone)))

    def _clusters_are_warm(self, world: World) -> bool:
        clusters, endpoints = self._types.get(CDS), self._types.get(EDS)
        if clusters is None or (endpoints is None and world.of(EDS)):
            return not world.of(CDS)
        if clusters.in_flight is not None and not world.of(CDS).keys().isdisjoint(clusters.in_flight.removed):
            return False  # wanted again while it is on its way out: Envoy's last word is of before
        return all(name in clusters.held for name in world.of(CDS)) and (
            endpoints is None or all(name in endpoints.held and name not in self._cold for name in world.of(EDS))
        )

    def _has_these_routes(self) -> bool:
        """Of this world, and no others are on their way to it: no route leads to a cluster that this world lacks."""
        routes = self._types.get(RDS)
        return routes is not None and routes.in_flight is None and self._holds_all(RDS)

    def _holds_all(self, type_url: str) -> bool:
        state = self._types.get(type_url)
        if state is None or self._world is None:
            return False
        target = self._world.of(type_url)
        if type_url in ON_DEMAND:
            return all(state.held.get(name) == target[name].version for name in state.subscribed & target.keys())
        return all(state.held.get(name) == resource.version for name, resource in target.items())


def _suspects(message: str, response: Response, held: Mapping[str, str]) -> tuple[str, ...]:
    """Those that Envoy names; else those that it did not hold just so before."""
    sent = response.resources
    named = tuple(it.name for it in sent if re.search(rf"(?<![\w.-]){re.escape(it.name)}(?![\w-])", message))
    return named or tuple(it.name for it in sent if held.get(it.name) != it.version)
