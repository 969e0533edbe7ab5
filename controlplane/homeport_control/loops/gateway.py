"""The gateways: what is ready becomes a snapshot of each; what all that serve it acknowledged is in rotation; what is idle
at all of them is drained.

A service is published by one gateway. When its file names another, both serve it until the new one has acknowledged it;
when a gateway's domain changes, both names are served until the new one is acknowledged. What one of them has heard is
in `acknowledged`.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from homeport_control.decide.certificates import Pairs, of_before, served, sources
from homeport_control.decide.gateways import choose
from homeport_control.decide.routes import ServiceInput, problems, snapshot
from homeport_control.domain.certificates import Kept
from homeport_control.domain.gateway import (
    Affinity,
    Gateway,
    GatewaySnapshot,
    LoadReport,
    Proof,
    PublishedModel,
    RateRule,
    ServedCertificate,
    TokenGrant,
    Traffic,
)
from homeport_control.domain.hosts import Door
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import Run
from homeport_control.loops.acknowledged import Acknowledged
from homeport_control.loops.certificates import names_by_gateway
from homeport_control.loops.loop import Turn
from homeport_control.spec.routing import DEFAULT_COOKIE, DEFAULT_PREFIX_BYTES
from homeport_control.spec.service import ServiceSpec, spec_from_json
from homeport_control.store import acknowledged, certificates, doors, gateways, replicas, runs, tokens
from homeport_control.store.connect import Database, Write

PROOF_S = 30.0  # for a gateway to acknowledge one


Heard = tuple[Acknowledged, GatewaySnapshot | None, Mapping[str, str | None]]  # with what is not kept of it yet


@dataclass(frozen=True, slots=True)
class Home:
    """Where a run is published."""

    run: str
    gateway: Gateway | None


class GatewayLoop:
    """The `on_…` methods and `authorize` are callbacks of xds and load; `publish`, `prepare`, `forget` and `try_again` are xds'
    own, set by app."""

    topics = ("runs", "replicas", "tokens", "gateways", "gateway", "doors")

    def __init__(self, database: Database, open_key: Callable[[bytes], str] = bytes.decode) -> None:
        """`open_key` opens a certificate's key."""
        self._open_key = lru_cache(maxsize=20_000)(open_key)  # at each turn all of them
        self.publish: Callable[[GatewaySnapshot], int]  # hands a snapshot to xds, answers with its version
        self.forget: Callable[[str], None]  # that gateway is no more, or stands on another host now
        # Makes what is dear of a snapshot, before it is published; called in a thread.
        self.prepare: Callable[[GatewaySnapshot], None] = lambda snapshot: None
        self.try_again: Callable[[str], None] = lambda gateway: None  # send it anew what it refused
        self._database = database
        self._known: dict[str, Acknowledged] = {}
        self._draining = False
        self._proofs: dict[str, set[Proof]] = {}  # by gateway

    def authorize(self, host_id: str, node_id: str) -> str | None:
        """The gateway that this host's Envoy may be; None: it has no such role.

        The node's id says which one of its host's gateways it is. An agent that knows one gateway a host only says its
        host's id, and was given the first.
        """
        mine = sorted(name for name, known in self._known.items() if host_id and known.host_id == host_id)
        if node_id == host_id:
            return mine[0] if mine else None
        return next((name for name in mine if node_id == f"{host_id}/{name}"), None)

    def on_acked(self, gateway: str, version: int) -> None:
        known = self._known.get(gateway)
        if known is not None and known.take_ack(version, time.monotonic()):
            self._database.changes.publish({"gateway"})

    def on_nacked(self, gateway: str, _version: int, message: str) -> None:
        if gateway in self._known:
            self._known[gateway].take_nack(message, time.time())
            self._database.changes.publish({"gateway"})

    def on_load(self, report: LoadReport) -> None:
        if report.gateway in self._known:
            self._known[report.gateway].take_load(report, time.monotonic())
            if self._draining:
                self._database.changes.publish({"gateway"})

    @asynccontextmanager
    async def proving(self, gateway: str, proof: Proof) -> AsyncIterator[None]:
        """Inside, the gateway answers so; it has acknowledged that. Raises TimeoutError."""
        self._proofs.setdefault(gateway, set()).add(proof)
        try:
            with self._database.changes.subscribe("gateway") as subscription:
                self._database.changes.publish({"gateway"})
                async with asyncio.timeout(PROOF_S):
                    while not self._shows(gateway, proof):
                        await subscription.wait(PROOF_S)
            yield
        finally:
            self._proofs[gateway].discard(proof)
            self._database.changes.publish({"gateway"})

    def _shows(self, gateway: str, proof: Proof) -> bool:
        known = self._known.get(gateway)
        return known is not None and known.acked is not None and proof in known.acked.proofs

    def in_rotation(self, gateway: str) -> frozenset[str]:
        """Services that have a replica to send requests to, as this gateway has acknowledged."""
        known = self._known.get(gateway)
        acked = known.acked.services if known and known.acked else ()
        return frozenset(it.name for it in acked if any(not each.draining for each in it.endpoints))

    def publishers(self, run_name: str) -> frozenset[str]:
        """Gateways that were given this run: two while it moves."""
        return frozenset(name for name, known in self._known.items() if known.publishes(run_name))

    def in_flight(self, run_name: str) -> Mapping[str, int] | None:
        """Requests of a run by replica id, at all gateways that have it, by their last report; None: one does not say."""
        found: Counter[str] = Counter()
        theirs = [known for known in self._known.values() if known.publishes(run_name)]
        for known in theirs:
            there = known.in_flight(run_name, time.time())
            if there is None:
                return None
            found.update(there)
        return found if theirs else None

    async def turn(self, now_s: float) -> Turn:
        async with self._database.snapshot() as connection:  # what is read in pieces is of one moment
            there = await gateways.list_all(connection)
            active = await runs.list_unsettled(connection)
            present = await replicas.of_runs(connection, [run.id for run in active])
            kept = await certificates.list_all(connection)
            grants, next_expiry_s = await tokens.grants(connection, now_s)
            ways = await doors.by_host(connection)
            before = {
                gateway.name: await acknowledged.of(connection, gateway.name, gateway.host_id)
                for gateway in there
                if self._is_new(gateway)
            }
        self._meet(there, before)
        homes = {run.id: Home(run.name, choose(_spec(run).gateway, there)) for run in active}
        sentences = []
        published = names_by_gateway(there, active)
        for gateway in there:
            pairs, old = (self._opened(found(kept, gateway)) for found in (sources, of_before))
            shown = tuple(served(gateway, published[gateway.name], pairs, old))
            services = [
                _input(run, tuple(present.get(run.id, ())))
                for run in active
                if run.ended_at_s is None and self._is_served(gateway, homes[run.id])
            ]
            sentences.append(await self._give(gateway, services, grants, shown, ways))
        everyone = [replica for found in present.values() for replica in found]
        self._draining = any(replica.wanted is Wanted.DRAIN for replica in everyone)
        await self._mark(there, homes, everyone, now_s)
        await self._tell(there)
        again = [it.http3_again_s for it in self._known.values() if it.http3_off and it.http3_again_s > now_s]
        again += [it.nack_again_s for it in self._known.values() if it.nack]
        silent = [at_s for it in self._known.values() if self._draining and (at_s := it.silent_at_s()) > now_s]
        wake_at_s = min(filter(None, (next_expiry_s, *again, *silent)), default=None)
        return Turn("; ".join(sentences) or "there is no gateway", wake_at_s)

    def _is_new(self, gateway: Gateway) -> bool:
        known = self._known.get(gateway.name)
        return known is None or known.host_id != gateway.host_id

    def _meet(self, there: Sequence[Gateway], before: Mapping[str, Mapping[str, str]]) -> None:
        """Begin anew with a gateway that came to a host, with what is kept of it; forget those that are no more."""
        hosts = {gateway.name: gateway.host_id for gateway in there if gateway.host_id}
        for name, known in tuple(self._known.items()):
            if hosts.get(name) != known.host_id:
                del self._known[name]
                self.forget(name)
        for name, host_id in hosts.items():
            if name not in self._known:
                self._known[name] = Acknowledged(name, host_id, before.get(name, {}))

    def _opened(self, kept: Iterable[Kept]) -> Pairs:
        return {it.name: (it.chain_pem, self._open_key(it.key)) for it in kept if it.chain_pem}

    def _is_served(self, gateway: Gateway, home: Home) -> bool:
        """By its own gateway; and by the one that it leaves, until its own has acknowledged it."""
        if home.gateway is None or home.gateway.name == gateway.name:
            return home.gateway is not None
        leaves, comes = self._known.get(gateway.name), self._known.get(home.gateway.name)
        return leaves is not None and leaves.publishes(home.run) and not (comes is not None and comes.serves(home.run))

    async def _give(
        self,
        gateway: Gateway,
        services: list[ServiceInput],
        grants: Iterable[TokenGrant],
        shown: tuple[ServedCertificate, ...],
        ways: Mapping[str, Door],
    ) -> str:
        """Publish what it must serve; a sentence about it."""
        known = self._known.get(gateway.name)
        if known is None:
            return f"gateway {gateway.name} has no host yet"
        # A file that wants a replica again wakes it: until that is there requests are held as before.
        asleep = {it.name for it in known.newest.services if it.held} if known.newest else ()
        services = [replace(it, sleeps=True) if it.run.name in asleep else it for it in services]
        gateway = replace(gateway, http3=known.may_have_http3(gateway, time.time()))
        proofs = tuple(self._proofs.get(gateway.name, ()))
        # In a thread: with thousands of replicas it takes as long as nobody may hold the event loop.
        candidate, wrong = await asyncio.to_thread(
            self._made, known.newest, lambda: snapshot(gateway, services, grants, shown, proofs, ways)
        )
        if wrong:
            return f"the last good configuration of gateway {gateway.name} stays: {'; '.join(wrong)}"
        version = self.publish(candidate)
        known.publish(version, candidate)
        if known.may_try_again(time.time()):
            self.try_again(gateway.name)
        if known.nack:
            return f"gateway {gateway.name} refused version {version}: {known.nack}"
        endpoints = sum(len(service.endpoints) for service in candidate.services)
        sentence = f"gateway {gateway.name} serves {len(candidate.services)} services with {endpoints} endpoints"
        return sentence if known.version == version else f"{sentence}; version {version} is not acknowledged yet"

    def _made(
        self, newest: GatewaySnapshot | None, make: Callable[[], GatewaySnapshot]
    ) -> tuple[GatewaySnapshot, tuple[str, ...]]:
        """What it must serve, and why that must not be published; what it was given already, when nothing has changed."""
        candidate = make()
        if newest is not None and candidate == newest:
            return newest, ()
        wrong = problems(candidate)
        if not wrong:
            self.prepare(candidate)
        return candidate, wrong

    async def _mark(
        self, there: Sequence[Gateway], homes: Mapping[str, Home], everyone: list[Replica], now_s: float
    ) -> None:
        rotate = [it for it in everyone if self._is_in_rotation(it, homes[it.run_id]) != it.in_rotation]
        drained = [it for it in everyone if self._is_drained(it, homes[it.run_id], there, now_s)]
        heard = [
            (known, known.acked, known.unsaved()) for known in self._known.values() if known.acked is not known.saved
        ]
        if rotate or drained or any(unsaved for _, _, unsaved in heard):
            await self._write(rotate, drained, heard)
        for known, acked, unsaved in heard:
            known.save(acked, unsaved)

    async def _write(self, rotate: list[Replica], drained: list[Replica], heard: Sequence[Heard]) -> None:
        async with self._database.write() as write:
            # Others have written since it was looked. One that fell meanwhile and comes back would count as serving before a
            # gateway has it again, and the one that serves could be drained for it.
            now = await replicas.by_id(write.connection, [it.id for it in rotate if not it.in_rotation])
            rotate = [it for it in rotate if it.in_rotation or _is_as_it_was(it, now.get(it.id))]
            await replicas.update_all(write, {it.id: {"in_rotation": not it.in_rotation} for it in rotate})
            for run_id in dict.fromkeys(it.run_id for it in rotate if not it.in_rotation):
                await self._first_published(write, run_id)
            await replicas.update_all(write, {it.id: {"drained_at_s": time.time()} for it in drained})
            for known, _, unsaved in heard:
                await acknowledged.keep(write, known.gateway, known.host_id, unsaved)

    async def _tell(self, there: Sequence[Gateway]) -> None:
        """Keep what Envoy refuses, and that the new domain is served: each with its event."""
        for gateway in there:
            known = self._known.get(gateway.name)
            if known is None:
                continue
            refused = known.http3_off or known.nack
            changed = {"refused": refused} if refused != gateway.refused else {}
            if gateway.old_domain and known.acked is not None and known.acked.domain == gateway.domain:
                changed["old_domain"] = ""
            if changed:
                async with self._database.write() as write:
                    await gateways.update(write, gateway.name, **changed)

    @staticmethod
    async def _first_published(write: Write, run_id: str) -> None:
        run = await runs.get(write.connection, run_id)
        if not run.ever_published:
            await runs.update(write, run.id, ever_published=True, running_since_s=time.time())

    def _is_in_rotation(self, replica: Replica, home: Home) -> bool:
        """At its own gateway; before that serves the service at all, at the one that it leaves."""
        if replica.wanted is not Wanted.RUN or replica.phase is not Phase.READY:
            return False
        known = self._known.get(home.gateway.name) if home.gateway else None
        said = known.has_in_rotation(replica) if known else None
        if known is not None and not known.serves(home.run):
            left = [it for it in self._known.values() if it is not known and it.publishes(home.run)]
            said = said or any(it.has_in_rotation(replica) for it in left) or (None if said is None else False)
        return replica.in_rotation if said is None else said  # not heard yet: what stood before stands

    def _is_drained(self, replica: Replica, home: Home, there: Sequence[Gateway], now_s: float) -> bool:
        """At every gateway that may send requests to it."""
        if replica.wanted is not Wanted.DRAIN or replica.drained_at_s is not None:
            return False
        return all(
            known.has_drained(gateway, replica, now_s)
            for gateway in there
            if (known := self._known.get(gateway.name)) is not None
            and (gateway == home.gateway or known.may_know(replica, home.run))
        )


def _is_as_it_was(replica: Replica, now: Replica | None) -> bool:
    return now is not None and (now.wanted, now.phase, now.host_port) == (
        replica.wanted,
        replica.phase,
        replica.host_port,
    )


def _spec(run: Run) -> ServiceSpec:
    return spec_from_json((run.current or run.newest).spec_json)  # what was given up says nothing about what serves


def _input(run: Run, present: tuple[Replica, ...]) -> ServiceInput:
    spec = _spec(run)
    model = None
    if spec.model is not None and spec.model.format == "openai":
        first, *others = spec.model.names
        created_s = int(run.submitted_at_s)
        model = PublishedModel(first, spec.model.prefix, created_s, tuple(others), weight=spec.model.weight)
    sleeps = not spec.replicas.min and not spec.replicas.is_exact
    routed = (spec.https, spec.forward_token, _traffic(spec))
    return ServiceInput(run, spec.auth, present, model, *routed, sleeps=sleeps)


def _traffic(spec: ServiceSpec) -> Traffic:
    balancing, affinity = spec.load_balancing, None
    if balancing.affinity != "none":
        name = balancing.name or (DEFAULT_COOKIE if balancing.affinity == "cookie" else "")
        length = (balancing.prefix_bytes or DEFAULT_PREFIX_BYTES) if balancing.affinity == "prefix" else 0
        affinity = Affinity(balancing.affinity, name, length)
    rules = tuple(RateRule(it.prefix, it.rps, it.burst, it.key, it.header or "") for it in spec.rate_limits)
    most = None if spec.max_body_size_mib is None else spec.max_body_size_mib << 20
    return Traffic(affinity, rules, spec.timeouts.response_s, spec.timeouts.idle_s, spec.protocol == "h2c", most)
