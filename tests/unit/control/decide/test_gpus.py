"""decide/gpus: names and sizes as people write them."""

import pytest
from fakes.hosts import gpu
from homeport_control.decide.gpus import gpus_text, has_capability, has_memory, is_named, short_name, size_gb
from homeport_control.spec.resources import Range

A100 = gpu("a", "NVIDIA A100-SXM4-80GB", 81920)


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("A100", "NVIDIA A100-SXM4-80GB"),
        ("a100-sxm4", "NVIDIA A100-SXM4-80GB"),
        ("RTX4090", "NVIDIA GeForce RTX 4090"),
        ("RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("4090", "NVIDIA GeForce RTX 4090"),
        ("A5000", "NVIDIA RTX A5000"),
        ("T4", "Tesla T4"),
    ],
)
def test_a_name_matches_whole_words(wanted: str, name: str) -> None:
    assert is_named(gpu("x", name), wanted)


@pytest.mark.parametrize(("wanted", "name"), [("A10", "NVIDIA A100-SXM4-80GB"), ("L4", "NVIDIA L40S"), ("A10", "A10G")])
def test_a_part_of_a_word_is_another_gpu(wanted: str, name: str) -> None:
    assert not is_named(gpu("x", name), wanted)


@pytest.mark.parametrize(("box_gb", "reported_mib"), [(80, 81559), (80, 81920), (24, 23028), (24, 24564), (16, 15109)])
def test_a_card_counts_as_what_its_box_says(box_gb: int, reported_mib: int) -> None:
    assert has_memory(reported_mib, Range(box_gb * 1024, box_gb * 1024))
    assert size_gb(reported_mib) == box_gb


def test_the_next_size_is_another_one() -> None:
    assert not has_memory(22 * 1024, Range(24 * 1024, 24 * 1024))
    assert not has_memory(48 * 1024, Range(24 * 1024, 40 * 1024))
    assert has_memory(48 * 1024, Range(24 * 1024, None))
    assert has_memory(1, None)


def test_a_gpu_that_does_not_say_its_capability_has_none() -> None:
    assert has_capability(gpu("x", cc="8.6"), Range(8.0, None))
    assert has_capability(gpu("x", cc="10.0"), Range(9.0, None))
    assert not has_capability(gpu("x", cc="7.5"), Range(8.0, None))
    assert not has_capability(gpu("x", cc=""), Range(8.0, None))
    assert has_capability(gpu("x", cc=""), None)


def test_names_are_shortened_to_what_a_spec_would_say() -> None:
    names = [
        "NVIDIA A100-SXM4-80GB",
        "NVIDIA GeForce RTX 4090",
        "NVIDIA RTX A5000",
        "NVIDIA H100 80GB HBM3",
        "Tesla T4",
    ]
    assert [short_name(gpu("x", name)) for name in names] == ["A100", "RTX4090", "A5000", "H100", "T4"]


def test_equal_gpus_are_counted() -> None:
    assert gpus_text([gpu("1"), A100, gpu("2")]) == ("A100:80GB:1", "A5000:24GB:2")


def test_a_gpu_that_is_cut_is_counted_by_its_instances() -> None:
    cut = gpu("P", "NVIDIA A100-SXM4-80GB", 81920, mig_enabled=True)
    assert gpus_text([cut, gpu("M", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9728, mig_parent="P")]) == (
        "A100MIG1g:10GB:1",
    )
