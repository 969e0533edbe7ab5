"""Whatever GPUs, their driver and their owner do: what health promises holds."""

from dataclasses import dataclass

from fakes.health import Watch, uuid
from homeport_agent.gpus.model import Severity
from homeport_agent.health import flaps, judge, memory
from homeport_agent.health.model import Flaps, Verdict
from homeport_agent.health.xids import BUILT_IN
from hypothesis import given, settings
from hypothesis import strategies as st

FAILING = sorted(code for code, it in BUILT_IN.items() if it.severity is Severity.FAILING)
PROGRAMS = sorted(code for code, it in BUILT_IN.items() if it.severity is None)
CODES = st.one_of(st.sampled_from(sorted(BUILT_IN)), st.integers(200, 210))
GPUS = st.integers(0, 1)


@dataclass(frozen=True)
class Step:
    what: str
    gpu: int = 0
    value: int = 0


SEEN = st.one_of(
    st.builds(Step, st.just("look"), GPUS, st.integers(1, 40)),
    st.builds(Step, st.just("xid"), GPUS, CODES),
    st.builds(
        Step, st.sampled_from(["lost", "hung", "error", "well", "gone", "back", "hot", "cold", "ecc", "pending"]), GPUS
    ),
    st.builds(Step, st.sampled_from(["hung-driver", "driver"])),
    st.builds(Step, st.just("failed check"), GPUS),
    st.builds(Step, st.just("restart")),
    st.builds(Step, st.just("clock"), GPUS, st.integers(-100_000, 100_000)),
)


def follow(watch: Watch, step: Step) -> None:
    name = uuid(step.gpu)
    match step.what:
        case "look":
            watch.look(step.value)
        case "xid":
            watch.xid(step.value, step.gpu)
        case "lost" | "hung" | "error":
            watch.has_trouble(step.what, step.gpu)
        case "well":
            watch.troubles.clear()
        case "gone":
            watch.gpus.pop(name, None)
        case "back":
            watch.gpus.setdefault(name, Watch().gpus[name])
        case "hot" | "cold":
            watch.reads(step.gpu, throttled=("hw-thermal-slowdown",) if step.what == "hot" else ())
        case "ecc":
            watch.reads(step.gpu, ecc_volatile_uncorrected=(watch.readings[name].ecc_volatile_uncorrected or 0) + 1)
        case "pending":
            watch.reads(step.gpu, remapped_rows_pending=not watch.readings[name].remapped_rows_pending)
        case "hung-driver" | "driver":
            watch.driver = ("hung", "NVML hangs") if step.what == "hung-driver" else ("", "")
        case "failed check":
            watch.checked(Verdict.FAILED, step.gpu, "no")
        case "restart":
            watch.memory = memory.decode(memory.encode(watch.memory))
        case "clock":
            watch.now_s = max(1.0, watch.now_s + step.value)


def failing(watch: Watch, gpu: int) -> set[str]:
    return {it.code for it in watch.findings if it.gpu_uuid == uuid(gpu) and it.severity is Severity.FAILING}


@settings(max_examples=150, deadline=None)
@given(st.lists(SEEN, max_size=15), st.sampled_from(FAILING), GPUS, st.lists(SEEN, max_size=25))
def test_a_failing_xid_fails_its_gpu_until_it_is_proved_or_cleared(
    before: list[Step], code: int, gpu: int, after: list[Step]
) -> None:
    watch = Watch()
    for step in before:
        follow(watch, step)
    watch.xid(code, gpu)
    assert f"xid-{code}" in failing(watch, gpu)
    for step in after:
        follow(watch, step)
        assert f"xid-{code}" in failing(watch, gpu)
    watch.memory = judge.cleared(watch.memory, (uuid(gpu),))
    assert not failing(watch, gpu)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PROGRAMS), st.integers(0, 30)), max_size=60))
def test_what_programs_do_never_fails_a_gpu(faults: list[tuple[int, int]]) -> None:
    watch = Watch()
    watch.look()
    for code, pause_s in faults:
        watch.xid(code)
        assert not failing(watch, 0)
        watch.look(pause_s)
        assert not failing(watch, 0)


@settings(max_examples=100, deadline=None)
@given(st.lists(SEEN, max_size=30))
def test_equal_input_gives_equal_findings_worst_first_and_one_per_code(steps: list[Step]) -> None:
    one, two = Watch(), Watch()
    for step in steps:
        follow(one, step)
        follow(two, step)
    assert one.findings == two.findings
    assert one.memory == two.memory
    assert [it.severity for it in one.findings] == sorted(
        (it.severity for it in one.findings), key=lambda it: it != "failing"
    )
    keys = [(it.gpu_uuid, it.code) for it in one.findings]
    assert len(keys) == len(set(keys))
    assert all(it.reason and it.action and "\n" not in it.reason for it in one.findings)


@settings(max_examples=100, deadline=None)
@given(st.lists(SEEN, max_size=30))
def test_a_gpu_is_never_forgotten_unless_an_admin_says_so(steps: list[Step]) -> None:
    watch = Watch()
    watch.look()
    for step in steps:
        follow(watch, step)
    watch.look()
    seen = {it.uuid for it in watch.sample().gpus}
    assert seen | {it.uuid for it in judge.known_gpus(watch.memory)} == {uuid(0), uuid(1)}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, int(flaps.AGAIN_S)), min_size=2, max_size=12))
def test_flapping_never_shortens_the_wait(well_s: list[int]) -> None:
    it, now_s, waits = Flaps(), 0.0, []
    for pause_s in well_s:
        it = flaps.moved(it, has_cause=True, now_s=now_s)
        it = flaps.moved(it, has_cause=False, now_s=now_s)
        waits.append((it.watched_until_s or now_s) - now_s)
        now_s += waits[-1]
        it = flaps.moved(it, has_cause=False, now_s=now_s)
        assert not it.is_failing
        now_s += pause_s
    assert waits == sorted(waits)
    assert waits[:3] == [0, 60, 120][: len(waits)]
    assert max(waits) <= flaps.LONGEST_HOLD_S


@settings(max_examples=100, deadline=None)
@given(st.lists(SEEN, max_size=30))
def test_what_was_found_outlives_a_restart(steps: list[Step]) -> None:
    watch = Watch()
    for step in steps:
        follow(watch, step)
    again = memory.decode(memory.encode(watch.memory))
    assert judge.findings(again) == watch.findings
