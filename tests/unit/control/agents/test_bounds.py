"""agents/bounds: whatever a host says of itself becomes values that a table, a database and a gateway can take."""

import json
import math
from dataclasses import asdict
from typing import Any

from fixtures.messages import messages
from homeport_control.agents import bounds
from homeport_control.agents.convert import facts_from, findings_from, observation_from, usage_from
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.common.v1 import host_pb2
from hypothesis import given, settings

MOST_TEXT = bounds.MOST_SENTENCE * 10  # a letter may be shown as ten


def must_be_tame(value: Any, key: str = "") -> None:
    """Printable text but for lines of logs, numbers that SQL and JSON have, and nothing without a bound."""
    if isinstance(value, str):
        assert len(value) <= (bounds.MOST_LINE if key == "log_tail" else MOST_TEXT)
        assert "\0" not in value
        assert value.isprintable() or key == "log_tail"
    elif isinstance(value, dict):
        for name, inner in value.items():
            must_be_tame(inner, name)
    elif isinstance(value, list | tuple):
        for inner in value:
            must_be_tame(inner, key)
    elif isinstance(value, float):
        assert math.isfinite(value)
    elif isinstance(value, int) and key != "exit_code":
        assert -1 <= value <= bounds.MOST_AMOUNT


@given(messages(host_pb2.HostFacts))
@settings(max_examples=150, deadline=None)
def test_any_facts_are_tame(facts: host_pb2.HostFacts) -> None:
    must_be_tame(asdict(facts_from(facts)))


@given(messages(agent_pb2.Findings))
@settings(max_examples=100, deadline=None)
def test_any_findings_are_tame(findings: agent_pb2.Findings) -> None:
    found = [asdict(it) for it in findings_from(findings)]
    must_be_tame(found)
    json.dumps(found, allow_nan=False)


@given(messages(agent_pb2.ReplicaReport))
@settings(max_examples=100, deadline=None)
def test_any_report_of_a_replica_is_tame(report: agent_pb2.ReplicaReport) -> None:
    seen = observation_from(report)
    must_be_tame({**asdict(seen), "phase": seen.phase.value})
    assert 0 <= seen.host_port < 65536


@given(messages(agent_pb2.ReplicaStats))
@settings(max_examples=100, deadline=None)
def test_any_numbers_of_a_replica_are_tame(stats: agent_pb2.ReplicaStats) -> None:
    must_be_tame(asdict(usage_from(stats)))


def test_a_host_has_so_much_of_each_and_no_more() -> None:
    facts = host_pb2.HostFacts(
        gpus=[host_pb2.Gpu(uuid=f"GPU-{i}") for i in range(10_000)], images=["i"] * 10_000, memory_mib=-1, cpus=-5
    )
    kept = facts_from(facts)
    assert (len(kept.gpus), len(kept.images)) == (bounds.MOST_GPUS, bounds.MOST_IMAGES)
    assert (kept.memory_mib, kept.cpus) == (0, 0)
    twice = host_pb2.HostFacts(gpus=[host_pb2.Gpu(uuid="GPU-1", memory_total_mib=1)] * 9)
    assert len(facts_from(twice).gpus) == 1, "one GPU is never counted twice"
