"""Stories of GPUs that get sick and well again."""

from dataclasses import replace

import pytest
from fakes.health import START_S, Watch, uuid
from homeport_agent.gpus.model import Gpu, GpuTrouble, XidEvent
from homeport_agent.health import judge
from homeport_agent.health.model import HostLook, Verdict
from homeport_agent.health.xids import BUILT_IN


def test_gpus_of_which_nothing_bad_is_seen_have_no_finding() -> None:
    watch = Watch()
    watch.look(600)
    assert watch.codes == []
    assert judge.known_gpus(watch.memory) == ()
    assert not watch.due


def test_a_failing_xid_is_found_at_once_and_says_what_to_do() -> None:
    watch = Watch()
    watch.look(3)
    watch.xid(79, detail="pid=77, name=python3, GPU has fallen off the bus")
    (found,) = watch.findings
    assert (found.code, found.gpu_uuid, found.since_s) == ("xid-79", uuid(0), START_S + 3)
    assert found.reason == ("XID 79: GPU has fallen off the bus (pid=77, name=python3, GPU has fallen off the bus)")
    assert "reboot the host" in found.action


def test_a_failing_xid_stays_until_a_check_proves_the_gpu() -> None:
    watch = Watch()
    watch.look(3)
    watch.xid(119)
    assert not watch.due, "just now it was sick"
    watch.look(4)
    assert not watch.due
    watch.look(1)
    assert watch.due == uuid(0)
    assert watch.codes == ["GPU-0 xid-119 failing"]
    watch.checked()
    assert watch.codes == []


def test_a_check_that_fails_says_so_and_is_tried_later_and_later() -> None:
    watch = Watch()
    watch.look(3)
    watch.xid(119)
    watch.look(5)
    waits = []
    for _ in range(7):
        watch.checked(Verdict.FAILED, sentence="cuCtxCreate failed: unknown error (999)")
        wait = 0
        while not watch.due:
            watch.look()
            wait += 1
        waits.append(wait)
    assert waits == [30, 60, 120, 240, 480, 600, 600]
    assert watch.codes == ["GPU-0 no-cuda-context failing", "GPU-0 xid-119 failing"]
    assert watch.findings[0].reason == "cuCtxCreate failed: unknown error (999)"
    watch.checked()
    assert watch.codes == []


def test_without_cuda_only_five_good_minutes_of_nvml_prove_a_gpu() -> None:
    watch = Watch()
    watch.look(3)
    watch.xid(62)
    well_s = 0
    while watch.codes:
        watch.look()
        well_s += 1
        if watch.due:
            watch.checked(Verdict.UNABLE, sentence="libcuda.so.1 is not on this host")
        assert well_s < 1000
    assert well_s >= 300


def test_what_a_check_says_of_a_gpu_that_failed_meanwhile_is_not_believed() -> None:
    watch = Watch()
    watch.look(3)
    watch.xid(62)
    watch.look(5)
    assert watch.due == uuid(0)
    watch.xid(95)
    watch.checked()
    assert watch.codes == ["GPU-0 xid-62 failing", "GPU-0 xid-95 failing"]


def test_a_programs_fault_is_not_the_gpus_until_it_comes_often() -> None:
    watch = Watch()
    watch.look()
    for _ in range(9):
        watch.xid(31)
        watch.look(5)
    assert watch.codes == []
    watch.xid(31)
    assert watch.codes == ["GPU-0 xid-31 warning"]
    assert watch.findings[0].reason == "XID 31: GPU memory page fault, 10 times and more within 10 min"
    watch.look(3599)
    assert watch.codes == ["GPU-0 xid-31 warning"]
    watch.look(2)
    assert watch.codes == []


def test_one_event_that_is_told_twice_counts_once() -> None:
    watch = Watch()
    watch.look()
    for _ in range(9):
        watch.xid(31)
        watch.xid(31, detail="pid=7, the kernel log's line")
        watch.look(5)
    assert watch.codes == []


def test_nvlink_errors_warn_and_fail_the_gpu_when_they_come_often() -> None:
    watch = Watch()
    watch.look()
    for _ in range(4):
        watch.xid(74)
        watch.look(10)
    assert watch.codes == ["GPU-0 xid-74 warning"]
    watch.xid(74)
    assert watch.codes == ["GPU-0 xid-74 failing"]


def test_a_warning_of_an_xid_stays_for_a_day() -> None:
    watch = Watch()
    watch.look()
    watch.xid(63)
    for _ in range(24 * 360 - 1):
        watch.now_s += 9
        watch.look()
    assert watch.codes == ["GPU-0 xid-63 warning"]
    watch.now_s += 9
    watch.look()
    assert watch.codes == []


def test_an_xid_of_no_known_gpu_warns_of_the_host() -> None:
    watch = Watch()
    watch.memory = judge.xid(watch.memory, XidEvent("", 79, watch.now_s), BUILT_IN, watch.now_s)
    watch.look()
    assert watch.codes == ["host xid-79 warning"]
    watch.memory = judge.cleared(watch.memory, ())
    assert watch.codes == []


def test_an_xid_before_the_first_look_is_held_against_the_gpu_when_it_appears() -> None:
    watch = Watch()
    watch.xid(79)
    assert watch.codes == ["GPU-0 xid-79 failing"]
    assert judge.known_gpus(watch.memory) == (), "what it is nobody knows yet"
    watch.look()
    assert watch.codes == ["GPU-0 xid-79 failing"]


def test_a_double_bit_error_stays_until_the_gpu_was_reset_and_proved() -> None:
    watch = Watch()
    watch.reads(ecc_volatile_uncorrected=0)
    watch.look(2)
    watch.reads(ecc_volatile_uncorrected=2)
    watch.look()
    assert watch.codes == ["GPU-0 ecc-double-bit failing"]
    assert "2 uncorrected (double-bit) memory errors" in watch.findings[0].reason
    watch.look(600)
    assert not watch.due, "the errors are still there"
    watch.reads(ecc_volatile_uncorrected=0)
    watch.look(5)
    assert watch.due == uuid(0)
    watch.checked()
    watch.look(30)
    assert watch.codes == []


def test_a_look_in_which_the_counter_is_not_told_does_not_hide_an_error() -> None:
    watch = Watch()
    for errors in (0, None, 1):
        watch.reads(ecc_volatile_uncorrected=errors)
        watch.look()
    assert watch.codes == ["GPU-0 ecc-double-bit failing"]


def test_errors_from_before_the_first_look_only_warn() -> None:
    watch = Watch()
    watch.reads(ecc_volatile_uncorrected=3)
    watch.look(2)
    assert watch.codes == ["GPU-0 ecc-uncorrected warning"]


def test_a_lost_gpu_stays_listed_and_failing() -> None:
    watch = Watch()
    watch.look(2)
    watch.has_trouble("lost")
    watch.look(1)
    assert watch.codes == ["GPU-0 gpu-lost failing"]
    assert [it.uuid for it in judge.known_gpus(watch.memory)] == [uuid(0)]
    watch.troubles.clear()
    watch.look(4)
    assert not watch.due
    watch.look(100)
    assert watch.codes == ["GPU-0 gpu-lost failing"], "it answers again, but nothing proved it"
    watch.checked()
    assert watch.codes == []
    watch.look(60)
    assert watch.codes == []


def test_a_gpu_that_is_gone_without_a_word_is_missing() -> None:
    watch = Watch()
    watch.look(2)
    del watch.gpus[uuid(0)]
    watch.look(3)
    assert watch.codes == []
    watch.look(1)
    assert watch.codes == ["GPU-0 gpu-missing failing"]
    assert watch.findings[0].reason.startswith(
        "NVIDIA H100 (0000:07:00.0) is gone: the driver does not list it any more"
    )
    watch.memory = judge.cleared(watch.memory, (uuid(0),))
    watch.look(10)
    assert watch.codes == [], "it was taken out, and an admin said so"
    assert judge.known_gpus(watch.memory) == ()


def test_a_gpu_that_was_missing_must_be_proved_when_it_is_back() -> None:
    watch = Watch()
    watch.look(2)
    gpu = watch.gpus.pop(uuid(0))
    watch.look(20)
    watch.gpus[uuid(0)] = gpu
    watch.look(100)
    assert watch.codes == ["GPU-0 gpu-missing failing"]
    assert watch.due == uuid(0)
    watch.checked()
    watch.look(20)
    assert watch.codes == []


def test_a_driver_that_lists_nothing_says_so_of_each_gpu() -> None:
    watch = Watch()
    watch.look(2)
    watch.gpus = {}
    watch.driver = ("", "the NVIDIA driver finds no GPU")
    watch.look(12)
    assert watch.codes == ["GPU-0 gpu-missing failing", "GPU-1 gpu-missing failing"]
    assert watch.findings[0].reason == "NVIDIA H100 (0000:07:00.0) is gone: the NVIDIA driver finds no GPU"


def test_gpus_are_not_missed_because_nvml_failed_for_a_moment() -> None:
    watch = Watch()
    watch.look(2)
    gpus, watch.gpus = watch.gpus, {}
    watch.driver = ("", "NVML failed: Unknown Error")
    watch.look(9)
    assert watch.codes == []
    watch.gpus, watch.driver = gpus, ("", "")
    watch.look(60)
    assert watch.codes == []


def test_a_mig_instance_that_was_removed_is_forgotten() -> None:
    watch = Watch(1)
    watch.gpus["MIG-1"] = Gpu("MIG-1", "NVIDIA H100 MIG 1g.10gb", 9856, 0, mig_parent=uuid(0))
    watch.readings["MIG-1"] = replace(watch.readings[uuid(0)], uuid="MIG-1")
    watch.look(2)
    del watch.gpus["MIG-1"]
    watch.look(60)
    assert watch.codes == []
    assert judge.known_gpus(watch.memory) == ()


def test_a_mig_instance_whose_gpu_is_gone_is_missing_with_it() -> None:
    watch = Watch(2)
    watch.gpus["MIG-1"] = Gpu("MIG-1", "NVIDIA H100 MIG 1g.10gb", 9856, 0, mig_parent=uuid(0))
    watch.readings["MIG-1"] = replace(watch.readings[uuid(0)], uuid="MIG-1")
    watch.look(2)
    del watch.gpus["MIG-1"], watch.gpus[uuid(0)]
    watch.look(60)
    assert watch.codes == ["GPU-0 gpu-missing failing", "MIG-1 gpu-missing failing"]


def test_a_hung_gpu_fails_while_it_hangs_and_a_little_longer() -> None:
    watch = Watch()
    watch.look(2)
    watch.has_trouble("hung")
    watch.look(1)
    assert watch.codes == ["GPU-0 gpu-hung failing"]
    watch.troubles.clear()
    watch.look(29)
    assert watch.codes == ["GPU-0 gpu-hung failing"]
    watch.look(1)
    assert watch.codes == []


def test_errors_of_nvml_warn_and_fail_the_gpu_when_they_last() -> None:
    watch = Watch()
    watch.look(2)
    watch.has_trouble("error")
    watch.look(3)
    assert watch.codes == []
    watch.look(1)
    assert watch.codes == ["GPU-0 nvml-errors warning"]
    watch.look(57)
    assert watch.codes == ["GPU-0 nvml-errors failing"]


@pytest.mark.parametrize(
    ("trouble", "code", "after_s"),
    [("mismatch", "driver-mismatch", 3), ("not-loaded", "driver-not-loaded", 3), ("hung", "nvml-hung", 20)],
)
def test_a_driver_that_does_not_work_fails_every_gpu_and_warns_of_the_host(
    trouble: str, code: str, after_s: int
) -> None:
    watch = Watch()
    watch.look(2)
    watch.driver = (trouble, "Driver/library version mismatch")
    watch.look(after_s)
    assert not any("GPU" in it for it in watch.codes)
    watch.look(30)
    assert watch.codes == [f"GPU-0 {code} failing", f"GPU-1 {code} failing", f"host {code} warning"]
    assert len(judge.known_gpus(watch.memory)) == 2
    watch.driver = ("", "")
    watch.look(61)
    assert watch.codes == []


def test_heat_warns_after_a_minute_and_fails_the_gpu_after_five() -> None:
    watch = Watch()
    watch.look(2)
    watch.reads(throttled=("hw-slowdown", "hw-thermal-slowdown"), temperature_c=94.0)
    watch.look(60)
    assert watch.codes == []
    watch.look(1)
    assert watch.codes == ["GPU-0 throttled-thermal warning"]
    assert watch.findings[0].reason == "it is slowed by heat at 94 °C, for more than 60 s"
    watch.look(240)
    assert watch.codes == ["GPU-0 throttled-thermal failing"]
    assert watch.findings[0].reason.endswith("for more than 300 s")
    watch.reads(throttled=())
    watch.look(59)
    assert watch.codes == ["GPU-0 throttled-thermal failing"]
    watch.look(1)
    assert watch.codes == []


def test_a_gpu_that_is_slowed_on_and_off_is_slowed() -> None:
    watch = Watch()
    watch.look(2)
    for second in range(130):
        watch.reads(throttled=("hw-thermal-slowdown",) if second % 2 else ())
        watch.look()
    assert watch.codes == ["GPU-0 throttled-thermal warning"]


def test_the_words_of_a_finding_stay_while_it_is_as_bad() -> None:
    watch = Watch()
    watch.reads(throttled=("hw-power-brake",))
    watch.look(70)
    before = watch.findings
    watch.reads(temperature_c=99.0)
    watch.look(60)
    assert watch.findings == before


def test_a_gpu_that_fails_again_is_watched_for_longer_and_longer() -> None:
    watch = Watch()
    watch.look(2)
    waits = []
    for _ in range(9):
        watch.xid(119)
        watch.look(5)
        watch.checked()
        wait = 0
        while watch.codes:
            assert watch.codes == ["GPU-0 flapping failing"]
            watch.look()
            wait += 1
        waits.append(wait)
        watch.look(60)
    assert waits == [0, 60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_a_watched_gpu_says_how_often_it_came_back_and_until_when() -> None:
    watch = Watch()
    watch.look(2)
    for _ in range(4):
        watch.xid(119)
        watch.look(5)
        watch.checked()
        if len(watch.memory.gpus[0].flaps.backs_s) < 3:
            while watch.codes:
                watch.look()
            watch.look(60)
    (found,) = watch.findings
    assert found.reason == "it came back 3 times in 6 min and failed again; it is watched until 08:10:22 UTC"


def test_clearing_ends_the_watch() -> None:
    watch = Watch()
    watch.look(2)
    for _ in range(2):
        watch.xid(119)
        watch.look(5)
        watch.checked()
    assert watch.codes == ["GPU-0 flapping failing"]
    watch.memory = judge.cleared(watch.memory, (uuid(0),))
    watch.look()
    assert watch.codes == []


def test_clearing_one_gpu_leaves_the_other_and_what_holds_is_found_again() -> None:
    watch = Watch()
    watch.look(2)
    watch.xid(79, 1)
    watch.reads(remapped_rows_failed=True, remapped_rows_uncorrected=512)
    watch.look()
    assert watch.codes == ["GPU-0 row-remap-failure failing", "GPU-1 xid-79 failing"]
    watch.memory = judge.cleared(watch.memory, (uuid(0),))
    assert watch.codes == ["GPU-1 xid-79 failing"]
    watch.look()
    assert watch.codes == ["GPU-0 row-remap-failure failing", "GPU-1 xid-79 failing"]
    assert not watch.due, "as long as the flag is there no check is tried"


def test_no_check_is_tried_while_a_reset_is_asked_for() -> None:
    watch = Watch()
    watch.look(2)
    watch.xid(95)
    watch.reads(remapped_rows_pending=True)
    watch.look(60)
    assert not watch.due
    watch.reads(remapped_rows_pending=False)
    watch.look(5)
    assert watch.due == uuid(0)


def test_a_clock_that_jumps_neither_makes_nor_ends_a_finding() -> None:
    watch = Watch()
    watch.reads(throttled=("hw-thermal-slowdown",))
    watch.look(2)
    watch.now_s += 86400
    watch.look(2)
    assert watch.codes == []
    watch.now_s -= 2 * 86400
    watch.look(60)
    assert watch.codes == ["GPU-0 throttled-thermal warning"]


def test_troubles_of_the_host_are_told_with_those_of_the_gpus_worst_first() -> None:
    watch = Watch()
    watch.host = HostLook(docker_unavailable="no socket", disk_total_mib=1000_000, disk_free_mib=1000, clock_offset_s=9)
    watch.troubles["?"] = GpuTrouble("", "error", "GPU at index 3: Unknown Error")
    watch.look(20)
    watch.xid(63, 1)
    assert watch.codes == [
        "host docker failing",
        "host clock warning",
        "host disk warning",
        "host gpu-unknown warning",
        "GPU-1 xid-63 warning",
    ]


def test_a_gpu_that_was_lost_before_the_agent_began_is_told_by_its_name() -> None:
    watch = Watch()
    watch.look(2)
    del watch.gpus[uuid(1)]
    watch.troubles["?"] = GpuTrouble("", "lost", "GPU at index 1: GPU is lost")
    watch.look(30)
    assert watch.codes == ["GPU-1 gpu-missing failing"]
    assert watch.findings[0].reason == "NVIDIA H100 (0000:17:00.0) is gone: GPU at index 1: GPU is lost"
