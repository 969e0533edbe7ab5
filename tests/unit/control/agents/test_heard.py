"""agents/heard: which reports say nothing that is not written, and which are never written as newer ones came."""

import asyncio

from homeport_control.agents.heard import RESYNC_S, Heard, Inbox
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.common.v1 import host_pb2


def report(
    sequence: int, phase: agent_pb2.Phase.ValueType = agent_pb2.PHASE_READY, **fields: object
) -> agent_pb2.Report:
    replica = agent_pb2.ReplicaReport(replica_id="r1", phase=phase)
    return agent_pb2.Report(boot_id="b1", sequence=sequence, replicas=[replica], **fields)  # type: ignore[arg-type]


def test_the_first_report_is_news_and_the_same_again_is_none() -> None:
    heard = Heard(clock=lambda: 0.0)
    assert not heard.is_known(report(1))
    heard.written(report(1))
    assert heard.is_known(report(2, accepted_generation=7))


def test_another_phase_facts_or_findings_are_news() -> None:
    heard = Heard(clock=lambda: 0.0)
    heard.written(report(1))
    assert not heard.is_known(report(2, agent_pb2.PHASE_UNREADY))
    assert not heard.is_known(report(2, facts=host_pb2.HostFacts(cpus=4)))
    assert not heard.is_known(report(2, findings=agent_pb2.Findings()))


def test_facts_are_told_once_and_not_missed_in_the_next_report() -> None:
    heard = Heard(clock=lambda: 0.0)
    heard.written(report(1, facts=host_pb2.HostFacts(cpus=4), findings=agent_pb2.Findings()))
    assert heard.is_known(report(2))


def test_what_was_not_written_is_news_again() -> None:
    heard = Heard(clock=lambda: 0.0)
    heard.written(report(1))
    assert not heard.is_known(report(2, agent_pb2.PHASE_FAILED))  # and its write failed
    assert not heard.is_known(report(3, agent_pb2.PHASE_FAILED))


def test_now_and_then_it_is_written_all_the_same() -> None:
    now_s = [0.0]
    heard = Heard(clock=lambda: now_s[0])
    heard.written(report(1))
    now_s[0] = RESYNC_S
    assert not heard.is_known(report(2))


def test_in_a_large_fleet_it_is_written_anew_more_rarely() -> None:
    now_s, rarer = [0.0], [4.0]
    heard = Heard(lambda: rarer[0], lambda: now_s[0])
    heard.written(report(1))
    now_s[0] = 4 * RESYNC_S - 1
    assert heard.is_known(report(2))
    rarer[0] = 3.0  # some have gone
    assert not heard.is_known(report(3))


async def test_only_the_newest_report_is_taken_with_facts_and_findings_that_came_before_it() -> None:
    inbox = Inbox()
    inbox.put(report(1, facts=host_pb2.HostFacts(cpus=4)))
    inbox.put(report(2, findings=agent_pb2.Findings(findings=[host_pb2.Finding(code="xid-79")])))
    inbox.put(report(3, agent_pb2.PHASE_UNREADY))
    taken = await inbox.take()
    assert (taken.sequence, taken.facts.cpus, taken.findings.findings[0].code) == (3, 4, "xid-79")
    inbox.put(report(4))
    assert not (await inbox.take()).HasField("facts")


async def test_newer_facts_and_findings_replace_older_ones() -> None:
    inbox = Inbox()
    inbox.put(report(1, facts=host_pb2.HostFacts(cpus=4), findings=agent_pb2.Findings(findings=[host_pb2.Finding()])))
    inbox.put(report(2, facts=host_pb2.HostFacts(cpus=8), findings=agent_pb2.Findings()))
    taken = await inbox.take()
    assert (taken.facts.cpus, len(taken.findings.findings)) == (8, 0)


async def test_a_session_that_ends_waits_for_what_is_being_written() -> None:
    inbox = Inbox()
    await inbox.written()
    inbox.put(report(1))
    ended = asyncio.create_task(inbox.written())
    await inbox.take()
    await asyncio.sleep(0)
    assert not ended.done(), "it is being written"
    again = asyncio.create_task(inbox.take())
    await asyncio.wait_for(ended, 1)
    again.cancel()
