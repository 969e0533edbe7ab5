"""decide/fleets: what applying does with each machine of the file, and with those that are not in it any more."""

from dataclasses import replace

from homeport_control.decide.fleets import fleet_changes
from homeport_control.domain.fleets import Phase, Place, PlaceChange, Registration, Standby
from homeport_control.domain.hosts import Connection, Host, HostFacts

A, B = Place("a", 22, "ops"), Place("b", 22, "ops")
HOST = Host(
    id="h1", name="gpu-1", fleet="lab", region="remote", backend="ssh", address="a", connection=Connection.CONNECTED,
    connection_reason="", connection_since_s=0.0, cordoned=False, facts=HostFacts(), created_at_s=0.0,
)  # fmt: skip


def joined(place: Place) -> Registration:
    return Registration("lab", place, "connected", host_id="h1")


def one(
    wanted: Place | None, registration: Registration | None, host: Host | None = HOST, replicas: int = 0
) -> PlaceChange:
    hosts = {host.id: host} if host else {}
    [change] = fleet_changes(
        [wanted] if wanted else [], [registration] if registration else [], hosts, {"h1": replicas}
    )
    return change


def test_one_that_nobody_knows_is_new() -> None:
    assert one(A, None).action == "new"


def test_one_that_is_connected_is_left_alone() -> None:
    assert one(A, joined(A)) == PlaceChange(A, "unchanged", "connected", "h1", "gpu-1")


def test_one_that_never_joined_or_was_removed_is_tried_again_with_the_reason_of_the_last_time() -> None:
    failed = Registration("lab", A, "connecting", error="no route")
    assert one(A, failed) == PlaceChange(A, "repair", "the last try failed: no route")
    assert one(A, joined(A), host=None).action == "repair"
    assert one(A, replace(joined(A), error="no key")).reason == "the last try failed: no key", "though it is connected"


def test_one_that_is_away_is_repaired() -> None:
    away = replace(HOST, connection=Connection.UNREACHABLE, connection_reason="silent for 6 s")
    assert (one(A, joined(A), away).action, one(A, joined(A), away).reason) == ("repair", "unreachable: silent for 6 s")


def test_another_way_to_the_same_machine_is_a_change_and_another_port_another_machine() -> None:
    for place in (replace(A, user="root"), replace(A, identity_file="~/k"), replace(A, jump=B)):
        assert one(place, joined(A)).action == "changed"
    moved = fleet_changes([replace(A, port=2222)], [joined(A)], {"h1": HOST}, {})
    assert [it.action for it in moved] == ["new", "gone"]


def test_one_that_is_not_listed_any_more_goes_and_says_what_is_on_it() -> None:
    assert one(None, joined(A), replicas=2).reason == "busy: 2 replicas move first"
    assert one(None, joined(A)).reason == "nothing runs on it"
    assert one(None, Registration("lab", A)).reason == "it never joined"


def test_only_what_is_new_or_not_in_order_is_installed() -> None:
    installs = {
        action: PlaceChange(A, action, "").installs for action in ("new", "changed", "repair", "unchanged", "gone")
    }
    assert installs == {"new": True, "changed": True, "repair": True, "unchanged": False, "gone": False}


STANDBY = Standby(Phase.RELEASED, 100.0, HostFacts())


def on_demand(registration: Registration | None, place: Place = A, host: Host | None = None) -> PlaceChange:
    hosts = {host.id: host} if host else {}
    [change] = fleet_changes([place], [registration] if registration else [], hosts, {}, on_demand=True)
    return change


def test_an_on_demand_machine_is_looked_at_once_and_then_left_alone() -> None:
    assert on_demand(None) == PlaceChange(A, "new", "it is looked at now, and installed when a run needs it")
    known = Registration("lab", A, standby=STANDBY)
    assert on_demand(known) == PlaceChange(A, "unchanged", "not provisioned")
    away = replace(HOST, connection=Connection.UNREACHABLE)
    up = replace(known, host_id="h1", standby=replace(STANDBY, phase=Phase.UP, run_name="llm"))
    assert on_demand(up, host=away) == PlaceChange(A, "unchanged", "up since llm needed it", "h1", "gpu-1")


def test_it_is_looked_at_again_when_that_failed_or_when_it_could_not_be_brought_up() -> None:
    for standby in (None, STANDBY):
        failed = Registration("lab", A, "connecting", error="no route", standby=standby)
        assert on_demand(failed) == PlaceChange(A, "repair", "the last try failed: no route")
    assert on_demand(Registration("lab", A)).action == "repair"
    changed = on_demand(Registration("lab", A, standby=STANDBY), replace(A, identity_file="~/k"))
    assert (changed.action, changed.installs) == ("changed", True)


def test_a_fleet_may_become_on_demand_and_back() -> None:
    assert on_demand(joined(A), host=HOST).reason == "it is on-demand from now on"
    assert one(A, replace(joined(A), standby=STANDBY)).reason == "it was on-demand, and stays from now on"
