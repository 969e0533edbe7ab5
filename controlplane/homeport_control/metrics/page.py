"""The page that Prometheus scrapes: one look at the database, the newest readings, and what this process counts.

Covers gathering. What each sample means: fleet, services, process.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from homeport_control.decide.scaling import count_of
from homeport_control.domain.metrics import EnvoyFigures
from homeport_control.metrics import fleet, process, services
from homeport_control.metrics.families import Family, gauge, text
from homeport_control.spec.service import spec_from_json
from homeport_control.store import gateways, hosts, replicas, reservations, runs
from homeport_control.store.connect import Database

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Sources:
    """What other rooms know; the app joins them."""

    reading_of: Callable[[str], Any]  # a host's newest reading by its id; None: it has told nothing
    load_of: Callable[[str], tuple[int, int | None]]
    totals: Callable[[], Mapping[tuple[str, str], services.Total]]
    envoys: Callable[[], Mapping[str, EnvoyFigures]]
    loops: Iterable[process.TurningLoop]
    calls: CollectorRegistry
    lag_s: Callable[[float], float]  # of the event loop, at most, in that share of the last minute
    version: str


class Page:
    def __init__(self, database: Database, sources: Sources) -> None:
        self._database = database
        self._sources = sources

    async def text(self) -> bytes:
        """In Prometheus' text format. Raises NotReady when the database is away."""
        return text(await self._gather()) + generate_latest(self._sources.calls)

    async def _gather(self) -> list[Family]:
        sources = self._sources
        async with self._database.read() as connection:
            known = await hosts.list_all(connection)
            claims = await reservations.list_all(connection)
            present = await replicas.list_active(connection)
            active = await runs.list_active(connection)
            there = await gateways.list_all(connection)
        wanted = [(run, _wanted(run.scaled_to, (run.current or run.newest).spec_json)) for run in active]
        held_by = _held_memory(sources.reading_of, {it.id for it in known})
        names = {run.name for run in active}
        totals = {key: it for key, it in sources.totals().items() if key[1] in names}
        return [
            gauge(
                "homeport_server_info",
                "1; its labels say which server answers.",
                ("version",),
                [((sources.version,), 1)],
            ),
            gauge("homeport_server_leads", "1: it leads, and has all other numbers too.", (), [((), 1)]),
            gauge(
                "homeport_event_loop_lag_seconds",
                "How late the server's event loop was at most, in that share of the last minute.",
                ("share",),
                [((str(share),), sources.lag_s(share)) for share in (0.5, 0.99, 1.0)],
            ),
            *fleet.families(known, claims, sources.reading_of),
            *services.services(wanted, present, sources.load_of, held_by.get),
            *services.traffic(totals),
            *services.gateways((it.name for it in there), sources.envoys()),
            *process.loops(sources.loops),
        ]


def _wanted(scaled_to: int | None, spec_json: str) -> int:
    return count_of(spec_from_json(spec_json).replicas, scaled_to)


def _held_memory(reading_of: Callable[[str], Any], host_ids: Iterable[str]) -> dict[str, int]:
    """By replica: bytes of GPU memory, as its host measured."""
    found = {}
    for host_id in host_ids:
        if (reading := reading_of(host_id)) is not None:
            for replica in reading.replicas.values():
                found[replica.replica_id] = replica.gpu_memory_mib * fleet.MIB
    return found
