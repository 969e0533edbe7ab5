"""decide/paths: by which way a gateway reaches the replicas of a host, and why by none."""

from dataclasses import replace

from fakes.hosts import host
from homeport_control.decide.paths import LOOPBACK, Path, address_for, dialled, dialling, dug, mark, path, told
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import Door

MAIN = Gateway("main", "id-gate", "127.0.0.1", 80, "localhost")
DOOR = told(None, "10.0.0.5", (40001, 40002), "")


def heard(door: Door) -> Door:
    """Its host reports the same again."""
    return told(door, door.address, door.ports, door.message)


def test_on_its_own_host_it_is_loopback() -> None:
    assert address_for(MAIN, "id-gate", 9000, None) == LOOPBACK
    assert path(MAIN, host("gate")) == Path("main", "loopback", "the gateway stands on this host")


def test_to_another_host_it_is_its_door_once_that_was_dialled_and_the_port_is_open() -> None:
    assert address_for(MAIN, "id-a", 40001, DOOR) == "", "nobody knows yet whether it answers"
    reached = dialled(DOOR, "id-gate", "")
    assert address_for(MAIN, "id-a", 40001, reached) == "10.0.0.5"
    assert address_for(MAIN, "id-a", 40003, reached) == "", "not open"
    assert address_for(MAIN, "id-a", 40001, None) == ""
    assert address_for(replace(MAIN, host_id="id-other"), "id-a", 40001, reached) == "", "dialled by another"
    assert path(MAIN, host("a", door=reached)) == Path("main", "direct", "10.0.0.5, mutual TLS")


def test_one_that_answered_once_stays_and_says_what_came_of_the_last_try() -> None:
    later = dialled(dialled(DOOR, "id-gate", ""), "id-gate", "10.0.0.5:40001: no route to host")
    assert address_for(MAIN, "id-a", 40001, later) == "10.0.0.5"
    assert (
        path(MAIN, host("a", door=later)).reason
        == "10.0.0.5, mutual TLS; at the last try 10.0.0.5:40001: no route to host"
    )


def test_at_another_address_nobody_has_dialled_it_yet() -> None:
    reached = dialled(DOOR, "id-gate", "")
    assert told(reached, "10.0.0.5", (1,), "").reached_by == ("id-gate",)
    assert told(reached, "10.0.0.6", (1,), "") == Door("10.0.0.6", (1,))


def test_why_there_is_none() -> None:
    refused = dialled(DOOR, "id-gate", "10.0.0.5:40001 does not answer within 2 s")
    for door, reason in (
        (
            refused,
            "it cannot be dialled: 10.0.0.5:40001 does not answer within 2 s; and it has not dialled the gateway's edge yet",
        ),
        (told(None, "", (), "Envoy could not be installed"), "Envoy could not be installed"),
        (Door(), "its door opens with its first replica"),
        (DOOR, "not dialled yet"),
    ):
        assert path(MAIN, host("a", door=door)) == Path("main", "none", reason)


def test_a_host_that_cannot_be_dialled_dials_and_is_called_through_its_tunnel() -> None:
    refused = dialled(DOOR, "id-gate", "no route")
    assert DOOR.dials == frozenset()
    assert refused.dials == {"id-gate"}
    assert dug(refused, "id-gate", None, "it has no tunnel") == refused, "none was there"
    there = dug(refused, "id-gate", (40001,), "")
    assert address_for(MAIN, "id-a", 40001, there) == "tunnel/id-a"
    assert address_for(MAIN, "id-a", 40002, there) == "", "it has no socket yet"
    assert address_for(replace(MAIN, host_id="id-other"), "id-a", 40001, there) == "", "another gateway's"
    assert path(MAIN, host("a", door=there)) == Path(
        "main", "tunnel", "it cannot be dialled (no route), so it dials the gateway; mutual TLS"
    )


def test_a_tunnel_that_breaks_stays_the_way_and_says_so() -> None:
    there = dug(dialled(DOOR, "id-gate", "no route"), "id-gate", (40001,), "")
    broken = dug(there, "id-gate", None, "it has no tunnel")
    assert address_for(MAIN, "id-a", 40001, broken) == "tunnel/id-a"
    assert path(MAIN, host("a", door=broken)).reason.endswith("; at this moment it has no tunnel")


def test_directly_comes_first_unless_it_fails_now_and_the_tunnel_does_not() -> None:
    both = dialled(dug(dialled(DOOR, "id-gate", "no route"), "id-gate", (40001,), ""), "id-gate", "")
    assert address_for(MAIN, "id-a", 40001, both) == "10.0.0.5"
    assert path(MAIN, host("a", door=both)).kind == "direct"
    assert both.dials == {"id-gate"}, "what goes through the tunnel still ends there"
    fails = heard(dialled(both, "id-gate", "no route"))
    assert address_for(MAIN, "id-a", 40001, fails) == "tunnel/id-a"
    assert path(MAIN, host("a", door=fails)).kind == "tunnel"
    neither = dug(fails, "id-gate", None, "it has no tunnel")
    assert address_for(MAIN, "id-a", 40001, neither) == "10.0.0.5"
    assert path(MAIN, host("a", door=neither)).kind == "direct"


def test_a_host_that_fell_silent_is_not_called_through_its_tunnel_instead() -> None:
    """Its tunnel looks whole until a ping of it has no answer: what was out of rotation would be in it again."""
    both = dialled(dug(dialled(DOOR, "id-gate", "no route"), "id-gate", (40001,), ""), "id-gate", "")
    silent = dialled(both, "id-gate", "no answer")
    for door in (silent, dialled(silent, "id-gate", "no answer")):
        assert address_for(MAIN, "id-a", 40001, door) == "10.0.0.5"
        assert path(MAIN, host("a", door=door)).kind == "direct"
    assert address_for(MAIN, "id-a", 40001, heard(silent)) == "tunnel/id-a", "it is there, and only its door is shut"
    again = dialled(heard(silent), "id-gate", "no answer")
    assert address_for(MAIN, "id-a", 40001, again) == "tunnel/id-a", "the same failure, told once more"
    assert address_for(MAIN, "id-a", 40001, dialled(silent, "id-gate", "")) == "10.0.0.5"


def test_an_edge_has_the_hosts_that_dial_it_with_their_ports() -> None:
    refused = dialled(DOOR, "id-gate", "no route")
    doors = {"id-b": refused, "id-a": refused, "id-c": DOOR, "id-gate": refused}
    assert dialling("id-gate", doors) == {"id-a": (40001, 40002), "id-b": (40001, 40002)}
    assert dialling("id-other", doors) == {}


def test_each_gateways_host_has_a_mark_of_its_own() -> None:
    assert mark("a") == mark("a") != mark("b")
    assert len(mark("a")) == 32
