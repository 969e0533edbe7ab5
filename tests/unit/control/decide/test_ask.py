"""decide/ask: what a replica asks, as numbers."""

import pytest
from fakes.hosts import ask, host
from homeport_control.decide.ask import Ask, Filters, image_tag
from homeport_control.spec.document import parse_service


def test_what_is_reserved_is_the_lower_end() -> None:
    asked = ask(cpu="2..4", memory="..8GB", disk="10GB..", gpu={"memory": "8GB..16GB", "shared": True})
    assert (asked.cpus, asked.memory_mib, asked.disk_mib) == (2.0, 0, 10240)
    assert (asked.is_shared, asked.gpu_memory_mib) == (True, 8192)
    whole = ask(gpu="24GB")
    assert (whole.is_shared, whole.gpu_memory_mib, whole.cpus) == (False, 0, 0.0)


def test_the_policies_of_a_service_are_its_filters() -> None:
    spec = parse_service(
        {"type": "service", "image": "x", "port": 1, "fleets": ["lab"], "host_labels": {"rack": "a"}, "max_price": 2}
    ).spec
    assert Filters.of(spec) == Filters(fleets=("lab",), labels=("rack=a",), max_price=2.0)  # type: ignore[arg-type]


def test_a_volume_that_is_somewhere_names_its_host() -> None:
    asked = Ask("r1", "hello", volumes=("new", "models"))
    (home,) = asked.at_home({"models": "id-a", "other": "id-b"}, {"id-a": host("a")}).homes
    assert (home.volume, home.host_id, home.host) == ("models", "id-a", "a")
    assert asked.at_home({}, {}) is asked
    assert asked.at_home({"models": "id-x"}, {}).homes[0].host == "a host that is gone"


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("busybox", "busybox:latest"),
        ("docker.io/library/busybox:1", "busybox:1"),
        ("docker.io/vllm/vllm-openai:v0.6.2", "vllm/vllm-openai:v0.6.2"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("x@sha256:ab", "x@sha256:ab"),
        ("", ""),
    ],
)
def test_an_image_is_called_as_docker_lists_it(image: str, tag: str) -> None:
    assert image_tag(image) == tag
