import pytest
from homeport_agent.engine.gpu_request import GpuRequest, GpuWays, environment, request, ways_of

UUID, MIG = "GPU-3f2a-1", "MIG-77c0-2"
FOUND = {"CDISpecDirs": ["/etc/cdi"], "DiscoveredDevices": [{"Source": "cdi", "ID": f"nvidia.com/gpu={UUID}"}]}
BY_DRIVER, BY_CDI = GpuRequest("nvidia", (UUID,)), GpuRequest("cdi", (f"nvidia.com/gpu={UUID}",))


@pytest.mark.parametrize(
    ("info", "api_version", "has_hook", "expected"),
    [
        ({}, "1.41", True, BY_DRIVER),  # 20.10 with the toolkit
        ({}, "1.41", False, BY_DRIVER),  # without: Docker says what is missing
        (FOUND, "1.51", True, BY_DRIVER),  # both: a specification may be out of date
        (FOUND, "1.51", False, BY_CDI),
        ({"CDISpecDirs": ["/etc/cdi"]}, "1.51", False, BY_DRIVER),  # it looks, and found none
        ({**FOUND, "CDISpecDirs": []}, "1.51", False, BY_DRIVER),
        (
            {"CDISpecDirs": ["/etc/cdi"]},
            "1.45",
            False,
            BY_CDI,
        ),  # 26.1 with the feature on: it does not say what it found
        ({"CDISpecDirs": None, "DiscoveredDevices": None}, "1.45", False, BY_DRIVER),
    ],
)
def test_cdi_is_chosen_only_where_the_driver_cannot_be(
    info: dict[str, object], api_version: str, has_hook: bool, expected: GpuRequest
) -> None:
    assert request((UUID,), ways_of(info, api_version, has_hook)) == expected


def test_one_device_that_cdi_does_not_know_leaves_all_to_the_driver() -> None:
    ways = ways_of(FOUND, "1.51", has_hook=False)
    assert request((UUID, MIG), ways) == GpuRequest("nvidia", (UUID, MIG))


def test_a_mig_instance_is_asked_for_by_its_own_uuid() -> None:
    assert request((MIG,), GpuWays(has_hook=True)).device_ids == (MIG,)
    assert request((MIG,), GpuWays(has_cdi=True)).device_ids == (f"nvidia.com/gpu={MIG}",)


def test_what_a_file_says_about_visible_gpus_gives_way_to_what_was_assigned() -> None:
    env = (("A", "1"), ("NVIDIA_VISIBLE_DEVICES", "all"))
    assert environment(env, (UUID, MIG)) == (("A", "1"), ("NVIDIA_VISIBLE_DEVICES", f"{UUID},{MIG}"))
    assert environment(env, ()) == (("A", "1"), ("NVIDIA_VISIBLE_DEVICES", "void"))
