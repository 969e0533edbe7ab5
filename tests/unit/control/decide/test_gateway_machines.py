"""decide/gateway_machines: which machine a gateway has by SSH, and which one no gateway needs any more."""

from dataclasses import replace

from fixtures.control import a_host
from homeport_control.decide.gateway_machines import gone, machine_change, of_another_fleet, place_of
from homeport_control.domain.fleets import Place, PlaceChange, Registration
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import GATEWAYS_FLEET
from homeport_control.spec.fleet import ProxyJump
from homeport_control.spec.gateway_host import GatewayHost

EDGE, OTHER = Place("edge", 22, "ops"), Place("other", 2222, "root")
HOST = replace(a_host("h1"), name="edge-1", fleet=GATEWAYS_FLEET)
MAIN = Gateway("main", "h1", "0.0.0.0", 80, "example.com", wanted_host="ops@edge")  # noqa: S104


def registered(place: Place = EDGE, host_id: str = "h1", fleet: str = GATEWAYS_FLEET) -> Registration:
    return Registration(fleet, place, "connected", host_id=host_id)


def test_the_way_there_is_the_files_with_its_user_and_key_for_the_jump() -> None:
    host = GatewayHost(hostname="edge", user="ops", identity_file="~/k", proxy_jump=ProxyJump(hostname="bastion"))
    assert place_of(host) == Place("edge", 22, "ops", "~/k", Place("bastion", 22, "ops", "~/k"))


def test_a_machine_is_installed_once_and_again_when_it_is_away() -> None:
    assert machine_change(EDGE, [], {}) == PlaceChange(EDGE, "new", "agent and Envoy are installed")
    assert machine_change(EDGE, [registered(fleet="lab")], {"h1": HOST}).action == "new", "another fleet's is not it"
    there = [registered(OTHER, "h2"), registered()]
    assert machine_change(EDGE, there, {"h1": HOST}) == PlaceChange(EDGE, "unchanged", "connected", "h1", "edge-1")
    assert machine_change(EDGE, there, {}).action == "repair"
    assert machine_change(replace(EDGE, user="root"), there, {"h1": HOST}).action == "changed"


def test_a_machine_goes_when_no_gateway_is_on_it_nor_wants_it() -> None:
    known = [registered(), registered(OTHER, ""), registered(Place("gpu", 22, "ops"), "h3", "lab")]
    assert gone(known, [MAIN, replace(MAIN, name="b", wanted_host="root@other:2222")], {"h1": HOST}) == ()
    assert gone(known, [MAIN], {"h1": HOST}) == (PlaceChange(OTHER, "gone", "it never joined"),)
    named = replace(MAIN, wanted_host="edge-1")
    assert [it.place for it in gone(known, [named], {"h1": HOST})] == [OTHER], "one that names it is on it too"
    left = gone([registered()], [replace(MAIN, host_id="h2", wanted_host="ops@new")], {"h1": HOST})
    assert left == (PlaceChange(EDGE, "gone", "no gateway is on it any more", "h1", "edge-1"),)


def test_a_host_of_a_fleet_is_to_be_named() -> None:
    known = [registered(fleet="lab"), registered(OTHER, "", "lab")]
    [problem] = of_another_fleet(EDGE, known, {"h1": HOST})
    assert str(problem) == "host: `edge` belongs to the fleet `lab`. Write its name: `host: edge-1`"
    [problem] = of_another_fleet(OTHER, known, {})
    assert problem.hint == "Take it out of that fleet first"
    assert list(of_another_fleet(EDGE, [registered()], {"h1": HOST})) == []
