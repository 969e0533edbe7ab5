"""decide/paths: by which way a gateway reaches the replicas of a host, and why by none."""

from dataclasses import replace

from fakes.hosts import host
from homeport_control.decide.paths import LOOPBACK, Path, address_for, dialled, path, told
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import Door

MAIN = Gateway("main", "id-gate", "127.0.0.1", 80, "localhost")
DOOR = told(None, "10.0.0.5", (40001, 40002), "")


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
        (refused, "it cannot be dialled: 10.0.0.5:40001 does not answer within 2 s"),
        (told(None, "", (), "Envoy could not be installed"), "Envoy could not be installed"),
        (Door(), "its door opens with its first replica"),
        (DOOR, "not dialled yet"),
    ):
        assert path(MAIN, host("a", door=door)) == Path("main", "none", reason)
