"""decide/gateways: which host a gateway gets, what two of them cannot share, and what a change of one does."""

from dataclasses import replace

import pytest
from fixtures.control import a_host
from homeport_control.decide.gateways import certificate_text, changes, choose, clashes, host_for, places
from homeport_control.domain.gateway import Certificate, Gateway

LOOPBACK = ("127.0.0.1", "::1")
MAIN = Gateway("main", "h1", "0.0.0.0", 80, "example.com", https_port=443)  # noqa: S104


def test_local_is_the_oldest_host_of_the_servers_own_machine() -> None:
    far = replace(a_host("far"), address="192.168.1.2", created_at_s=1.0)
    old, new = replace(a_host("old"), created_at_s=2.0), replace(a_host("new"), created_at_s=3.0)
    assert host_for("local", (far, new, old), LOOPBACK) == old
    assert host_for("far", (far, new, old), LOOPBACK) == far
    assert host_for("local", (far,), LOOPBACK) is None
    assert host_for("other", (far,), LOOPBACK) is None


def test_a_service_that_names_no_gateway_is_the_default_ones() -> None:
    main, lab = replace(MAIN, default=True), replace(MAIN, name="lab")
    assert choose(None, (lab, main)) == main
    assert choose("lab", (lab, main)) == lab
    assert choose("other", (lab, main)) is None
    assert choose(None, (lab,)) is None


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({}, ["domain", "http_port", "https_port"]),
        ({"domain": "b.c"}, ["http_port", "https_port"]),
        ({"domain": "b.c", "listen_address": "10.0.0.1"}, ["http_port", "https_port"]),
        ({"domain": "b.c", "listen_address": "::1"}, []),
        ({"domain": "b.c", "listen_address": "::"}, ["http_port", "https_port"]),
        ({"domain": "b.c", "host_id": "h2"}, []),
        ({"domain": "b.c", "host_id": ""}, []),
        ({"domain": "b.c", "http_port": 443, "https_port": 8443}, ["http_port"]),
        ({"domain": "b.c", "http_port": 8080, "https_port": 0}, []),
        ({"domain": "b.c", "http_port": 8080, "https_port": 8080}, ["https_port"]),
    ],
)
def test_two_gateways_share_no_domain_and_no_port_of_a_host(changed: dict[str, object], path: list[str]) -> None:
    lab = replace(MAIN, name="lab", **changed)  # type: ignore[arg-type]
    found = list(clashes(lab, (MAIN, lab)))
    assert [problem.path for problem in found] == path
    assert all(problem.hint for problem in found)


def test_a_domain_that_is_still_served_is_not_free() -> None:
    moved = replace(MAIN, domain="new.example", old_domain="example.com")
    lab = replace(MAIN, name="lab", host_id="h2")
    assert [str(problem) for problem in clashes(lab, (moved,))] == [
        "domain: `example.com` is the domain of the gateway `main`. Choose another"
    ]


def test_what_changes_is_told_with_what_it_does() -> None:
    after = replace(MAIN, domain="b.c", wanted_host="gpu-1", http_port=8080, default=True)
    assert [(change.path, change.old, change.new) for change, _ in changes(MAIN, after)] == [
        ("domain", "example.com", "b.c"),
        ("host", "local", "gpu-1"),
        ("listens on", "0.0.0.0:80, 0.0.0.0:443", "0.0.0.0:8080, 0.0.0.0:443"),
        ("default", "no", "yes"),
    ]
    assert all(how for _, how in changes(MAIN, after))
    assert changes(MAIN, replace(MAIN, ready=True, message="x")) == ()


def test_places_and_certificates_in_words() -> None:
    assert places(replace(MAIN, listen_address="::1", https_port=0)) == "[::1]:80"
    assert certificate_text(Certificate("acme", "a@b.c", "https://ca/dir")) == "acme https://ca/dir a@b.c"
