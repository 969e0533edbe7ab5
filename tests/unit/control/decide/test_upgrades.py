"""decide/upgrades: one at a time in each fleet, the next only when the last one is well, none after a failure."""

from dataclasses import replace
from typing import Any

from homeport_control.decide.upgrades import LIMIT_S, SETTLE_S, may_matter, next_upgrades, why_not
from homeport_control.domain.hosts import Connection, Host, HostFacts

NOW_S = 1000.0


def host(name: str, fleet: str = "lab", build: str = "old", **fields: Any) -> Host:
    values: dict[str, Any] = {"connection": Connection.CONNECTED, "connection_since_s": 0.0, **fields}
    return Host(
        id=name, name=name, fleet=fleet, region="remote", backend="agent", address="", connection_reason="",
        cordoned=False, facts=HostFacts(), created_at_s=0.0, build=build, **values,
    )  # fmt: skip


def started(*hosts: Host, running: dict[str, float] | None = None, asked: tuple[str, ...] = ()) -> tuple[str, ...]:
    return next_upgrades(hosts, "new", running or {}, asked, NOW_S).start


def test_one_of_each_fleet_begins_and_others_wait_for_it() -> None:
    both = (host("a"), host("b"), host("c", "office"))
    assert started(*both) == ("a", "c")
    assert started(*both, running={"a": NOW_S}) == ("c",)


def test_an_older_server_brings_hosts_back_whatever_a_later_build_had_failed_with() -> None:
    """A build has no order: that of an older server is another one."""
    later = (host("a", build="later"), host("b", build="later", upgrade_error="latest: it did not connect"))
    assert started(*later) == ("a",)
    assert started(*later, running={"a": NOW_S}) == ()
    assert started(host("a", build="new"), later[1]) == ("b",)


def test_who_has_it_who_is_away_and_who_cannot_is_left_alone() -> None:
    away = host("b", connection=Connection.UNREACHABLE)
    assert started(host("a", build="new"), away, host("c", build="")) == ()


def test_the_next_one_begins_when_the_last_one_was_well_for_a_while() -> None:
    fresh = host("a", build="new", connection_since_s=NOW_S - SETTLE_S + 1)
    turn = next_upgrades((fresh, host("b")), "new", {"a": 900.0}, (), NOW_S)
    assert (turn.start, turn.done, turn.wake_at_s) == ((), (), NOW_S + 1)
    well = replace(fresh, connection_since_s=NOW_S - SETTLE_S)
    turn = next_upgrades((well, host("b")), "new", {"a": 900.0}, (), NOW_S)
    assert (turn.start, turn.done) == (("b",), ("a",))


def test_a_failure_ends_the_upgrades_of_its_fleet_until_somebody_asks() -> None:
    failed = host("a", upgrade_error="new: no network")
    turn = next_upgrades((failed, host("b"), host("c", "office")), "new", {"a": 900.0}, (), NOW_S)
    assert (turn.failed, turn.start) == ({"a": "new: no network"}, ("c",))
    assert started(failed, host("b")) == ()
    assert started(failed, host("b"), asked=("b",)) == ("b",)
    assert started(failed, host("b"), asked=("a",)) == ("a",)


def test_a_failure_of_an_older_build_says_nothing_about_this_one() -> None:
    assert started(host("a", upgrade_error="older: no network")) == ("a",)


def test_one_that_never_comes_back_has_failed() -> None:
    gone = host("a", connection=Connection.UNREACHABLE)
    turn = next_upgrades((gone, host("b")), "new", {"a": NOW_S - LIMIT_S}, (), NOW_S)
    assert turn.failed == {"a": f"new: it did not come back as that within {LIMIT_S:g} s"}
    assert turn.start == ()
    waiting = next_upgrades((gone,), "new", {"a": NOW_S - 1}, (), NOW_S)
    assert waiting.wake_at_s == NOW_S - 1 + LIMIT_S


def test_who_is_not_upgraded_is_told_why() -> None:
    assert why_not(host("a"), "new") == ""
    assert why_not(host("a", build="new"), "new") == "a has the agent new already"
    assert "was not installed by the server's script" in why_not(host("a", build=""), "new")
    assert "not connected" in why_not(host("a", connection=Connection.UNREACHABLE), "new")


def test_who_does_not_matter_changes_nothing() -> None:
    """Of each kind of host, beside one that may begin: the turn is the same without it."""
    errors = ("", "new: it did not connect", "other: it did not connect")
    kinds = [
        host("z", build=build, upgrade_error=error, connection=connection)
        for build in ("", "old", "new")
        for error in errors
        for connection in Connection
    ]
    left_out = [kind for kind in kinds if not may_matter(kind, "new")]
    assert {kind.build for kind in left_out} == {"", "new"}
    for kind in left_out:
        assert next_upgrades((host("a"), kind), "new", {}, (), NOW_S) == next_upgrades(
            (host("a"),), "new", {}, (), NOW_S
        )
    failed = host("z", upgrade_error="new: it did not connect")
    assert may_matter(failed, "new"), "it holds up its fleet"
