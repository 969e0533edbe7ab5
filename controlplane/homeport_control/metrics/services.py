"""Services and their replicas, and what gateways answered for them, as samples. PURE."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from homeport_control.domain.metrics import EnvoyFigures
from homeport_control.domain.replicas import Replica
from homeport_control.domain.services import Run
from homeport_control.metrics.families import Family, Gauges, counter, gauge, histogram

RUN = ("run",)


class Total(Protocol):
    """What one gateway answered for one service since it is counted."""

    by_class: list[int]
    within_ms: dict[float, int]
    sum_ms: float


def services(
    runs: Iterable[tuple[Run, int]],  # each with how many replicas are wanted
    replicas: Iterable[Replica],
    load_of: Callable[[str], tuple[int, int | None]],  # held; in flight, None: nobody says
    reached: Callable[[str], int | None],
) -> list[Family]:
    """`load_of` by the run's name; `reached` by a replica's id: bytes of GPU memory that it holds now, None: not measured."""
    of_runs = Gauges(
        "homeport_service",
        RUN,
        {
            "replicas_wanted": "Replicas that it is to have now, by its load or its file.",
            "replicas_in_rotation": "Replicas that every gateway of it sends requests to.",
            "restarts": "Restarts of its replicas that are there now.",
            "requests_held": "Requests that wait for a replica, of a service that slept.",
            "requests_in_flight": "Requests that its replicas have not answered yet.",
            "revision": "The revision that is wanted.",
        },
    )
    phases, states, memory = [], [], []
    by_run: dict[str, list[Replica]] = {}
    for replica in replicas:
        by_run.setdefault(replica.run_id, []).append(replica)
    for run, wanted in runs:
        mine = by_run.get(run.id, [])
        held, in_flight = load_of(run.name)
        of_runs.add(
            (run.name,),
            replicas_wanted=wanted,
            replicas_in_rotation=sum(it.in_rotation for it in mine),
            restarts=sum(it.restarts for it in mine),
            requests_held=held,
            requests_in_flight=in_flight,
            revision=(run.current or run.newest).number,
        )
        phases += [((run.name, phase), float(n)) for phase, n in sorted(Counter(str(it.phase) for it in mine).items())]
        states.append(((run.name, str(run.state)), 1.0))
        memory += [
            ((run.name, it.id, str(it.index)), float(held_bytes))
            for it in mine
            if (held_bytes := reached(it.id)) is not None
        ]
    return [
        *of_runs.families,
        gauge("homeport_service_state", "1 for the state that it is in.", (*RUN, "state"), states),
        gauge("homeport_service_replicas", "Its replicas by what they do.", (*RUN, "phase"), phases),
        gauge("homeport_replica_gpu_memory_bytes", "GPU memory that it holds.", (*RUN, "replica", "index"), memory),
    ]


def traffic(totals: Mapping[tuple[str, str], Total]) -> list[Family]:
    """`totals` by gateway and service."""
    known = sorted(totals.items())
    answers = [
        ((gateway, service, f"{at + 1}xx"), float(count))
        for (gateway, service), total in known
        for at, count in enumerate(total.by_class)
        if count
    ]
    times = [
        ((gateway, service), {bound / 1000: n for bound, n in total.within_ms.items()}, total.sum_ms / 1000)
        for (gateway, service), total in known
        if total.within_ms
    ]
    return [
        counter(
            "homeport_service_answers",
            "Answers of its replicas by class of status code.",
            ("gateway", "run", "code_class"),
            answers,
        ),
        histogram(
            "homeport_service_answer_seconds",
            "Until a replica's whole answer; the sum is made from the buckets' middles.",
            ("gateway", "run"),
            times,
        ),
    ]


def gateways(names: Iterable[str], figures: Mapping[str, EnvoyFigures]) -> list[Family]:
    """All that there are; one without figures does not say anything now."""
    of_gateways = Gauges(
        "homeport_gateway",
        ("gateway",),
        {
            "up": "1: its Envoy reports to this server.",
            "connections": "Connections of callers that are open.",
            "requests_in_flight": "Requests of callers that are not answered yet.",
            "memory_bytes": "Memory that its Envoy has allocated.",
            "uptime_seconds": "How long its Envoy runs.",
            "certificate_days": "Days until the first of its certificates expires.",
        },
    )
    for name in names:
        said = figures.get(name)
        of_gateways.add((name,), up=said is not None)
        if said is not None:
            of_gateways.add(
                (name,),
                connections=said.connections,
                requests_in_flight=said.in_flight,
                memory_bytes=said.memory_bytes,
                uptime_seconds=said.uptime_s,
                certificate_days=said.certificate_days,
            )
    return list(of_gateways.families)
