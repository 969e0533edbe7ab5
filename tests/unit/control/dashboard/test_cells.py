"""dashboard's cells: GPUs by whom, hosts and what is wrong, services and their numbers, lines; values in, values out."""

import json

from homeport_control.dashboard.fleet_cells import host_cells, summary
from homeport_control.dashboard.gpu_cells import Holder, gpu_cells
from homeport_control.dashboard.lines import access_text, log_line
from homeport_control.dashboard.service_cells import chat_models, service_cells
from homeport_control.dashboard.words import gpu_name, gpus_text, key_of, milliseconds, percent, rate
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2

GB = 1024


def host(*gpus: host_pb2.Gpu, uses: list[api_pb2.GpuUse] | None = None, **fields: object) -> api_pb2.Host:
    values = {"id": "h1", "name": "box", "connection": "connected", "health": "healthy", "state": "idle", **fields}
    return api_pb2.Host(facts=host_pb2.HostFacts(cpus=8, memory_mib=64 * GB, gpus=gpus), gpus=uses or [], **values)  # type: ignore[arg-type]


def gpu(used_gb: float = 0, *processes: host_pb2.GpuProcess, uuid: str = "GPU-1", total_gb: int = 80) -> host_pb2.Gpu:
    used_mib = int(used_gb * GB)
    return host_pb2.Gpu(
        uuid=uuid,
        name="NVIDIA A100-SXM4-80GB",
        memory_total_mib=total_gb * GB,
        memory_used_mib=used_mib,
        processes=processes,
    )


def process(memory_gb: float, replica_id: str = "", **fields: object) -> host_pb2.GpuProcess:
    return host_pb2.GpuProcess(pid=42, name="python3", memory_mib=int(memory_gb * GB), replica_id=replica_id, **fields)  # type: ignore[arg-type]


def test_a_gpu_s_memory_is_told_by_whom() -> None:
    use = api_pb2.GpuUse(uuid="GPU-1", health="healthy", holders=["chat/0 (40GB shared)"], reserved_mib=40 * GB)
    (cell,) = gpu_cells(host(gpu(28, process(20, "r1"), process(8)), uses=[use]))
    assert (cell.ours_percent, cell.other_percent, cell.reserved_percent) == (25, 10, 25)
    assert cell.holders == (Holder("chat/0 (40GB shared)", True), Holder("python3 (pid 42) 8.0 GB", False))
    assert (cell.memory, cell.name, cell.tone) == ("28.0 / 80 GB", "A100-SXM4", "ok")


def test_where_no_process_is_told_a_lone_claim_has_it_all() -> None:
    use = api_pb2.GpuUse(uuid="GPU-1", holders=["chat/0"], reserved_mib=80 * GB)
    (cell,) = gpu_cells(host(gpu(40), uses=[use]))
    assert (cell.ours_percent, cell.other_percent, cell.reserved_percent) == (50, 0, 50)


def test_the_parts_of_a_bar_are_never_more_than_the_whole() -> None:
    use = api_pb2.GpuUse(uuid="GPU-1", holders=["a/0"], reserved_mib=80 * GB)
    for used in (0, 0.1, 79.9, 80, 500):
        (cell,) = gpu_cells(host(gpu(used, process(30, "r1"), process(used)), uses=[use]))
        assert 0 <= cell.ours_percent + cell.other_percent + cell.reserved_percent <= 100


def test_a_reading_is_newer_than_the_facts_and_what_is_not_told_is_empty() -> None:
    said = host(gpu(1))
    (before,) = gpu_cells(said)
    assert (before.utilisation, before.temperature, before.power) == (None, "", "")
    said.gpu_readings.add(uuid="GPU-1", memory_used_mib=2 * GB, utilisation=0.0, temperature_c=0.0)
    (after,) = gpu_cells(said)
    assert (after.memory, after.utilisation, after.temperature) == ("2.0 / 80 GB", 0, "0 °C")


def test_only_the_gpu_that_changed_is_made_anew() -> None:
    first = host(gpu(1), gpu(1, uuid="GPU-2"))
    cells = host_cells(first)
    second = api_pb2.Host.FromString(first.SerializeToString())
    second.gpu_readings.add(uuid="GPU-2", memory_used_mib=5 * GB)
    again = host_cells(second, (first, cells))
    assert again.gpus[0] is cells.gpus[0]
    assert again.gpus[1].memory == "5.0 / 80 GB"
    assert again == host_cells(second), "as if it were made at once"
    third = api_pb2.Host.FromString(second.SerializeToString())
    third.gpus.add(uuid="GPU-1", health="failing")
    assert host_cells(third, (second, again)) == host_cells(third)


def test_many_holders_are_counted_and_not_listed() -> None:
    (cell,) = gpu_cells(host(gpu(9, *(process(1) for _ in range(9)))))
    assert (len(cell.holders), cell.more) == (6, 3)


def test_a_host_says_the_worst_of_itself() -> None:
    assert host_cells(host()).head.state == "idle"
    assert host_cells(host(health="failing")).head.tone == "bad"
    assert host_cells(host(health="failing", connection="unreachable")).head.state == "unreachable"
    drained = host_cells(host(cordoned=True))
    assert (drained.head.state, drained.head.tone, drained.notes.is_cordoned) == ("idle, drained", "warn", True)


def test_the_summary_counts_what_is_there() -> None:
    fine = api_pb2.GpuUse(uuid="GPU-1", health="healthy")
    taken = api_pb2.GpuUse(uuid="GPU-1", health="healthy", holders=["a/0"])
    one, two, away = host(gpu(20), uses=[fine]), host(gpu(60), uses=[taken]), host(gpu(), connection="unreachable")
    one.gpu_readings.add(uuid="GPU-1", memory_used_mib=20 * GB, utilisation=0.5)
    said = summary([one, two, away])
    assert (said.hosts, said.away, said.gpus, said.free_gpus) == ("2 / 3", 1, 3, 1)
    assert (said.memory, said.memory_percent, said.busy_percent) == ("80 / 240 GB", 33, 50)
    assert summary([]).busy_percent is None


def a_run(**fields: object) -> api_pb2.Run:
    values = {
        "id": "r",
        "name": "chat",
        "state": "running",
        "revision": 2,
        "newest_revision": 2,
        "replicas_wanted": 2,
        **fields,
    }
    return api_pb2.Run(**values)  # type: ignore[arg-type]


def test_a_service_without_numbers_has_none_and_with_them_those() -> None:
    numbers = service_cells(a_run(), None).numbers
    assert (numbers.replicas, numbers.requests, numbers.in_flight, numbers.p50) == ("0 / 2", "", "", "")
    answers = api_pb2.ServiceAnswers(p50_ms=3.21, p99_ms=1500, server_error_per_s=0.25)
    numbers = service_cells(
        a_run(), api_pb2.MetricsResponse(requests_per_s=12.34, in_flight=0, held=3, answers=answers)
    ).numbers
    assert (numbers.requests, numbers.in_flight, numbers.held) == ("12.3", "0", 3)
    assert (numbers.p50, numbers.p99, numbers.errors) == ("3.2 ms", "1.5 s", "0.2")


def test_a_rollout_is_told_while_it_goes_on() -> None:
    old, new = api_pb2.Replica(revision=1, in_rotation=True), api_pb2.Replica(revision=2, in_rotation=True, index=1)
    body = service_cells(a_run(replicas=[old, new]), None).body
    assert body.rollout == "revision 2: 1 of 2 in rotation, 1 replica of an older one still there"
    assert body.rollout_percent == 50
    assert [it.is_old for it in body.replicas] == [True, False]
    assert service_cells(a_run(replicas=[new, new], rolled_out=True), None).body.rollout == ""
    assert service_cells(a_run(state="terminated"), None).body.rollout == ""


def test_a_run_that_has_ended_cannot_be_stopped_and_shows_its_last_lines() -> None:
    cells = service_cells(a_run(state="failed", log_tail=[str(it) for it in range(20)], url="http://x"), None)
    assert (cells.head.can_stop, cells.head.url, len(cells.body.log_tail)) == (False, "", 8)


def test_only_what_talks_is_offered_to_talk_to() -> None:
    runs = [
        a_run(name="b", model="m", model_type="chat"), a_run(name="a", model="m", model_type="chat"), a_run(name="c"),
        a_run(name="d", model="m", model_type="embeddings"), a_run(name="e", model="m", state="failed"),
    ]  # fmt: skip
    assert list(chat_models(runs)) == ["a", "b"]


def line(text: bytes, **fields: object) -> str:
    return log_line(api_pb2.LogEntry(text=text, **fields)).text  # type: ignore[arg-type]


def test_a_log_line_is_text_without_orders_to_a_terminal() -> None:
    assert line(b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07end\x08\x00\r\n") == "red end"
    assert line("\u202eevil\u2066".encode()) == "evil"
    assert line(b"\xff\xfe bad bytes") == "\ufffd\ufffd bad bytes"
    assert line(b"x" * 10_000).endswith("(10000 characters)")
    assert line(b"\ttab stays") == "\ttab stays"


def test_a_line_of_the_access_log_is_read_and_another_left_as_it_is() -> None:
    said = {"status": 200, "method": "POST", "path": "/v1", "duration_ms": 12, "token": "ann", "client": "10.0.0.1"}
    assert access_text(json.dumps(said)) == "200  POST  /v1  12 ms  token ann  10.0.0.1"
    for odd in ("", "no json", "[]", "{}", "null", '{"status": 1}'):
        assert access_text(odd) == odd


def test_numbers_as_a_reader_wants_them() -> None:
    assert [percent(*it) for it in ((0, 80), (0.01, 80), (80, 80), (99, 80), (1, 0))] == [0, 1, 100, 100, 0]
    assert [rate(it) for it in (0, 0.04, 9.96, 100.4)] == ["0", "0.0", "10.0", "100"]
    assert [milliseconds(it) for it in (0.44, 10, 999, 2345)] == ["0.4 ms", "10 ms", "999 ms", "2.3 s"]
    assert [gpus_text(it) for it in ("A5000:24GB:1", "NVIDIA L4:24GB:2", "odd")] == ["A5000", "2 × L4", "odd"]
    assert gpu_name("NVIDIA H100 80GB HBM3") == "H100"
    assert key_of("h", "<script>") != key_of("h", "other")
    assert key_of("h", "<script>").isalnum()
