"""cli/toptext: all hosts and GPUs on one screen."""

import pytest
from fakes.text import lines
from homeport_cli.toptext import picture, summary
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2


def host(name: str, *used_mib: int, health: str = "healthy", **more: object) -> api_pb2.Host:
    gpus = [host_pb2.Gpu(uuid=f"{name}-{n}", name="A5000", memory_total_mib=24576) for n in range(len(used_mib))]
    readings = [
        host_pb2.GpuReading(uuid=gpu.uuid, memory_used_mib=mib, utilisation=0.5)
        for gpu, mib in zip(gpus, used_mib, strict=True)
    ]
    return api_pb2.Host(
        name=name, state="idle", connection="connected", health=health, facts=host_pb2.HostFacts(gpus=gpus),
        gpus=[api_pb2.GpuUse(uuid=gpu.uuid, health=health) for gpu in gpus], gpu_readings=readings,
        **more,  # type: ignore[arg-type]
    )  # fmt: skip


def shown(*hosts: api_pb2.Host, width: int = 100, height: int = 24, trouble: str = "") -> list[str]:
    return lines(picture(hosts, width, height, trouble), width)


def names(text: list[str]) -> list[str]:
    return [line.split()[0] for line in text[2:] if line and not line.startswith((" ", "and"))]


def test_all_is_summed_up_in_one_line() -> None:
    hosts = [host("a", 12288, 0), host("b", 24576, health="failing"), host("c")]
    hosts[2].connection = "unreachable"
    assert summary(hosts) == "3 hosts, 3 GPUs: 36.0/72GB, 50% busy; 1 failing; 1 host not connected"
    assert summary([host("a")]) == "1 host, 0 GPUs"


def test_a_host_has_a_line_and_each_of_its_gpus_one_below_it() -> None:
    text = shown(host("a", 12288, 0))
    assert [line.split()[:2] for line in text[1:]] == [
        ["HOST", "MEMORY"],
        ["a", "(idle)"],
        ["0", "A5000"],
        ["1", "A5000"],
    ]
    assert "████░░░░ 12.0/24GB" in text[3]


def test_what_is_worst_is_first_then_who_uses_most() -> None:
    hosts = [host("a", 1), host("b", 9), host("c", 1, health="warning"), host("d", health="failing"), host("e", 9)]
    assert names(shown(*hosts)) == ["d", "c", "b", "e", "a"]


def test_a_screen_is_never_overflown_and_says_how_many_are_left_out() -> None:
    hosts = [host(f"h{n:02}", 1, 1) for n in range(20)]
    text = shown(*hosts, height=12)
    assert len(text) <= 12
    assert names(text) == ["h00", "h01", "h02"]
    assert text[-1] == "and 17 more hosts"
    assert "more" not in shown(*hosts, height=100)[-1]


def test_a_host_that_is_larger_than_the_screen_is_cut() -> None:
    assert len(shown(host("a", *([1] * 16)), host("b"), height=10)) <= 10


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_the_width(width: int) -> None:
    reading = host_pb2.HostReading(cpu=0.5, memory_used_mib=1024)
    one = host("a", 12288, reading=reading)
    one.facts.memory_mib = 65536
    assert max(map(len, shown(one, width=width))) <= width


def test_trouble_with_the_server_stands_where_the_sum_was_and_the_last_picture_stays() -> None:
    text = shown(host("a", 1), trouble="the server does not answer")
    assert text[0] == "the server does not answer"
    assert names(text) == ["a"]


def test_without_hosts_it_says_how_one_joins() -> None:
    assert "join-command" in shown()[0]
