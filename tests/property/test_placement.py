"""The laws of decide/placement over random fleets, held against an oracle of its own that is slow and simple.

No GPU is given twice or beyond its memory, nothing goes to who is cordoned, lost or failing; what is placed is what was asked;
what is not placed fits nowhere; equal input gives an equal plan, in whatever order it comes; a plan shows what placement does.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from fakes.hosts import NOW, ask, claim, finding, gpu, host, part, process
from homeport_control.decide.ask import Ask, Filters
from homeport_control.decide.gpus import has_capability, has_memory, is_named
from homeport_control.decide.offers import offers
from homeport_control.decide.placement import Placed, Unplaced, place
from homeport_control.domain.hosts import Connection, Finding, Gpu, GpuNear, GpuProcess, Health, Host, Reservation
from homeport_protos.gpu_memory import foreign
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = [("NVIDIA RTX A5000", 24564, "8.6"), ("NVIDIA A100-SXM4-80GB", 81920, "8.0"), ("Tesla T4", 15360, "7.5")]
PATHS = ["NV4", "PIX", "SYS"]
STATES = ["well", "well", "well", "cordoned", "away", "no docker", "failing", "warned"]
SEVERITIES = [Health.FAILING, Health.WARNING]
WAYS = [
    1, 2, "24GB", "A100:1..2", "16GB..:2", "T4", "80GB", "3..4", {"total_memory": "40GB..", "count": "1..4"},
    {"total_memory": "100GB..110GB", "count": 2}, {"compute_capability": "8.0.."}, "10GB",
    {"memory": "4GB", "shared": True}, {"memory": "10GB", "shared": True}, {"memory": "11GB", "shared": True, "name": "A5000"},
    {"memory": "24GB", "shared": True},
]  # fmt: skip
FILTERS = [
    Filters(),
    Filters(),
    Filters(),
    Filters(fleets=("prod",)),
    Filters(labels=("rack=a",)),
    Filters(hosts=("h0",)),
]


@st.composite
def gpus(draw: st.DrawFn, number: int) -> list[Gpu]:
    found = []
    count = draw(st.integers(0, 4))
    uuids = [f"{number}-{index}" for index in range(count)]
    kind = draw(st.sampled_from(KINDS))
    for uuid in uuids:
        name, memory_mib, cc = draw(st.sampled_from([kind, kind, *KINDS]))
        held_mib = draw(st.sampled_from([0, 0, 0, 700, 12_000]))
        told = draw(st.sampled_from(["", "", "stranger", "untold", "ours", "ended"]))
        processes: tuple[GpuProcess, ...] = ()
        if held_mib and told:
            ours = {"ours": f"c-{uuid}", "ended": "gone"}.get(told, "")
            processes = (process(None if told == "untold" else held_mib - 100, ours),)
        near = tuple(GpuNear(other, draw(st.sampled_from(PATHS))) for other in uuids if other != uuid)
        mode = draw(st.sampled_from(["", "", "", "prohibited", "exclusive process"]))
        made = gpu(uuid, name, memory_mib, held_mib, cc, near=near, processes=processes, compute_mode=mode)
        if draw(st.integers(0, 9)) == 0:
            instances = [gpu(f"{uuid}-m{n}", f"{name} MIG 1g.10gb", 9728, 0, cc, mig_parent=uuid) for n in range(2)]
            found += [replace(made, mig_enabled=True), *instances]
        else:
            found.append(made)
    return found


@st.composite
def fleets(draw: st.DrawFn) -> list[Host]:
    found = []
    for number in range(draw(st.integers(0, 4))):
        own = draw(gpus(number))
        state = draw(st.sampled_from(STATES))
        sick: list[Finding] = [
            finding(it.uuid, draw(st.sampled_from(SEVERITIES))) for it in own if draw(st.integers(0, 7)) == 0
        ]
        if state in ("failing", "warned"):
            sick.append(finding("", Health.FAILING if state == "failing" else Health.WARNING))
        facts = {
            "docker_unavailable": "no socket" if state == "no docker" else "",
            "images": draw(st.sampled_from([(), ("x:latest",)])),
        }
        made = host(
            f"h{number}",
            *own,
            cpus=draw(st.integers(1, 8)),
            memory_mib=draw(st.integers(1, 8)) * 1024,
            facts=facts,
            findings=tuple(sick),
            cordoned=state == "cordoned",
            cordoned_gpus=tuple(it.uuid for it in own if draw(st.integers(0, 11)) == 0),
            fleet=draw(st.sampled_from(["lab", "prod"])),
            labels=draw(st.sampled_from([(), (("rack", "a"),)])),
            price=draw(st.sampled_from([0.0, 0.0, 1.5])),
        )
        found.append(replace(made, connection=Connection.UNREACHABLE) if state == "away" else made)
    return found


@st.composite
def waiting(draw: st.DrawFn) -> list[Ask]:
    resources = st.fixed_dictionaries(
        {},
        optional={
            "cpu": st.sampled_from(["1..", "2..", "4.."]),
            "memory": st.sampled_from(["1GB..", "3GB.."]),
            "disk": st.sampled_from(["10GB..", "60GB.."]),
            "gpu": st.sampled_from(WAYS),
        },
    )
    made = []
    for number in range(draw(st.integers(1, 8))):
        filters, run = draw(st.sampled_from(FILTERS)), draw(st.sampled_from(["x", "y", "z"]))
        asked = ask(f"r{number}", run, filters, **draw(resources))
        made.append(replace(asked, image=draw(st.sampled_from(["", "x", "y"]))))
    return made


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[Host], list[Reservation], list[Ask]]:
    """A fleet, some claims that are possible there, and asks."""
    hosts = draw(fleets())
    held = []
    for machine in hosts:
        for it in machine.facts.gpus:
            way = draw(st.sampled_from(["none", "none", "whole", "part"])) if not it.mig_enabled else "none"
            one = f"c-{it.uuid}"
            if way == "whole":
                held.append(replace(claim(machine.name, it.uuid, run="x"), replica_id=one))
            elif way == "part":
                held.append(part(one, machine.name, it.uuid, draw(st.sampled_from([1024, 4096, 9000])), "y"))
    return hosts, held, draw(waiting())


# The oracle.


def holders_of(it: Gpu, held: Sequence[Reservation]) -> list[Reservation]:
    return [claimed for claimed in held if it.uuid in claimed.gpu_uuids or (it.mig_parent or "-") in claimed.gpu_uuids]


def strangers_mib(it: Gpu, held: Sequence[Reservation]) -> int | None:
    """None: nobody but us. Of a GPU that somebody of ours has for himself nobody asks."""
    mine = {claimed.replica_id: claimed.gpu_memory_mib for claimed in holders_of(it, held)}
    seen = {each.replica_id for each in it.processes}
    used_mib = it.memory_used_mib - sum(mib for replica_id, mib in mine.items() if replica_id not in seen)
    owned = [each if each.replica_id in mine else replace(each, replica_id="") for each in it.processes]
    found = foreign(max(0, used_mib), it.memory_total_mib, owned)
    return None if found is None else found.mib


def may_work(machine: Host, it: Gpu) -> bool:
    bars = {it.uuid, it.mig_parent or it.uuid}
    sick = {each.gpu_uuid for each in machine.findings if each.severity is Health.FAILING}
    return not (bars & sick or bars & set(machine.cordoned_gpus) or it.mig_enabled or it.compute_mode == "prohibited")


def is_one_of(it: Gpu, asked: Ask) -> bool:
    spec = asked.resources.gpu
    assert spec is not None
    named = not spec.names or any(is_named(it, name) for name in spec.names)
    large = spec.shared or has_memory(it.memory_total_mib, spec.memory_mib)
    return named and large and has_capability(it, spec.compute_capability)


def gpus_fit(machine: Host, asked: Ask, held: Sequence[Reservation], chosen: Sequence[Gpu]) -> bool:
    """Whether exactly these may be given for it."""
    spec = asked.resources.gpu
    if spec is None:
        return not chosen
    if not all(may_work(machine, it) and is_one_of(it, asked) for it in chosen):
        return False
    if not spec.count.min <= len(chosen) <= (spec.count.max or 99):  # type: ignore[operator]
        return False
    if not spec.shared:
        alone = all(not holders_of(it, held) and strangers_mib(it, held) is None for it in chosen)
        whole = len(chosen) == 1 or not any(it.mig_parent for it in chosen)
        return alone and whole and has_memory(sum(it.memory_total_mib for it in chosen), spec.total_memory_mib)
    (it,) = chosen
    mine = holders_of(it, held)
    if any(claimed.exclusive for claimed in mine) or it.compute_mode == "exclusive process":
        return False
    used = {
        claimed.replica_id: sum(
            claimed.gpu_memory_mib if each.memory_mib is None else each.memory_mib
            for each in it.processes
            if each.replica_id == claimed.replica_id
        )
        for claimed in mine
    }
    ours_mib = sum(max(claimed.gpu_memory_mib, used[claimed.replica_id]) for claimed in mine)
    seen_mib = sum(used[claimed.replica_id] or claimed.gpu_memory_mib for claimed in mine)
    rest_mib = max(0, it.memory_used_mib - seen_mib, strangers_mib(it, held) or 0)
    return asked.gpu_memory_mib <= it.memory_total_mib - ours_mib - rest_mib


def host_fits(machine: Host, asked: Ask, held: Sequence[Reservation]) -> bool:
    mine = [claimed for claimed in held if claimed.host_id == machine.id]
    filters = asked.filters
    return (
        machine.connection is Connection.CONNECTED
        and not machine.cordoned
        and not machine.facts.docker_unavailable
        and not any(not it.gpu_uuid and it.severity is Health.FAILING for it in machine.findings)
        and (not filters.fleets or machine.fleet in filters.fleets)
        and (not filters.hosts or machine.name in filters.hosts)
        and (not filters.labels or machine.labels == (("rack", "a"),))
        and (not asked.cpus or sum(it.cpus for it in mine) + asked.cpus <= machine.facts.cpus)
        and (not asked.memory_mib or sum(it.memory_mib for it in mine) + asked.memory_mib <= machine.facts.memory_mib)
        and (not asked.disk_mib or asked.disk_mib <= machine.facts.disk_free_mib)
    )


def fits_somehow(machine: Host, asked: Ask, held: Sequence[Reservation]) -> bool:
    own = machine.facts.gpus
    sets = (some for count in range(min(4, len(own)) + 1) for some in combinations(own, count))
    return host_fits(machine, asked, held) and any(gpus_fit(machine, asked, held, some) for some in sets)


@given(plans())
@settings(max_examples=500, deadline=None)
def test_what_is_placed_is_what_was_asked_and_what_is_not_fits_nowhere(
    plan: tuple[list[Host], list[Reservation], list[Ask]],
) -> None:
    hosts, held, asks = plan
    by_id = {machine.id: machine for machine in hosts}
    answers = place(hosts, held, asks, NOW)
    assert [answer.replica_id for answer in answers] == [asked.replica_id for asked in asks]
    for asked, answer in zip(asks, answers, strict=True):
        if isinstance(answer, Unplaced):
            assert not any(fits_somehow(machine, asked, held) for machine in hosts)
            assert answer.summary == "there is no host" if not hosts else answer.summary.startswith("0 of ")
            continue
        machine = by_id[answer.host_id]
        chosen = [it for it in machine.facts.gpus if it.uuid in answer.gpu_uuids]
        assert len(chosen) == len(answer.gpu_uuids)
        assert host_fits(machine, asked, held)
        assert gpus_fit(machine, asked, held, chosen)
        held = [*held, answer.reservation]
    for machine in hosts:
        for it in machine.facts.gpus:
            mine = [claimed for claimed in held if it.uuid in claimed.gpu_uuids]
            assert len(mine) <= 1 or not any(claimed.exclusive for claimed in mine), "one holder"
            assert sum(claimed.gpu_memory_mib for claimed in mine) <= it.memory_total_mib


def told(answers: Sequence[Placed | Unplaced]) -> list[object]:
    return [it.summary if isinstance(it, Unplaced) else (it.reservation, it.score) for it in answers]


@given(plans(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_equal_input_gives_an_equal_plan_in_whatever_order_it_comes(
    plan: tuple[list[Host], list[Reservation], list[Ask]], chance: object
) -> None:
    hosts, held, asks = plan
    turned = [replace(it, facts=replace(it.facts, gpus=it.facts.gpus[::-1])) for it in hosts]
    for some in (turned, held_again := list(held)):
        chance.shuffle(some)  # type: ignore[attr-defined]
    assert told(place(hosts, held, asks, NOW)) == told(place(turned, held_again, asks, NOW))


@given(plans())
@settings(max_examples=200, deadline=None)
def test_a_board_that_is_kept_decides_like_a_fresh_one(plan: tuple[list[Host], list[Reservation], list[Ask]]) -> None:
    hosts, held, asks = plan
    asks = [replace(asked, replica_id=f"{asked.replica_id}-{again}") for again in range(3) for asked in asks]
    at_once, one_by_one = place(hosts, held, asks, NOW), []
    for asked in asks:
        (answer,) = place(hosts, held, [asked], NOW)
        one_by_one.append(answer)
        held = [*held, answer.reservation] if isinstance(answer, Placed) else held
    assert told(at_once) == told(one_by_one)


@given(plans())
@settings(max_examples=200, deadline=None)
def test_what_a_plan_shows_first_as_idle_is_what_placement_chooses(
    plan: tuple[list[Host], list[Reservation], list[Ask]],
) -> None:
    hosts, held, asks = plan
    for asked in asks:
        (answer,) = place(hosts, held, [asked], NOW)
        shown, refusals = offers(hosts, held, asked, NOW)
        idle = [offer.host for offer in shown if offer.availability == "idle"]
        assert sorted([*idle, *(refusal.host for refusal in refusals)]) == sorted(machine.name for machine in hosts)
        assert all(refusal.reason for refusal in refusals)
        assert len({offer.host for offer in shown}) == len(shown)
        if isinstance(answer, Placed):
            assert f"id-{idle[0]}" == answer.host_id
        else:
            assert not idle


@given(plans(), st.data())
@settings(max_examples=200, deadline=None)
def test_replicas_that_share_a_named_volume_are_never_split(
    plan: tuple[list[Host], list[Reservation], list[Ask]], data: st.DataObject
) -> None:
    hosts, held, asks = plan
    names = st.lists(st.sampled_from(["one", "two"]), max_size=2, unique=True)
    asks = [replace(asked, volumes=tuple(data.draw(names))) for asked in asks]
    homes = data.draw(st.dictionaries(st.just("one"), st.sampled_from([*(it.id for it in hosts), "gone"]), max_size=1))
    for asked, answer in zip(asks, place(hosts, held, asks, NOW, dict(homes)), strict=True):
        if isinstance(answer, Unplaced):
            continue
        for name in asked.volumes:
            assert homes.setdefault(name, answer.host_id) == answer.host_id
        assert answer.volumes == asked.volumes
