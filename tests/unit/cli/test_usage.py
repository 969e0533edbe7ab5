"""cli/usage: what a run uses, as a table."""

import json

from homeport_cli.usage import json_line, usage
from homeport_protos.api.v1 import api_pb2
from rich.console import Console, RenderableType


def lines(shown: RenderableType) -> list[str]:
    console = Console(width=200, no_color=True)
    with console.capture() as captured:
        console.print(shown)
    return [line.rstrip() for line in captured.get().splitlines()]


def replica(index: int = 0, **fields: object) -> api_pb2.ReplicaMetrics:
    values = {
        "replica_id": f"r{index}", "index": index, "host": "gpu-1", "state": "running", "cpu_cores": 0.5,
        "cpu_limit": 8.0, "memory_mib": 1536, "memory_limit_mib": 16384, "requests_per_s": 2.25, "in_flight": 3,
    }  # fmt: skip
    return api_pb2.ReplicaMetrics(**{**values, **fields})  # type: ignore[arg-type]


GPUS = [
    api_pb2.GpuMetrics(uuid="a", memory_used_mib=10240, memory_total_mib=24576, utilisation=0.5),
    api_pb2.GpuMetrics(uuid="b", memory_used_mib=5120, memory_total_mib=24576, utilisation=0.25),
]


def test_a_row_for_the_run_and_one_for_each_replica() -> None:
    answer = api_pb2.MetricsResponse(
        replicas=[replica(gpus=GPUS), replica(1, gpus=GPUS[:1])], requests_per_s=4.5, in_flight=6
    )
    assert lines(usage("llm", answer, 200)) == [
        "NAME         HOST   STATUS   CPU     MEMORY     GPU  GPU MEMORY  GPU UTIL  RPS  IN FLIGHT",
        "llm                          1.00    3.00GB     3    25.0/72GB   42%       4.5  6",
        "  replica 0  gpu-1  running  0.50/8  1.50/16GB  2    15.0/48GB   38%       2.2  3",
        "  replica 1  gpu-1  running  0.50/8  1.50/16GB  1    10.0/24GB   50%       2.2  3",
    ]


def test_what_is_not_known_is_a_dash_and_said_below() -> None:
    away = api_pb2.ReplicaMetrics(index=1, host="gpu-2", state="running", message="host gpu-2 is not connected now")
    shown = lines(usage("llm", api_pb2.MetricsResponse(replicas=[away]), 200))
    assert shown[1].split() == ["llm", "-", "-", "-", "-"]
    assert shown[2].split() == ["replica", "1", "gpu-2", "running", "-", "-", "-", "-"]
    assert shown[-1] == "replica 1: host gpu-2 is not connected now"


def test_a_gpu_whose_driver_says_nothing_is_there_all_the_same() -> None:
    shown = lines(usage("llm", api_pb2.MetricsResponse(replicas=[replica(gpus=[api_pb2.GpuMetrics(uuid="a")])]), 200))
    assert shown[2].split()[6:9] == ["1", "-", "-"]


def test_without_limits_only_what_is_used_is_shown() -> None:
    free = api_pb2.ReplicaMetrics(state="running", cpu_cores=0.25, memory_mib=512)
    assert lines(usage("llm", api_pb2.MetricsResponse(replicas=[free]), 200))[2].split()[3:5] == ["0.25", "0.50GB"]


def test_json_is_one_line_without_what_is_not_known() -> None:
    line = json_line(api_pb2.MetricsResponse(replicas=[api_pb2.ReplicaMetrics(index=0, cpu_cores=0.0)]))
    assert "\n" not in line
    (shown,) = json.loads(line)["replicas"]
    assert shown["cpu_cores"] == 0.0
    assert shown["index"] == 0
    assert "memory_mib" not in shown


def test_what_is_reserved_and_the_peak_stand_below_and_who_is_over() -> None:
    held = {"gpu_memory_reserved_mib": 24576, "gpu_memory_peak_mib": 17715}
    answer = api_pb2.MetricsResponse(replicas=[replica(**held), replica(1, **held, over_reservation=True)])
    assert lines(usage("llm", answer, 200))[-2:] == [
        "replica 0: GPU memory reserved 24GB, peak 17.3GB",
        "replica 1: GPU memory reserved 24GB, peak 17.3GB; it holds more than it reserved",
    ]


def test_a_narrow_terminal_gets_the_numbers_and_not_where_they_are_from() -> None:
    head = lines(usage("llm", api_pb2.MetricsResponse(replicas=[replica(gpus=GPUS)]), 80))[0].split("  ")
    assert "STATUS" not in head
    assert {"MEMORY", "GPU MEMORY", "GPU UTIL", "RPS"} <= {word.strip() for word in head}
