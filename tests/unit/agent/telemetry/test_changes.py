"""What is told again, and that whoever merges what was told is never further off than one step."""

from dataclasses import replace

from homeport_agent.gpus.model import GpuProcess, GpuReading
from homeport_agent.telemetry.changes import HOST_STEPS, STEPS, News, Told, news
from homeport_agent.telemetry.model import HostReading, ReplicaReading
from hypothesis import given
from hypothesis import strategies as st

GPU = GpuReading("GPU-1", memory_used_mib=1000, temperature_c=40, ecc_volatile_corrected=0)
NOW = Told(HostReading(cpu=0.5, load=(1.0, 1.0, 1.0)), (GPU,), (ReplicaReading("r1", 5, 9),))


def test_the_first_time_everything_is_told() -> None:
    first, told = news(None, NOW)
    assert (first, told) == (News(True, NOW.host, NOW.gpus, NOW.replicas), NOW)


def test_nothing_new_is_nothing_to_tell() -> None:
    assert news(NOW, NOW)[0].is_empty


def test_a_number_that_trembles_is_not_told_and_creeping_adds_up() -> None:
    told = NOW
    for used_mib in (1005, 1010, 1015):
        said, told = news(told, replace(NOW, gpus=(replace(GPU, memory_used_mib=used_mib),)))
        assert said.is_empty
    said, told = news(told, replace(NOW, gpus=(replace(GPU, memory_used_mib=1016),)))
    assert said.gpus[0].memory_used_mib == 1016


def test_counters_states_and_holders_are_told_at_once() -> None:
    process = GpuProcess(1, "a", 10)
    for changed in (
        {"ecc_volatile_corrected": 1},
        {"throttled": ("hw-slowdown",)},
        {"processes": (process,)},
        {"power_w": 1.0},  # it was not known
        {"temperature_c": None},
    ):
        said, _ = news(NOW, replace(NOW, gpus=(replace(GPU, **changed),)))
        assert len(said.gpus) == 1, changed
    held = replace(NOW, gpus=(replace(GPU, processes=(process,)),))
    moved = replace(NOW, gpus=(replace(GPU, processes=(replace(process, memory_mib=11),)),))
    assert news(held, moved)[0].is_empty
    assert not news(held, replace(NOW, gpus=(replace(GPU, processes=(replace(process, replica_id="r"),)),)))[0].is_empty


def test_what_is_gone_makes_the_next_telling_full() -> None:
    assert news(NOW, replace(NOW, gpus=()))[0].full
    assert news(NOW, replace(NOW, replicas=()))[0].full
    assert not news(NOW, replace(NOW, gpus=(GPU, GpuReading("GPU-2"))))[0].full


LOOKS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["GPU-1", "GPU-2"]), st.integers(0, 100)), st.none() | st.integers(0, 1000)
    ),
    max_size=8,
)


@given(LOOKS)
def test_who_merges_what_was_told_is_never_off_by_a_step(looks: list[tuple[dict[str, int], int | None]]) -> None:
    told: Told | None = None
    gpus: dict[str, GpuReading] = {}
    host: HostReading | None = None
    for memory, host_mib in looks:
        now = Told(
            HostReading(memory_used_mib=host_mib) if host_mib is not None else None,
            tuple(GpuReading(uuid, memory_used_mib=mib) for uuid, mib in sorted(memory.items())),
        )
        said, told = news(told, now)
        if said.full:
            gpus = {}
        gpus |= {it.uuid: it for it in said.gpus}
        host = said.host or host
        assert sorted(gpus) == sorted(memory)
        for uuid, mib in memory.items():
            assert abs((gpus[uuid].memory_used_mib or 0) - mib) < STEPS["memory_used_mib"]
        if host_mib is not None:
            assert host is not None
            assert abs(host.memory_used_mib - host_mib) < HOST_STEPS["memory_used_mib"]
