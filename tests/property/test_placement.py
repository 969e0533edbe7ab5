"""The laws of decide/placement over random fleets: no GPU twice, no host overfull, equal input gives equal plans."""

from collections import Counter
from dataclasses import replace

from fakes.hosts import NOW, ask, claim, gpu, host
from homeport_control.decide.fit import Ask
from homeport_control.decide.placement import Placed, Unplaced, place
from homeport_control.domain.hosts import Connection, Host, Reservation
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = [("NVIDIA RTX A5000", 24564), ("NVIDIA A100-SXM4-80GB", 81920), ("Tesla T4", 15360)]


@st.composite
def fleets(draw: st.DrawFn) -> list[Host]:
    found = []
    for number in range(draw(st.integers(0, 4))):
        name, memory_mib = draw(st.sampled_from(KINDS))
        gpus = [
            gpu(f"{number}-{index}", name, memory_mib, draw(st.sampled_from([0, 0, 0, 12_000])))
            for index in range(draw(st.integers(0, 4)))
        ]
        made = host(f"h{number}", *gpus, cpus=draw(st.integers(1, 8)), memory_mib=draw(st.integers(1, 8)) * 1024)
        state = draw(st.sampled_from(["well", "well", "well", "cordoned", "away", "no docker"]))
        if state == "away":
            made = replace(made, connection=Connection.UNREACHABLE)
        elif state == "no docker":
            made = replace(made, facts=replace(made.facts, docker_unavailable="no socket"))
        found.append(replace(made, cordoned=state == "cordoned"))
    return found


@st.composite
def waiting(draw: st.DrawFn) -> list[Ask]:
    resources = st.fixed_dictionaries(
        {},
        optional={
            "cpu": st.sampled_from(["1..", "2..", "4.."]),
            "memory": st.sampled_from(["1GB..", "3GB.."]),
            "gpu": st.sampled_from(
                [1, 2, "24GB", "A100:1..2", "16GB..:2", {"total_memory": "40GB..", "count": "1..4"}]
            ),
        },
    )
    count = draw(st.integers(1, 8))
    return [ask(f"r{number}", draw(st.sampled_from(["x", "y"])), **draw(resources)) for number in range(count)]


@given(fleets(), waiting(), st.data())
@settings(max_examples=300, deadline=None)
def test_no_plan_gives_more_than_there_is(hosts: list[Host], asks: list[Ask], data: st.DataObject) -> None:
    held: list[Reservation] = [
        claim(machine.name, machine.facts.gpus[0].uuid, cpus=1.0, memory_mib=512)
        for machine in hosts
        if machine.facts.gpus and data.draw(st.booleans())
    ]
    answers = place(hosts, held, asks, NOW)
    assert [answer.replica_id for answer in answers] == [asked.replica_id for asked in asks]
    assert answers == place(hosts[::-1], held[::-1], asks, NOW), "equal input, equal plan"

    by_id = {machine.id: machine for machine in hosts}
    placed = [answer for answer in answers if isinstance(answer, Placed)]
    everything = held + [answer.reservation for answer in placed]
    gpus = Counter(uuid for reservation in everything for uuid in reservation.gpu_uuids)
    assert all(count == 1 for count in gpus.values()), "an exclusive GPU has one holder"
    for answer in placed:
        machine = by_id[answer.host_id]
        assert machine.connection is Connection.CONNECTED
        assert not machine.cordoned
        assert not machine.facts.docker_unavailable
        mine = [reservation for reservation in everything if reservation.host_id == machine.id]
        if answer.reservation.cpus:
            assert sum(reservation.cpus for reservation in mine) <= machine.facts.cpus
        if answer.reservation.memory_mib:
            assert sum(reservation.memory_mib for reservation in mine) <= machine.facts.memory_mib
        own = {found.uuid: found for found in machine.facts.gpus}
        assert all(uuid in own for uuid in answer.gpu_uuids)


@given(fleets(), waiting())
@settings(max_examples=200, deadline=None)
def test_whoever_is_not_placed_has_one_reason_from_each_host(hosts: list[Host], asks: list[Ask]) -> None:
    for asked, answer in zip(asks, place(hosts, (), asks, NOW), strict=True):
        if isinstance(answer, Unplaced):
            assert [refusal.host for refusal in answer.refusals] == sorted(machine.name for machine in hosts)
            assert all(refusal.reason for refusal in answer.refusals)
        elif asked.resources.gpu is not None:
            count = asked.resources.gpu.count
            assert (count.min or 1) <= len(answer.gpu_uuids) <= (count.max or 99)
        else:
            assert answer.gpu_uuids == ()


@given(fleets(), waiting(), st.data())
@settings(max_examples=200, deadline=None)
def test_replicas_that_share_a_named_volume_are_never_split(
    hosts: list[Host], asks: list[Ask], data: st.DataObject
) -> None:
    names = st.lists(st.sampled_from(["one", "two"]), max_size=2, unique=True)
    asks = [replace(asked, volumes=tuple(data.draw(names))) for asked in asks]
    held = data.draw(st.dictionaries(st.just("one"), st.sampled_from([*(it.id for it in hosts), "gone"]), max_size=1))
    homes = dict(held)
    for asked, answer in zip(asks, place(hosts, (), asks, NOW, held), strict=True):
        if isinstance(answer, Unplaced):
            continue
        for name in asked.volumes:
            assert homes.setdefault(name, answer.host_id) == answer.host_id
        assert answer.volumes == asked.volumes
