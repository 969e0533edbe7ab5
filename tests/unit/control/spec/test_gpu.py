from typing import Any

import pytest
from homeport_control.spec.gpu import GpuSpec, gpu_text
from homeport_control.spec.problems import Problem
from homeport_control.spec.ranges import Range
from homeport_control.spec.reading import read
from homeport_control.spec.resources import Resources


def gpu(written: Any) -> GpuSpec | None:
    resources, problems = read(Resources, {"gpu": written})
    assert resources is not None, problems
    return resources.gpu


def problem(written: Any) -> Problem:
    resources, problems = read(Resources, {"gpu": written})
    assert resources is None
    (only,) = problems
    return only


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        (2, GpuSpec(count=Range(2, 2))),
        ("2", GpuSpec(count=Range(2, 2))),
        ("24GB", GpuSpec(memory_mib=Range(24576, 24576))),
        ("A100:80GB:2", GpuSpec(names=("A100",), memory_mib=Range(81920, 81920), count=Range(2, 2))),
        ("2:80GB:A100", GpuSpec(names=("A100",), memory_mib=Range(81920, 81920), count=Range(2, 2))),
        ("24GB..40GB:2", GpuSpec(memory_mib=Range(24576, 40960), count=Range(2, 2))),
        ("24..40GB", GpuSpec(memory_mib=Range(24576, 40960))),
        ("24GB..", GpuSpec(memory_mib=Range(24576, None))),
        ("..24gb", GpuSpec(memory_mib=Range(None, 24576))),
        ("A10G,A100", GpuSpec(names=("A10G", "A100"))),
        ("nvidia", GpuSpec(vendor="nvidia")),
        ("tpu", GpuSpec(vendor="google")),
        ("80GB:1..8", GpuSpec(memory_mib=Range(81920, 81920), count=Range(1, 8))),
        ("RTX 4090", GpuSpec(names=("RTX 4090",))),
        ("..4", GpuSpec(count=Range(1, 4))),
        (
            {
                "vendor": "NVIDIA",
                "name": ["L4"],
                "memory": "20GB..",
                "total_memory": "40GB..",
                "compute_capability": 8.9,
            },
            GpuSpec(
                vendor="nvidia",
                names=("L4",),
                memory_mib=Range(20480, None),
                total_memory_mib=Range(40960, None),
                compute_capability=Range(8.9, 8.9),
            ),
        ),
        ({"memory": "8GB", "shared": True}, GpuSpec(memory_mib=Range(8192, 8192), shared=True)),
    ],
)
def test_a_gpu_spec_is_read(written: object, read_as: GpuSpec) -> None:
    assert gpu(written) == read_as


@pytest.mark.parametrize("written", [0, "0", None])
def test_no_gpu_is_none(written: object) -> None:
    assert gpu(written) is None


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("24GB:40GB", "GPU spec memory conflict: 24GB:40GB"),
        ("1:2", "GPU spec count conflict: 1:2"),
        ("A100:L4", "GPU spec name conflict: A100:L4"),
        ("nvidia:amd", "GPU spec vendor conflict: nvidia:amd"),
        ("A100::2", "GPU spec contains empty token: A100::2"),
        (":", "GPU spec contains empty token: :"),
        ("", "GPU spec contains empty token: "),
        ("24G", "`24G` is not an amount of memory"),
        ("1...3", "`1...3` is not a range of counts"),
        ("8..2", "`8..2` is an empty range of counts"),
        ("..", "`..` is an empty range of counts"),
        ("0..2", "must be at least 1"),
        (True, "`true` is not a GPU spec"),
        ([], "`[]` is not a GPU spec"),
        ({"shared": True}, "`shared` needs `memory`"),
        ({"shared": True, "memory": "8GB", "count": 2}, "`shared` reserves a part of one GPU, so `count` must be 1"),
    ],
)
def test_a_wrong_gpu_spec_is_refused_at_gpu(written: object, message: str) -> None:
    found = problem(written)
    assert (found.path, found.message) == ("gpu", message)


def test_an_unknown_key_is_named_with_the_closest_one() -> None:
    assert problem({"memry": "24GB"}) == Problem("gpu.memry", "unknown key `memry`", "Did you mean `memory`?")


def test_the_names_of_python_are_no_keys_of_the_language() -> None:
    assert problem({"memory_mib": 24}).message == "unknown key `memory_mib`"


@pytest.mark.parametrize("written", ["A100:80GB:2", "nvidia:24GB..40GB:1..8", "A10G,A100:1"])
def test_a_gpu_spec_is_shown_as_it_is_written(written: str) -> None:
    spec = gpu(written)
    assert spec is not None
    assert gpu_text(spec) == written


def test_what_the_short_form_cannot_say_follows_in_brackets() -> None:
    spec = gpu({"memory": "8GB", "shared": True, "compute_capability": "8.0.."})
    assert spec is not None
    assert gpu_text(spec) == "8GB:1 (compute capability 8.0.., shared)"
