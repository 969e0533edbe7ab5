from homeport_agent.engine.usage import usage_of
from homeport_agent.model import Usage

MIB = 2**20


def test_the_page_cache_does_not_count_but_shared_memory_does() -> None:
    inside = {"inactive_file": 30 * MIB, "active_file": 10 * MIB, "file": 90 * MIB, "shmem": 50 * MIB}
    memory = {"usage": 200 * MIB, "limit": 1024 * MIB, "stats": inside}
    stats = {"cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}}, "memory_stats": memory}
    assert usage_of(stats) == Usage(2.5, 160, 1024)


def test_cgroup_1_is_counted_with_the_groups_below() -> None:
    inside = {"inactive_file": 1, "total_inactive_file": 30 * MIB, "total_active_file": 10 * MIB}
    stats = {"memory_stats": {"usage": 200 * MIB, "limit": 512 * MIB, "stats": inside}}
    assert usage_of(stats) == Usage(0.0, 160, 512)


def test_a_container_that_does_not_run_has_no_numbers() -> None:
    assert usage_of({"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}) is None
