"""cli/hostcard: one host with everything."""

from fakes.text import lines
from google.protobuf.timestamp_pb2 import Timestamp
from homeport_cli import hostcard
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2

NOW_S = 1_800_000_000.0


def at(ago_s: float) -> Timestamp:
    return Timestamp(seconds=int(NOW_S - ago_s))


def near(uuid: str, path: str) -> host_pb2.GpuNear:
    return host_pb2.GpuNear(uuid=uuid, path=path)


def host(*gpus: host_pb2.Gpu, **more: object) -> api_pb2.Host:
    return api_pb2.Host(name="gpu-1", facts=host_pb2.HostFacts(gpus=gpus), **more)  # type: ignore[arg-type]


def shown(one: api_pb2.Host, *runs: api_pb2.Run) -> list[str]:
    return lines(hostcard.host(one, runs, NOW_S))


def test_what_a_gpu_is_and_what_it_does_stand_under_one_number() -> None:
    gpu = host_pb2.Gpu(
        uuid="GPU-1", name="H100", memory_total_mib=81920, memory_used_mib=8192, architecture="Hopper",
        compute_capability="9.0", pci_bus_id="0000:17:00.0", compute_mode="default", persistence_mode=True,
        driver_version="550.1", cuda_version="12.4",
    )  # fmt: skip
    reading = host_pb2.GpuReading(uuid="GPU-1", memory_used_mib=40960, utilisation=0.5, temperature_c=61, power_w=300)
    text = shown(host(gpu, gpu_readings=[reading], gpus=[api_pb2.GpuUse(uuid="GPU-1", health="healthy")]))
    assert "Driver  550.1, CUDA 12.4" in text
    assert "0  H100  ████░░░░ 40.0/80GB  50%   61°C  300W   healthy" in text
    assert "0  GPU-1  Hopper 9.0    0000:17:00.0  default, persistent" in text


def test_an_instance_names_the_gpu_that_it_is_cut_from() -> None:
    whole = host_pb2.Gpu(uuid="GPU-1", mig_enabled=True)
    text = shown(host(whole, host_pb2.Gpu(uuid="MIG-1", mig_parent="GPU-1")))
    assert any(line.split()[:2] == ["0", "GPU-1"] and line.endswith("cut into instances") for line in text)
    assert any(line.split()[:2] == ["1", "MIG-1"] and line.endswith("instance of 0") for line in text)


def test_how_gpus_reach_each_other_is_a_matrix() -> None:
    text = shown(
        host(
            host_pb2.Gpu(uuid="a", near=[near("b", "NV4"), near("c", "SYS")]),
            host_pb2.Gpu(uuid="b", near=[near("a", "NV4"), near("c", "SYS")]),
            host_pb2.Gpu(uuid="c", near=[near("a", "SYS"), near("b", "SYS")]),
        )
    )
    begin = text.index("#  0    1    2")
    assert [line.split() for line in text[begin + 1 : begin + 4]] == [
        ["0", "X", "NV4", "SYS"], ["1", "NV4", "X", "SYS"], ["2", "SYS", "SYS", "X"],
    ]  # fmt: skip


def test_every_process_says_whose_it_is() -> None:
    processes = [
        host_pb2.GpuProcess(pid=1, name="python3", memory_mib=17715, replica_id="r1"),
        host_pb2.GpuProcess(pid=2, name="python3", memory_mib=512, container="notebook"),
        host_pb2.GpuProcess(pid=3, name="Xorg"),
    ]
    run = api_pb2.Run(name="web", replicas=[api_pb2.Replica(id="r1", index=2, host="gpu-1", state="running")])
    text = [line.split() for line in shown(host(host_pb2.Gpu(uuid="a", processes=processes)), run)]
    assert ["0", "1", "python3", "17.3GB", "web/2"] in text
    assert ["0", "2", "python3", "512MB", "container", "notebook"] in text
    assert ["0", "3", "Xorg", "not", "Homeport's"] in text


def test_what_the_host_does_now_is_one_line() -> None:
    reading = host_pb2.HostReading(
        cpu=0.23, load=[1.2, 1, 0.5], memory_used_mib=30720, swap_used_mib=512, swap_total_mib=2048,
        network_received_bytes_s=1_200_000, docker="does not answer", clock_offset_s=-0.25,
    )  # fmt: skip
    (line,) = [line for line in shown(host(reading=reading)) if line.startswith("Now")]
    assert line.split(None, 1)[1] == (
        "cpu 23%, load 1.20 1.00 0.50, memory 30GB, swap 0.5/2GB, network 1MB/s in, 0B/s out, clock -0.25 s, "
        "Docker does not answer"
    )
    assert not any(line.startswith("Now") for line in shown(host()))


def test_each_gateways_way_to_it_is_told_and_why_there_is_none() -> None:
    ways = [
        api_pb2.Path(gateway="local", kind="direct", reason="10.0.0.5, mutual TLS"),
        api_pb2.Path(gateway="main", kind="none", reason="it cannot be dialled: no route to host"),
    ]
    shown = lines(hostcard.host(api_pb2.Host(name="gpu-1", paths=ways), [], NOW_S))
    assert any(line.split(maxsplit=1) == ["Path", "direct from gateway local (10.0.0.5, mutual TLS)"] for line in shown)
    assert any(
        line.startswith("No path") and line.endswith("main: it cannot be dialled: no route to host") for line in shown
    )
