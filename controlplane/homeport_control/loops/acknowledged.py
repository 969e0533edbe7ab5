"""What is known of one gateway's Envoy: what it was given, what it has acknowledged, what it is busy with.

Covers one gateway since it came to its host: since this server started by value, and from before by the services that it
served then (`before`, kept in the database). Does not cover what follows (gateway).

A replica is *in rotation* at it only when a version that has its endpoint was acknowledged. It is *drained* there only
when a version without it (or with it draining) was acknowledged, none in which it gets requests was given since, for that
may be there before it is acknowledged, and the second load report after that counts nothing in flight at its address: the
first one may have been counted just before the acknowledgement. Where no Envoy runs nothing is
in flight; but one that its agent does not see (it was busy for two seconds) goes on serving, and its reports go on coming.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from homeport_control.domain.gateway import (
    HTTP3_LISTENER,
    HTTP3_OFF,
    Endpoint,
    Gateway,
    GatewaySnapshot,
    LoadReport,
    ServiceRoute,
)
from homeport_control.domain.replicas import Replica

REPORTS_AFTER_ACK = 2
SILENT_S = 10.0  # without a load report, which comes each second: nothing is heard of an Envoy
HTTP3_AGAIN_S = 60.0
REFUSED_AGAIN_S = 60.0  # what Envoy refused is sent again: it may have been short of something that it has now
STALE_S = 5.0  # a load report that is older says nothing about now
REMEMBERED_VERSIONS = 100  # published while no Envoy acknowledges; it will acknowledge the newest


@dataclass(slots=True)
class Acknowledged:
    """Values are replaced, never changed, but for what a load report says."""

    gateway: str
    host_id: str
    before: Mapping[str, str] = field(default_factory=dict)  # service -> version, as it stands in the database
    version: int = 0
    published: dict[int, GatewaySnapshot] = field(default_factory=dict)
    newest: GatewaySnapshot | None = None  # published last
    acked: GatewaySnapshot | None = None
    endpoints: dict[str, Endpoint] | None = None  # of what was acknowledged, by replica; None: nothing was heard yet
    # Names and replicas of these two: they are asked for once for each replica of the fleet.
    newest_names: frozenset[str] = frozenset()
    newest_replicas: frozenset[str] = frozenset()
    acked_names: frozenset[str] = frozenset()
    given: dict[str, int] = field(default_factory=dict)  # by replica: the last version in which it is to get requests
    acked_at_s: float = 0.0  # by a clock that does not jump
    reports: int = 0  # load reports of what was counted since
    busy: frozenset[tuple[str, int]] = frozenset()  # addresses with requests in flight, by the last of them
    last: LoadReport | None = None  # of all, whenever it was
    nack: str = ""
    nack_again_s: float = 0.0  # unix time
    saved: GatewaySnapshot | None = None  # of which `before` tells
    http3_off: str = ""  # why Envoy cannot have it: its port is taken, for example
    http3_again_s: float = 0.0

    def publish(self, version: int, snapshot: GatewaySnapshot) -> None:
        if self.newest is not None and self.newest is self.published.get(version):
            return  # the same again, as at most turns
        self.published[version] = self.newest = snapshot
        self.newest_names = frozenset(it.name for it in snapshot.services)
        self.newest_replicas = frozenset(it.replica_id for service in snapshot.services for it in service.endpoints)
        serving = (it.replica_id for service in snapshot.services for it in service.endpoints if not it.draining)
        self.given |= dict.fromkeys(serving, version)
        if len(self.published) > REMEMBERED_VERSIONS:
            del self.published[min(self.published)]
            oldest = min(self.published)
            self.given = {replica_id: last for replica_id, last in self.given.items() if last >= oldest}

    def take_ack(self, version: int, now_s: float) -> bool:
        """False: of what was never published. `now_s`: by a clock that does not jump."""
        acked = self.published.get(version)
        if acked is None:
            return False
        self.version, self.acked, self.nack = version, acked, ""
        self.http3_off = "" if acked.http3 else self.http3_off
        self.acked_names = frozenset(it.name for it in acked.services)
        self.endpoints = {it.replica_id: it for service in acked.services for it in service.endpoints}
        self.acked_at_s, self.reports, self.busy = now_s, 0, frozenset()
        self.published = {kept: value for kept, value in self.published.items() if kept >= version}
        self.given = {replica_id: given for replica_id, given in self.given.items() if given > version}
        return True

    def take_nack(self, message: str, now_s: float) -> None:
        self.nack, self.nack_again_s = message, now_s + REFUSED_AGAIN_S
        _, mark, why = message.partition(f"listener(s) {HTTP3_LISTENER}: ")
        if mark:
            self.http3_off, self.http3_again_s = f"{HTTP3_OFF}: Envoy says: {why.strip()}", now_s + HTTP3_AGAIN_S

    def may_have_http3(self, gateway: Gateway, now_s: float) -> bool:
        """False for a while after Envoy could not have that listener: everything else must not wait for it."""
        self.http3_off = self.http3_off if gateway.http3 else ""
        return gateway.http3 and not (self.http3_off and now_s < self.http3_again_s <= now_s + HTTP3_AGAIN_S)

    def may_try_again(self, now_s: float) -> bool:
        """True once, when what was refused is to be sent again."""
        if not self.nack or now_s < self.nack_again_s <= now_s + REFUSED_AGAIN_S:
            return False
        self.nack_again_s = now_s + REFUSED_AGAIN_S
        return True

    def take_load(self, report: LoadReport, now_s: float) -> None:
        """`now_s`: as of `take_ack`."""
        if now_s - report.late_s >= self.acked_at_s:
            self.reports += 1
        self.last = report
        self.busy = frozenset((load.address, load.port) for load in report.endpoints if load.in_flight)

    def in_flight(self, service: str, now_s: float) -> dict[str, int] | None:
        """Requests at each replica of a service; one that is not in it has none. None: it does not say."""
        if (
            self.last is None
            or self.endpoints is None
            or now_s - (self.last.received_at_s - self.last.late_s) > STALE_S
        ):
            return None
        by_place = {(it.address, it.port): it.in_flight for it in self.last.endpoints if it.service == service}
        endpoints = self.endpoints.values() if by_place else ()
        return {it.replica_id: n for it in endpoints if (n := by_place.get((it.address, it.port), 0))}

    def publishes(self, service: str) -> bool:
        """It was given the service, acknowledged or not."""
        if self.newest is None:
            return service in self.before
        return service in self.newest_names

    def serves(self, service: str) -> bool:
        if self.acked is None:
            return service in self.before
        return service in self.acked_names

    def unsaved(self) -> dict[str, str | None]:
        """What must be kept for a server that starts again: service -> version, or None for one that is served no more."""
        if self.acked is None:
            return {}
        held = {it.name: it for it in self.saved.services} if self.saved else {}
        now = {it.name: self.before[it.name] if held.get(it.name) == it else _version(it) for it in self.acked.services}
        gone = dict.fromkeys(self.before.keys() - now.keys())
        return {name: version for name, version in now.items() if self.before.get(name) != version} | gone

    def save(self, acked: GatewaySnapshot | None, changed: Mapping[str, str | None]) -> None:
        """What was `unsaved` of it was written."""
        kept = {**self.before, **changed}
        self.before = {name: version for name, version in kept.items() if version is not None}
        self.saved = acked

    def may_know(self, replica: Replica, service: str) -> bool:
        if self.endpoints is None and service in self.before:
            return True
        return replica.id in (self.endpoints or {}) or replica.id in self.newest_replicas or replica.id in self.given

    def has_in_rotation(self, replica: Replica) -> bool | None:
        """None: this server has not heard the gateway yet."""
        if self.endpoints is None:
            return None
        endpoint = self.endpoints.get(replica.id)
        return endpoint is not None and not endpoint.draining and endpoint.port == replica.host_port

    def silent_at_s(self) -> float:
        """When there will have been no report for so long that no Envoy is believed in that the agent does not see."""
        return (self.last.received_at_s if self.last is not None else 0.0) + SILENT_S

    def has_drained(self, gateway: Gateway, replica: Replica, now_s: float) -> bool:
        if not gateway.ready and now_s >= self.silent_at_s():
            return True  # no Envoy runs, so no request does
        if self.endpoints is None or self.reports < REPORTS_AFTER_ACK or replica.id in self.given:
            return False
        endpoint = self.endpoints.get(replica.id)
        if endpoint is not None and not endpoint.draining:
            return False
        return endpoint is None or (endpoint.address, endpoint.port) not in self.busy


def _version(route: ServiceRoute) -> str:
    return hashlib.sha256(repr(route).encode()).hexdigest()[:16]
